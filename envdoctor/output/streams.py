"""Standard streams: what they take, how wide they are, and how a text is written whole."""

import contextlib
import errno
import io
import os
import select
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    pass

_NARROWEST, _WIDEST = 40, 120
"""Columns of a text: below, wrapping tears it apart; above, an eye loses the line."""


def is_standard_output(file: str) -> bool:
    """Whether a file is what the first descriptor is called: in this process that is another."""
    return file == "-" or os.path.abspath(file) in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def write_all(stream: TextIO, data: bytes) -> None:
    """Write and flush. Raises OSError.

    In parts, because where Python does not buffer (PYTHONUNBUFFERED) a text that a pipe takes only
    in part is lost without a word.
    """
    if not isinstance(stream, io.TextIOWrapper):
        stream.write(data.decode(stream.encoding or "utf-8"))
        return
    stream.flush()
    rest = memoryview(data)
    while rest:
        written = stream.buffer.write(rest)
        if not written:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        rest = rest[written:]
    stream.buffer.flush()


def write_at_once(descriptor: int, text: str) -> None:
    """Write a short text, unless whoever reads it has stopped to."""
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [descriptor], [], 0)[1]:
            os.write(descriptor, text.encode())


def takes_colour(stream: TextIO) -> bool:
    """Whether a stream takes colour: a terminal, and neither NO_COLOR nor TERM=dumb; or where
    FORCE_COLOR says so."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO) -> int:
    """The columns of a terminal, within what can be read; 80 elsewhere."""
    return min(max(columns_of(stream), _NARROWEST), _WIDEST)


def columns_of(stream: TextIO) -> int:
    """The columns of a terminal; 80 elsewhere."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def discard_the_rest(stream: TextIO | None) -> None:
    """What a stream could not write must not be tried again when the interpreter ends, which then
    changes the exit code to 120."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
