"""Whether the terminal has a light background."""

import os
import re
import select
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

_ANSWER_S = 0.2
"""How long a terminal on this machine may take to say its background."""
_BACKGROUND = re.compile(rb"\x1b\]11;rgb:([0-9a-fA-F]+)/([0-9a-fA-F]+)/([0-9a-fA-F]+)")


@contextmanager
def asked_background(
    env: Mapping[str, str], terminal: str = "/dev/tty"
) -> Iterator[Callable[[], bool]]:
    """Ask the terminal (OSC 11), and give what tells whether its background is light; where it
    does not answer, by COLORFGBG (`0;15`), and false where nothing says it.

    The answer comes while the caller imports what it needs. Over ssh nothing is asked: an answer
    that comes late would be taken for keys.
    """
    file = None if env.get("SSH_CONNECTION") else _opened(terminal)
    if file is None:
        yield lambda: _by_variable(env)
        return
    before = termios.tcgetattr(file)
    asked_at = time.monotonic()
    try:
        tty.setraw(file, termios.TCSANOW)
        # The second question (what are you?) every terminal answers: then the first is over.
        os.write(file, b"\x1b]11;?\x1b\\\x1b[c")
        yield lambda: _is_light(_answer(file, asked_at + _ANSWER_S), env)
    finally:
        termios.tcsetattr(file, termios.TCSANOW, before)
        os.close(file)


def _opened(terminal: str) -> int | None:
    try:
        file = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    if os.isatty(file):
        return file
    os.close(file)
    return None


def _by_variable(env: Mapping[str, str]) -> bool:
    number = env.get("COLORFGBG", "").rpartition(";")[2]
    # Of the 16 colours 7 and those from 9 on are light.
    return number.isdecimal() and (int(number) == 7 or int(number) > 8)


def _is_light(answer: bytes, env: Mapping[str, str]) -> bool:
    found = _BACKGROUND.search(answer)
    if found is None:
        return _by_variable(env)
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return bool(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)


def _answer(file: int, limit: float) -> bytes:
    answer = b""
    while not re.search(rb"\x1b\[\?[0-9;]*c", answer):
        if not select.select([file], [], [], max(0.0, limit - time.monotonic()))[0]:
            break
        answer += os.read(file, 1024)
    return answer
