"""Whether installed files are those that the RECORD of their distribution lists (PEP 376, 627)."""

import os
from typing import Any

import msgspec

from envdoctor.facts import Fact, Known, Observed, Unknown
from envdoctor.facts.python import (
    DamagedDistribution,
    DamagedFile,
    Distribution,
    Distributions,
    InstalledFiles,
)
from envdoctor.probes.file_check import FileCheck

MOST_NAMED = 200
"""Damaged distributions; all are counted."""

_BESIDE_TORCH = ("torch", "pytorch", "nvidia-", "triton", "numpy")


def read_installed_files(
    distributions: Distributions, check: FileCheck
) -> InstalledFiles | Unknown:
    """What the comparison says of these distributions."""
    recorded = {
        one.metadata_path: one
        for one in distributions.items
        if one.has_record and one.metadata_path.endswith(".dist-info")
    }
    answer = check.answer()
    if isinstance(answer, Unknown):
        return answer
    found = {path: one for path, one in answer["damaged"].items() if path in recorded}
    torch = distributions.first("torch")
    required = " ".join(torch.requires) if torch else ""
    # What torch needs is never among those that are left out.
    named = sorted(found, key=lambda path: not _is_beside_torch(recorded[path].name, required))
    return InstalledFiles(
        damaged=tuple(_damaged(recorded[path], found[path]) for path in named[:MOST_NAMED]),
        checked_files=answer["checked"],
        hashed=check.deep,
        more_damaged=max(0, len(found) - MOST_NAMED),
    )


def _is_beside_torch(name: str, required: str) -> bool:
    return name.startswith(_BESIDE_TORCH) or name in required


def _damaged(item: Distribution, found: dict[str, Any]) -> DamagedDistribution:
    files = [
        {"type": "DamagedFile", **one, **_through_link(item.location, one)}
        for one in found["files"]
    ]
    return DamagedDistribution(
        name=item.name,
        version=item.version,
        metadata_path=item.metadata_path,
        files=msgspec.convert(files, tuple[DamagedFile, ...]),
        damaged_count=found["count"],
    )


def _through_link(location: str, file: dict[str, Any]) -> dict[str, str]:
    """Where the folder of a missing file leads, if it is a link."""
    folder, _, rest = file["path"].partition("/")
    if file["kind"] != "missing" or not rest or folder == "..":
        return {}
    try:
        return {"actual": f"{folder} -> {os.readlink(os.path.join(location, folder))}"}
    except OSError:
        return {}


def observe_installed_files(
    distributions: Distributions, check: FileCheck
) -> dict[type[Fact], Known]:
    """Which installed files differ from their RECORD."""
    found = read_installed_files(distributions, check)
    if isinstance(found, Unknown):
        return {InstalledFiles: found}
    return {InstalledFiles: Observed(value=found, source="RECORD of every distribution")}
