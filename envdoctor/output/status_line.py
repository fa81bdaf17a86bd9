"""The line of progress on a terminal."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from envdoctor.output.streams import columns_of

if TYPE_CHECKING:
    from envdoctor.redaction import Filter

_CLEAR = "\r\x1b[K"
_MOST_OF_A_LINE = 2000


class StatusLine:
    """A line on a terminal that is written over, and cleared at the end.

    Where standard error is no terminal, `show` does nothing and `say` writes a line of its own.
    """

    def __init__(self, safe: "Filter", write: Callable[[str], bool]) -> None:
        self._safe = safe
        self._write_error = write
        self.is_live = sys.stderr is not None and sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Put a text in place of the last one, cut to the width of the terminal."""
        if self.is_live:
            safe = self._safe.line(text)
            self._write(_CLEAR + safe[: columns_of(sys.stderr) - 1])

    def say(self, text: str) -> None:
        """Write a line that stays."""
        safe = self._safe.line(text)[:_MOST_OF_A_LINE]
        self._write((_CLEAR if self.is_live else "") + f"envdoctor: {safe}\n")

    def clear(self) -> None:
        """Leave an empty line behind."""
        if self.is_live:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        if not self._write_error(text):
            self.is_live = False
