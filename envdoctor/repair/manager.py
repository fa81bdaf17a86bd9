"""What a manager of packages can be asked for."""

import re
from collections.abc import Callable, Iterable, Iterator

from envdoctor.record import Record
from envdoctor.repair.changes import Batch, Change
from envdoctor.repair.site import Site

Lines = Iterator[str]


class Manager(Record):
    """What installs into an environment. Each function yields the lines of a shell.

    `reinstall` brings back the files of what is installed, at exactly that version; `uninstall`
    takes names out of the environment, not out of the project. A manager with `sync` enters what
    it installs in a project, and `sync` installs what is missing of that.
    """

    change: Callable[[Site, Change], Lines]
    reinstall: Callable[[Site, Batch], Lines]
    uninstall: Callable[[Site, tuple[str, ...]], Lines]
    sync: Callable[[Site], Lines] | None = None


def names_in(requirements: Iterable[str]) -> tuple[str, ...]:
    """The names of requirements: `torch` of `torch==2.6.0`."""
    return tuple(split_requirement(one)[0] for one in requirements)


def split_requirement(requirement: str) -> tuple[str, str]:
    """The name and the rest: `torch` and `==2.6.0`."""
    match = re.match(r"[\w.-]+", requirement)
    name = match[0] if match else requirement
    return name, requirement[len(name) :]
