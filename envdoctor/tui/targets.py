"""The interpreters of this machine that could be examined. Looks at files only, runs nothing."""

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from envdoctor.facts.python import Candidate
from envdoctor.probes.candidates import default_candidates, named_by_the_user
from envdoctor.probes.context import Context
from envdoctor.probes.files import matching

MOST_TARGETS = 50


def targets_of_machine(context: Context, doctor: str) -> tuple[Candidate, ...]:
    """What the user named, the default candidates in their order, then environments found beside
    them; each path once.

    `torch_on_disk` is null for an interpreter whose packages do not lie beside it, or lie in a
    folder that is closed to this user. One that is closed itself is listed as `not-executable`.
    """
    found: dict[str, Candidate] = {}
    named = named_by_the_user(None, context)
    places = (
        *([named] if named else ()),
        *default_candidates(context, doctor),
        *_environments(context.env, context.cwd),
    )
    for path, origin in places:
        there = _is_there(path)
        if there is not False and path not in found:
            usable = there is True and os.access(path, os.X_OK)
            found[path] = Candidate(
                path=path,
                origin=origin,
                torch_on_disk=_has_torch(path),
                problem=None if usable else "not-executable",
            )
    return tuple(islice(found.values(), MOST_TARGETS))


def _environments(env: Mapping[str, str], cwd: str) -> Iterator[tuple[str, str]]:
    home = Path(env.get("HOME") or os.path.expanduser("~"))
    for folder in _folders(Path(cwd)):
        if os.path.isfile(folder / "pyvenv.cfg"):
            yield str(folder / "bin" / "python"), f"./{folder.name}"
    places = (
        (Path(env.get("WORKON_HOME") or home / ".virtualenvs"), "virtualenvwrapper"),
        (Path(env.get("PYENV_ROOT") or home / ".pyenv") / "versions", "pyenv"),
        (home / ".local" / "share" / "uv" / "python", "uv"),
    )
    for place, origin in places:
        for folder in _folders(place):
            yield str(folder / "bin" / "python"), origin
    for prefix in _conda_environments(home):
        yield os.path.join(prefix, "bin", "python"), "conda"


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(path for path in place.iterdir() if os.path.isdir(path))
    except OSError:
        return []


def _conda_environments(home: Path) -> list[str]:
    """conda writes the prefix of every environment that it makes into this file."""
    try:
        text = (home / ".conda" / "environments.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _has_torch(path: str) -> bool | None:
    prefix = Path(path).parent.parent
    packages = [
        *matching(prefix, "lib/python3*/site-packages"),
        *matching(prefix, "lib/python3/dist-packages"),
    ]
    if not packages:
        return None
    seen = [_is_there(str(folder / "torch" / "version.py")) for folder in packages]
    return True if True in seen else None if None in seen else False


def _is_there(path: str) -> bool | None:
    """Whether a path leads to something; null where a folder on the way cannot be looked into."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    return True
