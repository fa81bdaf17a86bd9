"""Work in threads of its own, one job at a time, ended without waiting for it.

Not Textual's thread workers: these belong to an executor that the interpreter waits for at its
end, so that a read from a dead network disk would hold Ctrl-C up. Daemon threads do not.
"""

import threading
from collections.abc import Callable

import msgspec

from envdoctor.errors import BadInput, Unwritable
from envdoctor.probes.run import Children
from envdoctor.record import Mutable
from envdoctor.tui.contract import Event, Failed, Listener

Work = Callable[["Job"], None]


class Job(Mutable):
    """One piece of work, with the children that it may start and the listener it tells."""

    listener: Listener
    children: Children = msgspec.field(default_factory=Children)
    stopped: bool = False
    _superseded: bool = False
    _lock: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def tell(self, *events: Event) -> None:
        """Pass events on, unless another job has taken this one's place."""
        self.commit(lambda: None, *events)

    def commit(self, change: Callable[[], None], *events: Event) -> None:
        """Do what changes the model, and tell it, unless another job has taken this one's place."""
        with self._lock:
            if self._superseded:
                return
            change()
            for event in events:
                self.listener(event)

    def next_children(self) -> Children:
        """Those of its next piece of work: an examination ends its own, and lets none start any
        more."""
        self.children = Children()
        if self.stopped:
            self.children.kill_all()
        return self.children

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
    """Runs a job at a time; a new one takes the place of the old one.

    However a job ends, `ended` is the last that is heard of it.
    """

    def __init__(self, *ended: Event) -> None:
        self._ended = ended
        self._lock = threading.Lock()
        self._current: Job | None = None
        self._closed = False

    def start(self, name: str, work: Work, listener: Listener) -> None:
        """Begin a job in a thread of its own. What it raises is told as Failed."""
        job = Job(listener=listener)
        with self._lock:
            if self._closed:
                return
            before, self._current = self._current, job
        if before is not None:
            before.supersede()
        run_aside(name, lambda: work(job), job.tell, finally_=lambda: self._end(job))

    def _end(self, job: Job) -> None:
        job.tell(*self._ended)
        with self._lock:
            if self._current is job:
                self._current = None

    def stop(self) -> None:
        """End the current job, which tells what it has."""
        with self._lock:
            current = self._current
        if current is not None:
            current.stop()

    def drop(self) -> None:
        """End the current job, and let nothing more be heard of it."""
        with self._lock:
            current, self._current = self._current, None
        if current is not None:
            current.supersede()

    def close(self) -> None:
        """End the current job, and start none any more."""
        with self._lock:
            self._closed = True
        self.drop()


def run_aside(
    name: str,
    work: Callable[[], None],
    tell: Listener,
    *,
    finally_: Callable[[], None] = lambda: None,
) -> threading.Thread:
    """Do something in a daemon thread, which is returned; what it raises is told as Failed."""

    def body() -> None:
        try:
            work()
        except Exception as error:
            clear = isinstance(error, BadInput | Unwritable)
            text = str(error) if clear else f"{name}: {error!r}"
            tell(Failed(message=text))
        finally:
            finally_()

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    return thread
