"""Reports on what is known so far, made beside the examination so that it never waits for them."""

import threading
from collections.abc import Callable

from envdoctor.facts import Snapshot


class PartialReports:
    """Hands the newest snapshot to `report`, one at a time; use as a context manager.

    After its end nothing is reported any more, so that a partial report never follows the final.
    """

    def __init__(self, report: Callable[[Snapshot], None]) -> None:
        self._report = report
        self._changed = threading.Condition()
        self._reporting = threading.Lock()
        self._newest: Snapshot | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._loop, name="partial reports", daemon=True)

    def __enter__(self) -> "PartialReports":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        with self._reporting:
            pass

    def take(self, snapshot: Snapshot) -> None:
        """There is news; older news that was not yet reported is dropped."""
        with self._changed:
            self._newest = snapshot
            self._changed.notify()

    def _loop(self) -> None:
        while True:
            with self._changed:
                while self._newest is None and not self._ended:
                    self._changed.wait()
                if self._ended:
                    return
                snapshot, self._newest = self._newest, None
                self._reporting.acquire()
            try:
                assert snapshot is not None
                self._report(snapshot)
            finally:
                self._reporting.release()
