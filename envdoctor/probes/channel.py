"""The pipes between a child and the doctor, served by run_child while the child runs.

A pipe holds 64 KiB, whatever is written into it, and takes no limit of file size or of a disk.
"""

import os
import selectors
from collections.abc import Callable
from typing import Protocol

MOST_BYTES = 64 << 20
MOST_LINES = 100_000
LONGEST_LINE = 8 << 20
"""What the doctor takes of one child. A healthy target tells some 100 kB in some 50 lines, the
longest of them, the libraries that it has loaded, 50 kB; a calibration a few lines a second."""

_AT_ONCE = 65536
"""What is taken before the time is looked at again."""


class Port(Protocol):
    """One end of a pipe that is served whenever it is ready for `events`."""

    events: int

    def fileno(self) -> int:
        """The doctor's end."""

    def serve(self) -> bool:
        """Read or write what can be at once; False where there is nothing more to do."""


class _Pipe:
    """A pipe whose ends are closed together, at the latest at the end of the `with` block."""

    def __init__(self) -> None:
        self._ends = os.pipe()

    def _close(self, end: int) -> None:
        if self._ends[end] >= 0:
            os.close(self._ends[end])
            kept = self._ends[1 - end]
            self._ends = (-1, kept) if end == 0 else (kept, -1)

    def close(self) -> None:
        """Close both ends."""
        self._close(0)
        self._close(1)

    def __exit__(self, *_: object) -> None:
        self.close()


class Incoming(_Pipe):
    """What a child tells, line by line; use as a context manager.

    One that tells more than `most_bytes` or `most_lines`, or a longer line than `longest_line`, is
    not listened to any more: it is `flooded`.
    """

    events = selectors.EVENT_READ

    def __init__(
        self,
        take_line: Callable[[bytes], None],
        *,
        most_bytes: int = MOST_BYTES,
        most_lines: int = MOST_LINES,
        longest_line: int = LONGEST_LINE,
    ) -> None:
        super().__init__()
        self._take_line = take_line
        self._longest_line = longest_line
        self._bytes_left, self._lines_left = most_bytes, most_lines
        self.unfinished = bytearray()
        """The line that has not ended yet."""
        self.flooded = False
        os.set_blocking(self._ends[0], False)

    def __enter__(self) -> "Incoming":
        return self

    @property
    def for_child(self) -> int:
        """The end that the child inherits. The doctor keeps it open as well: it never ends."""
        return self._ends[1]

    def fileno(self) -> int:
        """The end that the doctor reads."""
        return self._ends[0]

    def serve(self) -> bool:
        """Take in some of what is new."""
        return bool(self._read()) or not self.flooded

    def drain(self) -> None:
        """Take in all that is there."""
        while self._read():
            pass

    def _read(self) -> int:
        """How many bytes were taken in."""
        if self.flooded:
            return 0
        try:
            data = os.read(self._ends[0], _AT_ONCE)
        except BlockingIOError:
            return 0
        self._bytes_left -= len(data)
        self.unfinished += data
        if b"\n" in data:
            *lines, rest = bytes(self.unfinished).split(b"\n")
            self.unfinished = bytearray(rest)
            self._lines_left -= len(lines)
            for line in lines:
                self._take_line(line)
        too_much = min(self._bytes_left, self._lines_left) < 0
        self.flooded = too_much or len(self.unfinished) > self._longest_line
        return len(data)


class Outgoing(_Pipe):
    """What a child is given to read, to its end; use as a context manager."""

    events = selectors.EVENT_WRITE

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._rest = memoryview(data)
        os.set_blocking(self._ends[1], False)

    def __enter__(self) -> "Outgoing":
        return self

    @property
    def for_child(self) -> int:
        """The end that the child inherits."""
        return self._ends[0]

    def fileno(self) -> int:
        """The end that the doctor writes."""
        return self._ends[1]

    def serve(self) -> bool:
        """Write what the pipe takes; the end is closed behind the last."""
        try:
            self._rest = self._rest[os.write(self._ends[1], self._rest) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            # The child has died, which its end will tell.
            self._rest = self._rest[:0]
        if not self._rest:
            self._close(1)
        return bool(self._rest)
