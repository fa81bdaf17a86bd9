"""Runs what plugins bring for so long and no longer; whatever they do is a result."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from envdoctor.errors import described
from envdoctor.record import Record
from envdoctor.watchdog import NEVER

LIMIT_S = 10.0
"""For one piece of work. A check or a derivation is a pure function that takes milliseconds; only
one that does not end, or waits for something, takes so long, also on a busy machine."""

T = TypeVar("T")


class Failed(Record):
    """Work that gave nothing; `error` says why in words. `out_of_time`: for no fault of its own,
    as the time of the whole run was over."""

    error: str
    out_of_time: bool = False


OUT_OF_TIME = Failed(error="time ran out before it was done", out_of_time=True)


def run_in_turn(
    works: Sequence[Callable[[], T]], limit_s: float = LIMIT_S, *, until: float = NEVER
) -> tuple[T | Failed, ...]:
    """The results of the works, which run one after the other, each at most `limit_s`, and none
    beyond the moment `until` of the monotonic clock.

    One that does not end in time is left behind in its daemon thread, and the next ones run in
    another. Ctrl-C comes to the caller, never to a work.
    """
    results: list[T | Failed] = []
    while len(results) < len(works):
        turns = _Turns(works[len(results) :])
        results += turns.results_within(limit_s, until)
        if turns.is_complete:
            break
        if time.monotonic() >= until:
            results += [OUT_OF_TIME] * (len(works) - len(results))
            break
        results.append(Failed(error=f"no answer within {limit_s:g} s"))
    return tuple(results)


def run_bounded(
    work: Callable[[], T], limit_s: float = LIMIT_S, *, until: float = NEVER
) -> T | Failed:
    """The result of one work."""
    return run_in_turn([work], limit_s, until=until)[0]


class _Turns(Generic[T]):
    """Works in one thread, until they are done or one is given up."""

    def __init__(self, works: Sequence[Callable[[], T]]) -> None:
        self._works = works
        self._results: list[T | Failed] = []
        self._since = time.monotonic()
        self._done = threading.Event()
        self._given_up = False
        self.is_complete = False

    def results_within(self, limit_s: float, until: float) -> list[T | Failed]:
        """The results, as far as the works ended in time."""
        try:
            threading.Thread(target=self._go, name="plugins", daemon=True).start()
        except RuntimeError:
            # The system allows no more threads (ulimit -u); then nothing bounds them.
            self._go()
        while (left := min(self._since + limit_s, until) - time.monotonic()) > 0:
            if self._done.wait(min(left, threading.TIMEOUT_MAX)):
                break
        self._given_up = True
        results = self._results[:]
        self.is_complete = len(results) == len(self._works)
        return results

    def _go(self) -> None:
        for work in self._works:
            self._since = time.monotonic()
            result = _result_of(work)
            if self._given_up:
                return
            self._results.append(result)
        self._done.set()


def _result_of(work: Callable[[], T]) -> T | Failed:
    try:
        return work()
    except BaseException as error:
        return Failed(error=described(error))
