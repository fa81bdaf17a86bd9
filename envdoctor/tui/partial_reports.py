"""Reports on what is known so far, made beside the examination so that it never waits for them."""

import threading
import time
from collections.abc import Callable

from envdoctor.facts import Snapshot
from envdoctor.report import Report

EVERY_S = 0.25
"""A report costs as much as all checks, and whoever looks cannot follow more of them."""


class PartialReports:
    """Makes reports of the newest snapshot and tells them, one at a time and at most one every
    `every_s` seconds; use as a context manager.

    After its end nothing is told any more, so that a partial report never follows the final.
    """

    def __init__(
        self,
        make: Callable[[Snapshot], Report],
        tell: Callable[[Report], None],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._make = make
        self._tell = tell
        self._every_s = every_s
        self._changed = threading.Condition()
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

    def take(self, snapshot: Snapshot) -> None:
        """There is news; older news that was not yet reported is dropped."""
        with self._changed:
            self._newest = snapshot
            self._changed.notify()

    def _loop(self) -> None:
        while (snapshot := self._next()) is not None:
            began = time.monotonic()
            report = self._make(snapshot)
            with self._changed:
                if self._ended:
                    return
                self._tell(report)
                self._changed.wait_for(
                    lambda: self._ended, self._every_s - (time.monotonic() - began)
                )

    def _next(self) -> Snapshot | None:
        """The newest snapshot, as soon as there is one; None after the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended)
            snapshot, self._newest = self._newest, None
            return None if self._ended else snapshot
