"""cuDNN, NCCL, nvJitLink and cudart on disk: every statement of their versions, none of them run.

A wheel's metadata states a version, a header states one, and some libraries hold theirs as a
string. They are kept apart: where they disagree, somebody has exchanged a file.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envdoctor.facts.python import Distribution, Distributions, InstalledFiles
from envdoctor.facts.torch import ComponentVersion, CudaComponents
from envdoctor.loader.sections import find_section
from envdoctor.probes.files import read_text


@dataclass(frozen=True, kw_only=True)
class Component:
    """Where a component's wheel puts its parts, and how its files state its version."""

    name: str
    distribution: re.Pattern[str]
    library: str
    header: str = ""
    defines: tuple[str, ...] = ()
    in_library: re.Pattern[bytes] | None = None


COMPONENTS = (
    Component(
        name="cudnn",
        distribution=re.compile(r"nvidia-cudnn-cu\d+"),
        library="libcudnn.so.*",
        header="cudnn_version.h",
        defines=("CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL"),
    ),
    Component(
        name="nccl",
        distribution=re.compile(r"nvidia-nccl-cu\d+"),
        library="libnccl.so.*",
        header="nccl.h",
        defines=("NCCL_MAJOR", "NCCL_MINOR", "NCCL_PATCH"),
        in_library=re.compile(rb"NCCL version (\d+\.\d+\.\d+)"),
    ),
    Component(
        name="nvjitlink",
        distribution=re.compile(r"nvidia-nvjitlink(-cu\d+)?"),
        library="libnvJitLink.so.*",
        in_library=re.compile(rb"Cuda compilation tools, release [\d.]+, V(\d+\.\d+\.\d+)"),
    ),
    Component(
        name="cudart",
        distribution=re.compile(r"nvidia-cuda-runtime(-cu\d+)?"),
        library="libcudart.so.*",
    ),
    Component(
        name="cublas",
        distribution=re.compile(r"nvidia-cublas(-cu\d+)?"),
        library="libcublas.so.*",
    ),
)


def read_components(
    folders: Sequence[Path], distributions: Distributions, installed: InstalledFiles | None
) -> CudaComponents:
    """What states a version of each component; metadata first, then headers, then libraries."""
    damaged = _damaged_files(installed)
    statements = [
        statement
        for component in COMPONENTS
        for statement in _statements(component, folders, distributions, damaged)
    ]
    return CudaComponents(items=tuple(statements))


def _damaged_files(installed: InstalledFiles | None) -> frozenset[str]:
    if installed is None:
        return frozenset()
    return frozenset(
        f"{Path(item.metadata_path).parent}/{file.path}"
        for item in installed.damaged
        for file in item.files
    )


def _statements(
    component: Component,
    folders: Sequence[Path],
    distributions: Distributions,
    damaged: frozenset[str],
) -> Iterator[ComponentVersion]:
    owners = [one for one in distributions.items if component.distribution.fullmatch(one.name)]
    libraries = list(_find(folders, "lib", component.library))
    for owner in owners:
        yield _of_metadata(component, owner, libraries, damaged)
    if component.header:
        for header in _find(folders, "include", component.header):
            yield _of_header(component, header)
    if component.in_library is not None:
        for library in libraries:
            yield _of_library(component, library)


def _find(folders: Iterable[Path], part: str, pattern: str) -> Iterator[Path]:
    """Files below nvidia/<component>/<part> (CUDA 11 and 12) and nvidia/cu13/<part>."""
    for folder in folders:
        yield from sorted((folder / "nvidia").glob(f"*/{part}/{pattern}"))


def _of_metadata(
    component: Component,
    owner: Distribution,
    libraries: Iterable[Path],
    damaged: frozenset[str],
) -> ComponentVersion:
    library = next((path for path in libraries if str(path).startswith(owner.location)), None)
    changed = library is None or str(library) in damaged
    return ComponentVersion(
        component=component.name,
        version=None if changed else owner.version,
        source=f"METADATA of {owner.name}"
        + (", whose library is missing or changed" if changed else ""),
        path=str(library) if library else None,
        distribution=owner.name,
    )


def _of_header(component: Component, header: Path) -> ComponentVersion:
    text = read_text(header) or ""
    numbers = [re.search(rf"#define {name}\s+(\d+)", text) for name in component.defines]
    found = [match[1] for match in numbers if match]
    return ComponentVersion(
        component=component.name,
        version=".".join(found) if len(found) == len(component.defines) else None,
        source=header.name,
        path=str(header),
    )


def _of_library(component: Component, library: Path) -> ComponentVersion:
    assert component.in_library is not None
    match = component.in_library.search(_read_only_data(library))
    return ComponentVersion(
        component=component.name,
        version=match[1].decode() if match else None,
        source=f"a string in {library.name}",
        path=str(library),
    )


def _read_only_data(library: Path) -> bytes:
    """The section .rodata of a library; empty where the file is damaged."""
    try:
        with library.open("rb") as file:
            section = find_section(file.fileno(), ".rodata")
            return os.pread(file.fileno(), section.size, section.offset) if section else b""
    except (OSError, OverflowError):
        return b""
