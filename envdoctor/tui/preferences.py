"""What is kept from one start to the next: dark or light, a word in a file."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from envdoctor.tui.background import asked_background


@contextmanager
def starting_colours(env: Mapping[str, str], *, asks: bool = True) -> Iterator[Callable[[], bool]]:
    """What tells whether to start light: as the user chose last, else as the terminal is, where
    there is one that can be asked; else dark."""
    chosen = remembered(env)
    if chosen is not None or not asks:
        yield lambda: bool(chosen)
        return
    with asked_background(env) as is_light:
        yield is_light


def remembered(env: Mapping[str, str]) -> bool | None:
    """Whether the light theme was chosen last; null if none ever was."""
    try:
        return {"light": True, "dark": False}.get(_file(env).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return None


def remember(env: Mapping[str, str], *, light: bool) -> None:
    """Keep it for the next start; where that is not possible, the next start asks the terminal."""
    path = _file(env)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("light\n" if light else "dark\n", encoding="utf-8")
    except OSError:
        return


def _file(env: Mapping[str, str]) -> Path:
    state = env.get("XDG_STATE_HOME") or os.path.join(
        env.get("HOME") or os.path.expanduser("~"), ".local", "state"
    )
    return Path(state) / "envdoctor" / "theme"
