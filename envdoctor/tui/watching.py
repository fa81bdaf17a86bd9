"""Whether the environment has changed: by the times of a few folders and files, nothing is run."""

import os
import threading
from collections.abc import Callable, Iterable

from envdoctor.facts import Snapshot
from envdoctor.facts.python import Interpreter

POLL_S = 1.0
"""How often it is looked; an installer works longer than that, so that one change is one repair."""

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
        while not self._ended.wait(POLL_S):
            now = self._look()
            places = [path for path, _ in now] == [path for path, _ in told]
            if not places:
                # Another target, or one that is known only now: nothing has changed in it.
                told = now
            elif now == before != told:
                told = now
                self._changed()
            before = now
