"""The drawing for terminals that show ASCII only: every character that leaves is translated."""

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from textual.driver import Driver

_PLAIN = {
    "✓": "+",
    "✗": "X",
    "…": ".",
    "·": "-",
    "–": "-",
    "—": "-",
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
    "↳": ">",
    "×": "x",
    "°": " ",
    "µ": "u",
    "╳": "X",
    "●": "*",
    "•": "*",
    "▶": ">",
    "▼": "v",
    "▲": "^",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}
_SPINNER = dict(zip("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\|/-\\|/", strict=True))
_BARS = dict(zip("▁▂▃▄▅▆▇█", "__..--##", strict=True))
_TABLE = {**_PLAIN, **_SPINNER, **_BARS}

_HORIZONTAL = "─━═╌╍┄┅┈┉╴╶╸╺╼╾"
_VERTICAL = "│┃║╎╏┆┇┊┋╵╷╹╻╽╿"


def to_ascii(text: str) -> str:
    """The text in ASCII; every character keeps its width in cells, so that nothing moves."""
    return text if text.isascii() else "".join(map(_plain, text))


@lru_cache(maxsize=1024)
def _plain(char: str) -> str:
    if char.isascii():
        return char
    if char in _TABLE:
        return _TABLE[char]
    if char in _HORIZONTAL:
        return "-"
    if char in _VERTICAL:
        return "|"
    if "─" <= char <= "╿":
        return "+"
    if "▀" <= char <= "▟":
        return "#"
    return "?" * cell_len(char) if not char.isspace() else " "


def ascii_driver() -> "type[Driver]":
    """Textual's own driver for this platform, with ASCII as its last step."""
    from textual.app import App

    base = App[None]().get_driver_class()

    class AsciiDriver(base):  # type: ignore[misc, valid-type]
        """Writes ASCII only."""

        def write(self, data: str) -> None:
            super().write(to_ascii(data))

    return AsciiDriver
