"""Whether the environment has changed: by the times of a few folders and files, nothing is run."""

import os
import threading
from collections.abc import Callable, Iterable

from envdoctor.facts import Snapshot
from envdoctor.facts.python import Interpreter

POLL_S = 1.0
"""How often it is looked; an installer works longer than that, so that one change is one repair."""

PATIENCE = 60
"""How many looks are waited while pip keeps aside what it replaces: it may have been killed."""

_OF_THE_DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/nvidia-uvm")

Signature = tuple[tuple[str, int | None], ...]


def signature(snapshot: Snapshot) -> Signature:
    """When each place that a repair touches was changed last; null for one that is not there."""
    return tuple((path, _changed_at(path)) for path in _places(snapshot))


def _places(snapshot: Snapshot) -> Iterable[str]:
    interpreter = snapshot.value(Interpreter)
    if interpreter is not None:
        yield interpreter.executable
        for folder in (*interpreter.site_packages, *filter(None, (interpreter.user_site,))):
            yield folder
            # Files that are replaced in place change the folders of their packages alone.
            yield os.path.join(folder, "torch")
            yield os.path.join(folder, "torch", "lib")
            yield os.path.join(folder, "nvidia")
    yield from _OF_THE_DRIVER


def _set_aside(places: Signature) -> frozenset[str]:
    """What pip keeps (`~orch`) until the new files are in place: an installation is going on."""
    names = (name for path, _ in places for name in _names(path))
    return frozenset(name for name in names if name.startswith("~"))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _changed_at(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


class Watch:
    """Looks every second from a thread of its own, and tells a change once it has settled."""

    def __init__(self, look: Callable[[], Signature], changed: Callable[[], None]) -> None:
        self._look, self._changed = look, changed
        self._ended = threading.Event()
        threading.Thread(target=self._work, name="watch", daemon=True).start()

    def end(self) -> None:
        """Tell nothing more."""
        self._ended.set()

    def _work(self) -> None:
        told = before = self._look()
        old, quiet = _set_aside(told), 0
        while not self._ended.wait(POLL_S):
            now = self._look()
            quiet = quiet + 1 if now == before else 0
            if [path for path, _ in now] != [path for path, _ in told]:
                # Another target, or one that is known only now: nothing has changed in it.
                told, old = now, _set_aside(now)
            elif now != told and quiet and (quiet > PATIENCE or _set_aside(now) <= old):
                told = now
                self._changed()
            before = now
