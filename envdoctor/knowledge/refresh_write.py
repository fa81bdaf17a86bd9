"""Puts what an index says into the JSON files of the knowledge, for a person to review."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from packaging.requirements import Requirement
from packaging.version import Version

from envdoctor.knowledge.base import Knowledge
from envdoctor.knowledge.kept import as_kept
from envdoctor.knowledge.refresh_lists import FileList
from envdoctor.knowledge.refresh_requirements import gpu_requirements, requirement_on_torch
from envdoctor.knowledge.remote import Metadata, RemoteFile
from envdoctor.record import Mutable, Record

_PAIRED = ("torchvision", "torchaudio", "torchtext")
_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_")


class FoundBuild(Record):
    """A wheel of torch that was read."""

    version: str
    machine: str
    file: RemoteFile
    metadata: Metadata
    targets: tuple[str, ...]


class Found(Mutable):
    """What was read of wheels: builds of torch, and each companion's newest release."""

    builds: list[FoundBuild] = msgspec.field(default_factory=list)
    companions: dict[str, tuple[str, RemoteFile, Metadata]] = msgspec.field(default_factory=dict)


def write(
    knowledge: Knowledge, lists: Mapping[str, FileList], found: Found, retrieved: str
) -> Iterator[str]:
    """Write what is new; says what was written, one line each."""
    folder = knowledge.folder
    yield from _write_lists(folder, lists, retrieved)
    yield from _complete_builds(folder, knowledge, found)
    new = {build.version for build in found.builds if knowledge.release(build.version) is None}
    if new:
        yield from _write_releases(folder, sorted(new, key=Version), found, retrieved)
    yield from _write_companions(folder, knowledge, new, found, retrieved)


def _read(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return document


def _save(folder: Path, name: str, document: dict[str, Any]) -> None:
    (folder / name).write_text(as_kept(document), encoding="utf-8")


def _write_lists(folder: Path, lists: Mapping[str, FileList], retrieved: str) -> Iterator[str]:
    document = _read(folder, "wheels.json")
    for project in document["projects"]:
        found = lists.get(project["name"])
        if found is None or found == project["releases"]:
            continue
        project.update(releases=dict(found), retrieved=retrieved)
        yield f"wheels.json: {project['name']}, {len(found)} releases"
    _save(folder, "wheels.json", document)


# --- torch ---


def _write_releases(
    folder: Path, versions: list[str], found: Found, retrieved: str
) -> Iterator[str]:
    document = _read(folder, "torch.json")
    for version in versions:
        builds = [one for one in found.builds if one.version == version]
        document["releases"].append(_release(version, builds, retrieved))
        yield (
            f"torch.json: {version} with its builds on PyPI; add those of PyTorch's own index, "
            "with a source"
        )
    document["releases"].sort(key=lambda release: Version(release["version"]))
    _save(folder, "torch.json", document)


def _complete_builds(folder: Path, knowledge: Knowledge, found: Found) -> Iterator[str]:
    """The pins of builds that the data has without them, from the wheels that were read."""
    document = _read(folder, "torch.json")
    rows = {release["version"]: release for release in document["releases"]}
    for build in found.builds:
        read = _variant(build)
        known = knowledge.variant(build.version, read["tag"], build.machine)
        if known is None or known.is_cpu or not read["requires"].keys() - known.requires.keys():
            continue
        kind = "aarch64" if build.machine == "aarch64" else "variants"
        row = next(one for one in rows[build.version][kind] if one["tag"] == read["tag"])
        names = ("requires", "cuda_release", "cudnn", "nccl", "triton", "nvjitlink")
        row.update({name: read[name] for name in names})
        row["source"] = "; ".join(dict.fromkeys([read["source"], row["source"]]))
        yield f"torch.json: pins of {build.version}+{read['tag']} for {build.machine}"
    _save(folder, "torch.json", document)


def _release(version: str, builds: list[FoundBuild], retrieved: str) -> dict[str, Any]:
    first = builds[0]
    rows = {
        machine: [_variant(one) for one in builds if one.machine == machine] + [_cpu(machine)]
        for machine in ("x86_64", "aarch64")
    }
    return {
        "version": version,
        "date": (first.file.upload_time or retrieved)[:10],
        "requires_python": first.metadata.requires_python or "",
        "pypi_variant": rows["x86_64"][0]["tag"],
        "pypi_variant_aarch64": rows["aarch64"][0]["tag"],
        "rocm": [],
        "rocm_source": None,
        "variants": rows["x86_64"],
        "aarch64": rows["aarch64"],
        "source": f"PyPI torch {version}: file list and METADATA of {first.file.filename}",
        "retrieved": retrieved,
    }


def _variant(build: FoundBuild) -> dict[str, Any]:
    pins = dict(gpu_requirements(build.metadata.requires, build.machine))
    release = _cuda_release(pins)
    cuda = ".".join(release.split(".")[:2]) if release else None
    config = f"PyPI {build.file.filename} : torch/include/ATen/cuda/CUDAConfig.h NVCC_FLAGS_EXTRA"
    return {
        "tag": f"cu{cuda.replace('.', '')}" if cuda else "cpu",
        "cuda": cuda,
        "machine": build.machine,
        "cuda_release": release,
        "status": None,
        "cudnn": _exact(pins, "nvidia-cudnn-cu"),
        "nccl": _exact(pins, "nvidia-nccl-cu"),
        "triton": _triton(pins),
        "nvjitlink": pins.get("nvidia-nvjitlink"),
        "glibc": _glibc(build.file.filename),
        "cxx11_abi": None,
        "requires": pins,
        "verified": True,
        "source": f"PyPI {build.file.filename} METADATA",
        "arch_flags": list(build.targets),
        "arch_source": config if build.targets else "",
        "arch_verified": bool(build.targets),
        "ptx_known": True,
    }


def _cpu(machine: str) -> dict[str, Any]:
    """PyTorch's index has one for every release so far; whether for this one is to be looked up."""
    return {
        "tag": "cpu",
        "cuda": None,
        "machine": machine,
        "status": "unverified",
        "glibc": None,
        "requires": {},
        "arch_flags": [],
        "verified": False,
        "source": "as every release before on https://download.pytorch.org/whl/cpu; not looked up",
    }


def _cuda_release(pins: Mapping[str, str]) -> str | None:
    """13.2.2 from cuda-toolkit==13.2.2; before torch 2.11 the runtime's own version is near it."""
    for name in ("cuda-toolkit", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11"):
        match = re.fullmatch(r"==(\d+\.\d+(?:\.\d+)?)", pins.get(name, ""))
        if match:
            return match[1]
    return None


def _exact(pins: Mapping[str, str], prefix: str) -> str | None:
    pin = next((spec for name, spec in pins.items() if name.startswith(prefix)), "")
    return pin.removeprefix("==") if pin.startswith("==") else None


def _triton(pins: Mapping[str, str]) -> str | None:
    pin = pins.get("triton")
    return pin.removeprefix("==") if pin else None


def _glibc(filename: str) -> str | None:
    match = _GLIBC.search(filename)
    return f"{match[1]}.{match[2]}" if match else None


# --- companions ---


def _write_companions(
    folder: Path, knowledge: Knowledge, new: set[str], found: Found, retrieved: str
) -> Iterator[str]:
    document = _read(folder, "companions.json")
    before = as_kept(document)
    for torch in sorted(new, key=Version):
        document["pairs"].append(_pair(torch, found, retrieved))
        yield f"companions.json: what pairs with torch {torch}"
    for name, (version, file, metadata) in found.companions.items():
        if name in _PAIRED or not knowledge.extensions(name) or knowledge.extension(name, version):
            continue
        rows = document["extensions"]
        last = max(at for at, row in enumerate(rows) if row["name"] == name)
        rows.insert(last + 1, _extension(name, version, file, metadata, retrieved))
        yield f"companions.json: {name} {version}; add the CUDA that it is linked against"
    if as_kept(document) != before:
        _save(folder, "companions.json", document)


def _pair(torch: str, found: Found, retrieved: str) -> dict[str, Any]:
    row: dict[str, Any] = {"torch": torch, "torchvision": [], "torchaudio": [], "torchtext": []}
    sources, admits = [], {}
    for name in _PAIRED:
        if name not in found.companions:
            continue
        version, file, metadata = found.companions[name]
        stated = requirement_on_torch(metadata)
        exact = stated is not None and stated.startswith("==")
        if not exact and name != "torchvision":
            continue  # the last torchaudio and torchtext admit every later torch
        if stated and Version(torch) in Requirement(f"torch{stated}").specifier:
            row[name] = [version]
            sources.append(f"PyPI {file.filename} METADATA torch{stated}")
            if not stated.startswith("=="):
                admits[name] = stated
    build = next((one for one in found.builds if one.version == torch), None)
    triton = (
        _triton(dict(gpu_requirements(build.metadata.requires, build.machine))) if build else None
    )
    row.update(
        triton=[triton] if triton else [],
        notes=["written by the refresh, to be reviewed"],
        source="; ".join(sources) or f"PyPI torch {torch} METADATA",
        retrieved=retrieved,
    )
    return {**row, "admits": admits} if admits else row


def _extension(
    name: str, version: str, file: RemoteFile, metadata: Metadata, retrieved: str
) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "date": (file.upload_time or "")[:10] or None,
        "requires_torch": requirement_on_torch(metadata),
        "requires": [],
        "requires_python": metadata.requires_python,
        "built_for_torch": None,
        "source": f"PyPI {file.filename} METADATA",
        "retrieved": retrieved,
        "pairs_with_torch": None,
    }
