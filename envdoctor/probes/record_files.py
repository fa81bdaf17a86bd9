"""Whether installed files are those that the RECORD of their distribution lists (PEP 376, 627)."""

import base64
import csv
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from envdoctor.facts.python import (
    DamagedDistribution,
    DamagedFile,
    Distribution,
    Distributions,
    InstalledFiles,
)

PAUSE_EVERY, PAUSE_S = 256, 0.0002
"""os.stat gives the interpreter's lock back for so short a time that a thread which waits for it,
the one that answers keys say, does not get it. A pause lets it in."""

MAX_NAMED = 50
"""How many damaged files of one distribution are named; all are counted."""

_REWRITTEN = (
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
    "RECORD",
    "uv_cache.json",
    "uv_build.json",
)
"""Files of the metadata folder that installers write or change after RECORD."""

Row = tuple[str, str, str]


def read_installed_files(distributions: Distributions, *, deep: bool = False) -> InstalledFiles:
    """Compare presence and size, with `deep` also the hash, of every recorded file."""
    damaged: list[DamagedDistribution] = []
    checked = 0
    for item in distributions.items:
        if not item.has_record or not item.metadata_path.endswith(".dist-info"):
            continue
        rows = list(recorded(Path(item.metadata_path) / "RECORD"))
        checked += len(rows)
        files = list(_differences(item.location, rows, deep))
        if files:
            damaged.append(_damaged(item, files))
    return InstalledFiles(damaged=tuple(damaged), checked_files=checked, hashed=deep)


def recorded(record: Path) -> Iterator[Row]:
    """The rows path, hash, size of a RECORD that can be checked; paths are relative to its root."""
    own = record.parent.name
    try:
        with record.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.reader(file):
                if len(row) >= 3 and _is_checked(row[0], own):
                    yield row[0], row[1], row[2]
    except (OSError, csv.Error):
        return


def _is_checked(path: str, own: str) -> bool:
    if path.endswith(".pyc") or path.startswith(("../", "/")):
        return False
    return not (path.startswith(own) and path.rpartition("/")[2] in _REWRITTEN)


def _differences(location: str, rows: Iterable[Row], deep: bool) -> Iterator[DamagedFile]:
    for number, row in enumerate(rows):
        if number % PAUSE_EVERY == 0:
            time.sleep(PAUSE_S)
        difference = _difference(location, row, deep)
        if difference is not None:
            yield difference


def _difference(location: str, row: Row, deep: bool) -> DamagedFile | None:
    relative, expected_hash, expected_size = row
    path = f"{location}/{relative}"
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError):
        return DamagedFile(path=relative, kind="missing", expected=expected_size)
    if expected_size.isdigit() and size != int(expected_size):
        return DamagedFile(path=relative, kind="size", expected=expected_size, actual=str(size))
    if not deep or not expected_hash.startswith("sha256="):
        return None
    actual = _sha256(path)
    if actual is None or f"sha256={actual}" == expected_hash:
        return None
    return DamagedFile(
        path=relative, kind="hash", expected=expected_hash, actual=f"sha256={actual}"
    )


def _sha256(path: str) -> str | None:
    """The digest as RECORD writes it: base64 for URLs, without padding."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _damaged(item: Distribution, files: Iterable[DamagedFile]) -> DamagedDistribution:
    ordered = sorted(files, key=lambda file: (_importance(file.path), file.path))
    return DamagedDistribution(
        name=item.name,
        version=item.version,
        metadata_path=item.metadata_path,
        files=tuple(ordered[:MAX_NAMED]),
        damaged_count=len(ordered),
    )


def _importance(path: str) -> int:
    """Libraries first, then code, then the rest: what is named is what breaks an import."""
    folder, _, name = path.rpartition("/")
    if ".so" in name:
        return 0
    is_test = not {"test", "tests"}.isdisjoint(folder.split("/"))
    return 1 if name.endswith((".py", ".pth")) and not is_test else 2
