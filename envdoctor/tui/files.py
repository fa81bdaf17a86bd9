"""The files of a folder that may be saved reports."""

from collections.abc import Iterator
from pathlib import Path

MOST_FILES = 30
"""How many files of the working folder are offered."""


def saved_files(folder: Path) -> tuple[str, ...]:
    """The JSON files of a folder that may be reports or facts, the newest first; none where the
    folder cannot be read."""
    newest_first = sorted(_with_times(folder), reverse=True)
    return tuple(name for _, name in newest_first[:MOST_FILES])


def _with_times(folder: Path) -> Iterator[tuple[float, str]]:
    try:
        paths = list(folder.glob("*.json"))
    except OSError:
        return
    for path in paths:
        try:
            yield path.stat().st_mtime, path.name
        except OSError:
            # A link to nowhere, or a file that has just been removed.
            continue
