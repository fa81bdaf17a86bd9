"""What the terminal can do: whether the TUI fits it at all, and whether it shows Unicode.

Imports nothing of Textual, so that every command may ask.
"""

import locale
import sys
from collections.abc import Mapping
from typing import TextIO

SIMPLE_TERMINALS = frozenset({"linux", "vt100", "vt102", "vt220", "ansi", "cons25"})
"""Values of TERM whose fonts hold little beyond ASCII; `linux` is the kernel's own console."""


Streams = tuple[TextIO | None, TextIO | None, TextIO | None]
_NAMES = ("standard input", "standard output", "standard error")


def why_not(env: Mapping[str, str], streams: Streams) -> str:
    """Why no full-screen program is possible here; empty where one is.

    It needs a terminal on standard input, output and error (Textual draws on the last one), which
    is not TERM=dumb. With NO_COLOR it is shown in shades of grey: Textual heeds that itself.
    """
    if env.get("TERM", "dumb") == "dumb":
        return "TERM names no terminal that can show it"
    others = [
        name
        for name, stream in zip(_NAMES, streams, strict=True)
        if stream is None or not stream.isatty()
    ]
    return f"{others[0]} is no terminal" if others else ""


def shows_unicode(env: Mapping[str, str], encoding: str | None = None) -> bool:
    """Whether the terminal shows more than ASCII, judged by TERM, the locale and the stream.

    Python itself turns the C locale into UTF-8 (PEP 538, PEP 540), so the variables are asked
    first. Where none is set, as in many containers, the terminal is nearly always UTF-8.
    """
    if env.get("TERM") in SIMPLE_TERMINALS:
        return False
    stream = encoding or sys.stderr.encoding or "ascii"
    if not _is_utf8(stream):
        return False
    name = next((env[key] for key in ("LC_ALL", "LC_CTYPE", "LANG") if env.get(key)), None)
    if name is None:
        return True
    _, dot, charset = name.partition(".")
    if not dot:
        return name not in ("C", "POSIX") and _is_utf8(locale.getpreferredencoding(False))
    return _is_utf8(charset.partition("@")[0])


def _is_utf8(name: str) -> bool:
    return name.lower().replace("-", "").replace("_", "") == "utf8"
