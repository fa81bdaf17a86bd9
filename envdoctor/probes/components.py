"""Components of CUDA on disk: every statement of their versions, none of them run.

A wheel's metadata states a version, a header states one, and some libraries hold theirs as a
string. They are kept apart: where they disagree, somebody has exchanged a file.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from envdoctor.facts.python import Distribution, Distributions, InstalledFiles
from envdoctor.facts.torch import ComponentVersion, CudaComponents
from envdoctor.knowledge import Library, LibraryCatalogue
from envdoctor.knowledge.libraries import VersionStatements
from envdoctor.probes.files import matching, read_text
from envdoctor.probes.sections import TooLarge, read_section


def read_components(
    folders: Sequence[Path],
    distributions: Distributions,
    installed: InstalledFiles | None,
    libraries: LibraryCatalogue,
) -> CudaComponents:
    """What states a version of each component; metadata first, then headers, then libraries."""
    damaged = _damaged_files(installed)
    statements = [
        statement
        for component in libraries.records
        if component.versions is not None
        for statement in _statements(component, component.versions, folders, distributions, damaged)
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
    component: Library,
    stated: VersionStatements,
    folders: Sequence[Path],
    distributions: Distributions,
    damaged: frozenset[str],
) -> Iterator[ComponentVersion]:
    owners = [one for one in distributions.items if component.is_package(one.name)]
    main = component.stems[0].removesuffix("*")
    files = list(_find(folders, "lib", f"{main}.so.*"))
    for owner in owners:
        yield _of_metadata(component, owner, files, damaged)
    if stated.header:
        for header in _find(folders, "include", stated.header):
            yield _of_header(component, stated.macros, header)
    if stated.text:
        for file in files:
            yield _of_library(component, stated.text, file)


def _find(folders: Iterable[Path], part: str, pattern: str) -> Iterator[Path]:
    """Files below nvidia/<component>/<part> (CUDA 11 and 12) and nvidia/cu13/<part>."""
    for folder in folders:
        yield from sorted(matching(folder / "nvidia", f"*/{part}/{pattern}"))


def _of_metadata(
    component: Library,
    owner: Distribution,
    files: Iterable[Path],
    damaged: frozenset[str],
) -> ComponentVersion:
    file = next((path for path in files if str(path).startswith(owner.location)), None)
    changed = file is None or str(file) in damaged
    return ComponentVersion(
        component=component.name,
        version=None if changed else owner.version,
        source=f"METADATA of {owner.name}"
        + (", whose library is missing or changed" if changed else ""),
        path=str(file) if file else None,
        distribution=owner.name,
    )


def _of_header(component: Library, macros: Sequence[str], header: Path) -> ComponentVersion:
    text = read_text(header) or ""
    numbers = [re.search(rf"#define {name}\s+(\d+)", text) for name in macros]
    found = [match[1] for match in numbers if match]
    return ComponentVersion(
        component=component.name,
        version=".".join(found) if len(found) == len(macros) else None,
        source=header.name,
        path=str(header),
    )


def _of_library(component: Library, pattern: str, file: Path) -> ComponentVersion:
    source = f"a string in {file.name}"
    try:
        match = re.search(pattern.encode(), read_section(file, ".rodata"))
    except TooLarge as error:
        match, source = None, f"{source}, which could not be read: {error}"
    return ComponentVersion(
        component=component.name,
        version=match[1].decode() if match else None,
        source=source,
        path=str(file),
    )
