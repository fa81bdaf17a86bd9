"""The prediction beside the files that were really mapped after torch was used."""

import os
from collections.abc import Iterable
from typing import ClassVar

from envdoctor.facts.libraries import LibraryResolution
from envdoctor.knowledge import LibraryCatalogue
from envdoctor.record import Record


class Difference(Record):
    """A library whose predicted file is not the mapped one; null where there is none."""

    soname: str
    predicted: str | None
    mapped: str | None


class Libraries(LibraryResolution, tag="LibraryResolution"):
    """The libraries of a target, or the one that was `asked` for. `differences` is null where
    nothing was loaded to compare."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    asked: str | None = None
    differences: tuple[Difference, ...] | None = None


def differences(
    resolution: LibraryResolution, mapped: Iterable[str], libraries: LibraryCatalogue
) -> tuple[Difference, ...]:
    """Where prediction and mapped files part, for what was to be mapped and for every CUDA library.

    Libraries that open with the first work on a GPU count only if they are mapped, and then by
    their predicted file. The kernel names mapped files by their resolved paths, as the prediction
    does.
    """
    really = set(mapped)
    by_path = {one.path: one for one in resolution.libraries if one.path}
    by_name = {os.path.basename(path): path for path in really}
    found = []
    for path, library in by_path.items():
        if path in really:
            continue
        other = by_name.get(os.path.basename(path)) or by_name.get(library.soname)
        if library.mapped or other is not None:
            found.append(Difference(soname=library.soname, predicted=path, mapped=other))
    explained = {one.mapped for one in found}
    found += [
        Difference(soname=os.path.basename(path), predicted=None, mapped=path)
        for path in sorted(really)
        if libraries.uses_cuda(path) and path not in by_path and path not in explained
    ]
    return tuple(found)
