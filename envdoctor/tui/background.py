"""Whether the terminal has a light background."""

import os
import re
import select
import termios
import time
import tty
from collections.abc import Mapping

_ANSWER_S = 0.15
"""How long a terminal on this machine may take to say its background."""
_BACKGROUND = re.compile(rb"\x1b\]11;rgb:([0-9a-fA-F]+)/([0-9a-fA-F]+)/([0-9a-fA-F]+)")


def background_is_light(env: Mapping[str, str], terminal: str = "/dev/tty") -> bool:
    """By what the terminal answers (OSC 11), else by COLORFGBG (`0;15`); false where neither says.

    Over ssh nothing is asked: an answer that comes late would be taken for keys.
    """
    if not env.get("SSH_CONNECTION") and (answered := _background(terminal)) is not None:
        return answered
    number = env.get("COLORFGBG", "").rpartition(";")[2]
    # Of the 16 colours 7 and those from 9 on are light.
    return number.isdecimal() and (int(number) == 7 or int(number) > 8)


def _background(terminal: str) -> bool | None:
    try:
        file = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        before = termios.tcgetattr(file)
        tty.setraw(file, termios.TCSANOW)
        try:
            # The second question (what are you?) every terminal answers: then the first is over.
            os.write(file, b"\x1b]11;?\x1b\\\x1b[c")
            found = _BACKGROUND.search(_answer(file))
        finally:
            termios.tcsetattr(file, termios.TCSANOW, before)
    except (OSError, termios.error):
        return None
    finally:
        os.close(file)
    if found is None:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return bool(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)


def _answer(file: int) -> bytes:
    answer, limit = b"", time.monotonic() + _ANSWER_S
    while not re.search(rb"\x1b\[\?[0-9;]*c", answer):
        if not select.select([file], [], [], max(0.0, limit - time.monotonic()))[0]:
            break
        answer += os.read(file, 1024)
    return answer
