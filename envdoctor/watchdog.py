"""Ends the run where a signal or the time says so, whatever the program itself is about.

A handler of a signal can only raise an exception, and Python drops one that it raises in a callback
of its own: that of a weak reference, as module locks have, `__del__`, of the garbage collector. It
does not run at all while the main thread waits inside of a library. So nothing rests on it alone.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

PATIENCE_S = 0.35
"""How long the program may take to end by itself after a signal; half a second is promised."""

OVERRUN_S = 0.8
"""The same after its time has run out; one second is promised."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end the program with a document."""

NEVER = float("inf")

_AGAIN = b"\0"
"""What is no number of a signal: look at the clock again."""


class Terminated(BaseException):
    """A signal that ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. After a plain KeyboardInterrupt that comes while a dataclass is made, Python kills
    itself at the end, although it was caught (`unhandled_keyboard_interrupt` in CPython's
    pythonrun.c, set by exec() of a text)."""

    number = signal.SIGINT


def _unless_ending(dropped: "sys.UnraisableHookArgs") -> None:
    """Python tells what it drops in lines of its own; of a signal the watchdog tells."""
    if not isinstance(dropped.exc_value, Interrupted | Terminated):
        sys.__unraisablehook__(dropped)


class Watchdog:
    """A thread that sleeps until a signal comes or the time has run out; a program that does not
    end soon after that is ended by it.

    `last_words` is called then, with the signal or null: it writes what is to be written, and
    returns the exit code, or null where time has run out and a document is being written already.
    """

    def __init__(self, last_words: Callable[[int | None], int | None]) -> None:
        self.number: int | None = None
        """The signal that came, also where its exception was lost."""
        self.patience_s = PATIENCE_S
        """Longer where there is a terminal to be left as it was."""
        self._last_words = last_words
        self._deadline = NEVER
        self._ended = threading.Lock()
        self._inbox = self._outbox = -1

    def start(self) -> None:
        """Catch the signals, and watch. Where no thread can be started, exceptions alone must
        do."""
        for number in ENDING:
            # One that was ignored before, as by nohup, stays so.
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._came)
        sys.unraisablehook = _unless_ending
        self._inbox, self._outbox = os.pipe()
        for end in (self._inbox, self._outbox):
            os.set_blocking(end, False)
        # Written by the system itself, so that the thread knows what no handler could say yet.
        signal.set_wakeup_fd(self._outbox, warn_on_full_buffer=False)
        try:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        except RuntimeError:
            return

    def limit(self, deadline: float) -> None:
        """The moment of the monotonic clock at which all the time has run out; infinite: never."""
        self._deadline = deadline
        if self._outbox >= 0:
            os.writev(self._outbox, [_AGAIN])

    def dismiss(self) -> None:
        """All is said and done. Does not return where the thread is ending the program."""
        self._ended.acquire()
        # Whatever ends the process now may do so at once.
        for number in ENDING:
            if signal.getsignal(number) == self._came:
                signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)

    def _came(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        raise Interrupted if number == signal.SIGINT else Terminated(number)

    # --- in the thread ---

    def _watch(self) -> None:
        while True:
            self._sleep()
            if not self._ended.acquire(blocking=False):
                return
            code = self._last_words(self.number)
            if code is not None:
                os._exit(code)
            self._ended.release()
            self._deadline = NEVER

    def _sleep(self) -> None:
        """Until the program is to be ended."""
        due = self._due()
        while (left := due - time.monotonic()) > 0:
            select.select([self._inbox], [], [], min(left, threading.TIMEOUT_MAX))
            self._hear()
            # A second signal gives no more patience.
            due = self._due() if self.number is None else min(due, self._due())

    def _due(self) -> float:
        overrun = self._deadline + OVERRUN_S
        return overrun if self.number is None else min(overrun, time.monotonic() + self.patience_s)

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            heard = os.read(self._inbox, 64)
            self.number = self.number or next((one for one in heard if one in ENDING), None)
