"""Reading small files that may be missing, unreadable or not text, below any root."""

import os
from pathlib import Path

from envdoctor.probes.context import Context
from envdoctor.regular import only_regular

_MOST_LINKS = 40
"""Links in one path after which Linux gives up (path_resolution(7))."""


def read_text(path: Path, limit_bytes: int = 1 << 20) -> str | None:
    """The beginning of a file as text; None where it cannot be read or is no regular one."""
    try:
        with open(path, "rb", opener=only_regular) as file:
            return file.read(limit_bytes).decode("utf-8", "replace")
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """The integer that a file holds; None where it holds none."""
    text = (read_text(path, 64) or "").strip()
    try:
        return int(text)
    except ValueError:
        return None


_MOST_DIGITS = 20
"""Of a number of 64 bits, as the kernel writes them."""


def decimal(text: str) -> int | None:
    """The number that a text of digits is; None for any other text, and for more digits."""
    digits = text.strip()
    return int(digits) if len(digits) <= _MOST_DIGITS and digits.isdecimal() else None


def real_path(context: Context, name: str) -> Path:
    """Where the file of that absolute path really lies, its links followed below the root.

    The path itself, as far as it was followed, for a loop of links.
    """
    if context.is_live:
        return Path(os.path.realpath(name))
    at, left, links = context.root, _parts(name), 0
    while left:
        part = left.pop(0)
        step = at / part
        try:
            link = os.readlink(step)
        except OSError:
            at = at.parent if part == ".." and at != context.root else at if part == ".." else step
            continue
        links += 1
        if links > _MOST_LINKS:
            return step
        left = _parts(link) + left
        at = context.root if link.startswith("/") else at
    return at


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
