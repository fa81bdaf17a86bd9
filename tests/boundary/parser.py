"""A parser under test, and what it does with one input.

A parser may refuse what it is given by the exceptions that it documents, and by no other.
"""

import random
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

HANG_S = 2.0
"""Of CPU time, so that a busy machine is no hang. The slowest seed takes 0.05 s."""


@dataclass(frozen=True)
class Parser:
    """`read` is tried on changed `seeds`; `words` are put into them. An input is longer than its
    `longest` bytes only if a test means it."""

    read: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = ()
    words: tuple[bytes, ...] = ()
    longest: int = 4096


class Files:
    """A folder in memory, where there is one, for parsers that read files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        try:
            path.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
        return path


@dataclass(frozen=True)
class Failure:
    """What a parser did that it may not. `kind` is crash or hang; `place` is where."""

    kind: str
    error: str
    place: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}: {self.error:.200} of {self.data[:300]!r}"


class Hang(BaseException):
    """The parser took longer than it may; no parser catches this."""


def failure_of(parser: Parser, data: bytes) -> Failure | None:
    """What the parser does wrong with an input; None if it reads or refuses it in time."""
    try:
        with _limited(HANG_S):
            parser.read(data)
    except parser.refuses:
        return None
    except Hang as hang:
        return Failure("hang", f"it took {HANG_S:g} s", _place(hang), data)
    except Exception as error:
        return Failure("crash", f"{type(error).__name__}: {error!s:.300}", _place(error), data)
    return None


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _place(error: BaseException) -> str:
    """The last line of the project that an error came through."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "doctor" in one.filename]
    own = [one for one in frames if "site-packages" not in one.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"


def changed(data: bytes, words: tuple[bytes, ...], random_: random.Random) -> bytes:
    """An input with some things cut, copied, flipped or put in."""
    changing = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 3, 8))):
        at, way = random_.randrange(len(changing) + 1), random_.randrange(6)
        if way == 0 and changing:
            changing[min(at, len(changing) - 1)] = random_.choice(
                (0, 1, 127, 128, 255, random_.randrange(256))
            )
        elif way == 1:
            del changing[at : at + random_.choice((1, 2, 8, 100))]
        elif way == 2:
            copied = changing[random_.randrange(len(changing) + 1) :]
            changing[at:at] = copied[: random_.choice((1, 8, 100))]
        elif way == 3 and words:
            changing[at : at + random_.choice((0, 0, 1, 4))] = random_.choice(words)
        elif way == 4:
            changing[at : at + 8] = random_.randrange(2**64).to_bytes(8, "little")
        elif random_.random() < 0.1:
            del changing[at:]
    return bytes(changing)
