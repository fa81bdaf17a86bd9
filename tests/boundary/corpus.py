"""Inputs that reached code which no seed reaches, a file a parser, an input a line.

A line is a Python literal of bytes or, where that is shorter, base64 of zlib's.
"""

import ast
import base64
import re
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.boundary.parser import Parser, failure_of

FOLDER = Path(__file__).with_name("corpus")
MOST_BYTES = 12_000
"""Of a parser's file, so that all together stay below 400 KB."""

Arc = tuple[str, int, int]


def kept(name: str) -> tuple[bytes, ...]:
    """The inputs that are kept for a parser."""
    path = _path(name)
    return tuple(map(_decoded, path.read_text("ascii").splitlines())) if path.exists() else ()


def keep(name: str, parser: Parser, found: Iterable[bytes]) -> int:
    """Keep of all inputs, short ones first, those that reach something new; how many there are."""
    reached = set[Arc]()
    for seed in parser.seeds:
        reached |= arcs(parser, seed)
    lines: list[str] = []
    for data in sorted({*found, *kept(name)} - {*parser.seeds}, key=lambda one: (len(one), one)):
        line = _encoded(data)
        if sum(map(len, lines)) + len(line) > MOST_BYTES:
            continue
        new = arcs(parser, data) - reached
        if new:
            reached |= new
            lines.append(line)
    _path(name).unlink(missing_ok=True)
    if lines:
        _path(name).write_text("".join(f"{line}\n" for line in lines), "ascii")
    return len(lines)


def arcs(parser: Parser, data: bytes) -> set[Arc]:
    """The steps from line to line that the doctor's own code takes with an input."""
    found = set[Arc]()

    def of_frame(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if "envdoctor" not in file:
            return None
        before = 0

        def of_line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            if event == "line":
                found.add((file, before, frame.f_lineno))
                before = frame.f_lineno
            return of_line

        return of_line

    sys.settrace(of_frame)
    try:
        failure_of(parser, data)
    finally:
        sys.settrace(None)
    return found


def _path(name: str) -> Path:
    return FOLDER / f"{re.sub('[^A-Za-z0-9]+', '-', name).strip('-')}.txt"


def _encoded(data: bytes) -> str:
    return min(repr(data), base64.b64encode(zlib.compress(data, 9)).decode(), key=len)


def _decoded(line: str) -> bytes:
    if line.startswith(("b'", 'b"')):
        value = ast.literal_eval(line)
        assert isinstance(value, bytes)
        return value
    return zlib.decompress(base64.b64decode(line))
