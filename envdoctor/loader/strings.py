"""What the strings of a library's file say of the versions that it opens."""

import mmap
import re

from envdoctor.regular_files import only_regular

_DIGITS = re.compile(rb"\d*(?:\.\d+)*")
_LONGEST = 16

MOST_BYTES = 4 << 30
"""Of a library. Its parts reach each other over at most 2 GiB (the psABI's small code model), so
that the largest, libtorch_cuda, has 1.5 GB; more is no library, but a file with holes."""


def version_after(path: str, text: str) -> str | None:
    """The version digits that follow a text in a file ("12.4"), empty where none do; None where
    the text does not occur or the file cannot be read, as where it is too large to be a library."""
    try:
        with (
            open(path, "rb", opener=only_regular) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            if len(data) > MOST_BYTES:
                return None
            found = data.find(text.encode())
            start = found + len(text.encode())
            digits = _DIGITS.match(data[start : start + _LONGEST])
            return None if found < 0 or digits is None else digits.group().decode()
    except (OSError, ValueError):
        return None
