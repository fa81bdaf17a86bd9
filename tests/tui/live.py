"""What the tests of the live model have in common: its options, and an ear for what it tells."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from envdoctor.options import Options
from envdoctor.output import Output
from envdoctor.session import Session
from envdoctor.tui.contract import Event, ReportReady
from envdoctor.tui.model import LiveModel
from envdoctor.tui.state import State, after

E = TypeVar("E")
OPTIONS = Options(python=sys.executable, static=True, timeout_s=60.0)


def live_model(
    path: str | None = None,
    session: Session | None = None,
    others: Sequence[str] = (),
    **changes: object,
) -> LiveModel:
    """A model with these options, changed; `others` are the interpreters beside the first."""
    options = replace(OPTIONS, **changes)
    beside = [replace(options, python=one) for one in others]
    return LiveModel(options, Output(), path=path, others=beside, session=session)


class Ear:
    """Keeps what a model tells."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def wait(
        self, kind: type[E], wanted: Callable[[E], bool] = lambda event: True, *, since: int = 0
    ) -> E:
        """The first event of that kind that is wanted, among those from a number on."""
        deadline = time.monotonic() + 60
        with self._news:
            while True:
                for event in self.events[since:]:
                    if isinstance(event, kind) and wanted(event):
                        return event
                if not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no {kind.__name__} among {self.events[since:]}")

    def final(self, *, since: int = 0) -> ReportReady:
        return self.wait(ReportReady, lambda event: event.final, since=since)

    @property
    def state(self) -> State:
        """What an application shows after all this."""
        state = State()
        for event in list(self.events):
            state = after(state, event)
        return state


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that tells nothing; fails after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
