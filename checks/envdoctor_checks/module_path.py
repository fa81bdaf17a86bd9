"""Where on the module path a file lies, and what put that folder there."""

import os
import re
from collections.abc import Iterator
from typing import Literal

from envdoctor.api import Environment, Interpreter, PathLine, Record

Origin = Literal[
    "environment", "base", "user", "standard library", "PYTHONPATH", "folder", "path file"
]

IN_WORDS: dict[Origin, str] = {
    "user": "the user's own site-packages",
    "PYTHONPATH": "PYTHONPATH",
    "folder": "the current folder",
    "path file": "a .pth file",
}
"""What may put a folder before the environment's own packages."""

_ENVIRONMENT = re.compile(r"(?P<prefix>.*)/lib(?:64)?/python\d\.\d+/(?:site|dist)-packages")


class Entry(Record):
    """A folder of the module path, and what put it there: of a path file the lines that name it."""

    path: str
    origin: Origin
    lines: tuple[PathLine, ...] = ()

    @property
    def is_foreign(self) -> bool:
        """Whether it is none of the target's own."""
        return self.origin in IN_WORDS

    @property
    def in_words(self) -> str:
        """What put it there."""
        if self.origin == "path file" and not self.lines:
            return "a .pth file or a sitecustomize.py"
        return IN_WORDS[self.origin]

    def holds(self, file: str) -> bool:
        """Whether a file or folder lies below it."""
        return file.startswith(f"{self.path.rstrip('/')}/")


def entries_of(interpreter: Interpreter, environment: Environment | None) -> tuple[Entry, ...]:
    """The module path, in its order."""
    python_path = list(python_path_of(interpreter, environment))
    folders = (entry or interpreter.cwd for entry in interpreter.sys_path)
    return tuple(
        Entry(
            path=folder,
            origin=_origin(folder, interpreter, python_path),
            lines=tuple(one for one in interpreter.path_lines if _names(one, folder)),
        )
        for folder in dict.fromkeys(folders)
    )


def _names(line: PathLine, folder: str) -> bool:
    """Whether a line of a .pth file adds that folder, or has code that writes it out."""
    if line.text.startswith(("import ", "import\t")):
        whole = rf"(?<![\w./-]){re.escape(folder.rstrip('/'))}/?(?![\w./-])"
        return re.search(whole, line.text) is not None
    added = os.path.join(os.path.dirname(line.file), line.text)
    return os.path.normpath(added) == os.path.normpath(folder)


def python_path_of(interpreter: Interpreter, environment: Environment | None) -> Iterator[str]:
    """The folders of PYTHONPATH, as the interpreter makes them absolute."""
    text = environment.variables.get("PYTHONPATH", "") if environment else ""
    for entry in text.split(":") if text else ():
        yield os.path.normpath(os.path.join(interpreter.cwd, entry))


def _origin(folder: str, interpreter: Interpreter, python_path: list[str]) -> Origin:
    if folder == interpreter.user_site:
        return "user"
    if folder in interpreter.site_packages:
        own = folder.startswith(f"{interpreter.prefix.rstrip('/')}/")
        return "environment" if own else "base"
    if folder in interpreter.aliases:
        return "environment"
    if os.path.normpath(folder) in python_path:
        return "PYTHONPATH"
    if folder.startswith(interpreter.stdlib) or folder.endswith(".zip"):
        return "standard library"
    return "folder" if folder == interpreter.cwd else "path file"


def entry_of(file: str, entries: tuple[Entry, ...]) -> Entry | None:
    """The entry that a file is imported from: the innermost that holds it."""
    holding = [entry for entry in entries if entry.holds(file)]
    return max(holding, key=lambda entry: len(entry.path), default=None)


def module_of(file: str, entry: Entry) -> tuple[str, str]:
    """The top-level module of a file and where that lies: `numpy` for `numpy/core/x.py`."""
    folder = entry.path.rstrip("/")
    first = file.removeprefix(f"{folder}/").partition("/")[0]
    return first.partition(".")[0], f"{folder}/{first}"


def is_another_environment(entry: Entry, interpreter: Interpreter) -> bool:
    """Whether a folder holds the packages of another environment than the target."""
    if entry.origin == "user":
        return False
    found = _ENVIRONMENT.fullmatch(entry.path)
    own = (interpreter.prefix.rstrip("/"), interpreter.base_prefix.rstrip("/"))
    return found is not None and found["prefix"] not in own
