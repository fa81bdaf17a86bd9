"""Work in threads of its own, one job at a time, ended without waiting for it.

Not Textual's thread workers: these belong to an executor that the interpreter waits for at its
end, so that a read from a dead network disk would hold Ctrl-C up. Daemon threads do not.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from envdoctor.probes.run import Children
from envdoctor.tui.contract import Event, Failed, Listener


@dataclass(kw_only=True)
class Job:
    """One piece of work, with the children that it may start and the listener it tells."""

    listener: Listener
    children: Children = field(default_factory=Children)
    stopped: bool = False
    _superseded: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, event: Event) -> None:
        """Pass an event on, unless another job has taken this one's place."""
        with self._lock:
            if not self._superseded:
                self.listener(event)

    def stop(self) -> None:
        """End its children; the job then ends by itself and tells what it has."""
        self.stopped = True
        self.children.kill_all()

    def supersede(self) -> None:
        """End its children, and let nothing more be heard of it."""
        with self._lock:
            self._superseded = True
        self.stop()


class Jobs:
    """Runs a job at a time; a new one takes the place of the old one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: Job | None = None
        self._closed = False

    def start(self, name: str, work: Callable[[Job], None], listener: Listener) -> None:
        """Begin a job in a thread of its own. What it raises is told as Failed."""
        job = Job(listener=listener)
        with self._lock:
            if self._closed:
                return
            before, self._current = self._current, job
        if before is not None:
            before.supersede()
        run_aside(name, lambda: work(job), job.tell)

    def stop(self) -> None:
        """End the current job, which tells what it has."""
        with self._lock:
            current = self._current
        if current is not None:
            current.stop()

    def close(self) -> None:
        """End the current job, and start none any more."""
        with self._lock:
            self._closed = True
            current, self._current = self._current, None
        if current is not None:
            current.supersede()


def run_aside(name: str, work: Callable[[], None], tell: Listener) -> None:
    """Do something in a daemon thread; what it raises is told as Failed."""

    def body() -> None:
        try:
            work()
        except Exception as error:
            text = str(error) if isinstance(error, ValueError) else f"{name}: {error!r}"
            tell(Failed(message=text))

    threading.Thread(target=body, name=name, daemon=True).start()
