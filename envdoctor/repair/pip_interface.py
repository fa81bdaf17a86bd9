"""The words of pip, and those of uv where it stands in for pip.

Sources: the manuals of pip and of uv (pip interface).
"""

from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from envdoctor.record import Record
from envdoctor.repair.changes import Batch, Change, Source
from envdoctor.repair.manager import Lines, Manager
from envdoctor.repair.pip_settings import safe_path_flag, spared
from envdoctor.repair.site import Site
from envdoctor.shell import command


class _PipInterface(Record):
    """pip's verbs in the words of one tool; `before` says what a verb needs before the tool."""

    tool: tuple[str, ...]
    before: Callable[[str], tuple[str, ...]] = lambda verb: ()
    target: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    again: tuple[str, ...]
    allowed: tuple[str, ...] = ()

    def install(self, batch: Batch, *into: str) -> str:
        again = self.again if batch.again else ()
        words = (*self.target, *into, *again, *batch.requirements, *_options(batch.source))
        return self._line("install", *words)

    def uninstall(self, names: Iterable[str]) -> str:
        return self._line("uninstall", *self.target, *self.unasked, *names)

    def _line(self, verb: str, *words: str) -> str:
        return command(*self.before(verb), *self.tool, verb, *self.allowed, *words)


def _options(source: Source | None) -> tuple[str, ...]:
    return (source.option, source.url) if source else ()


def _pip(site: Site) -> _PipInterface:
    return _PipInterface(
        tool=(site.target, *safe_path_flag(site), "-m", "pip"),
        before=partial(spared, site),
        unasked=("-y",),
        again=("--force-reinstall", "--no-deps"),
        allowed=("--break-system-packages",) if site.externally_managed else (),
    )


def _uv(site: Site) -> _PipInterface:
    return _PipInterface(
        tool=("uv", "pip"),
        target=("--python", site.target),
        again=("--reinstall", "--no-deps"),
        allowed=("--break-system-packages",) if site.externally_managed else (),
    )


def _by_pip_interface(interface: Callable[[Site], _PipInterface]) -> Manager:
    def change(site: Site, change: Change) -> Lines:
        gone = tuple(dict.fromkeys((*change.dropped, *change.evicted)))
        if gone:
            yield interface(site).uninstall(gone)
        yield from (interface(site).install(batch) for batch in change.batches)

    def reinstall(site: Site, batch: Batch) -> Lines:
        yield interface(site).install(msgspec.structs.replace(batch, again=True))

    def uninstall(site: Site, names: tuple[str, ...]) -> Lines:
        yield interface(site).uninstall(names)

    return Manager(change=change, reinstall=reinstall, uninstall=uninstall)


PIP, UV = _by_pip_interface(_pip), _by_pip_interface(_uv)


def install_into_folder(site: Site, folder: str, batch: Batch) -> str:
    """The line that installs into a folder that is no environment."""
    interface = _uv(site) if site.manager.startswith("uv") else _pip(site)
    return interface.install(batch, "--upgrade", "--target", folder)


def install_for_user(site: Site, batch: Batch) -> str:
    """The line that installs into the site-packages of this user alone."""
    return _pip(site).install(batch, "--user")
