"""Progress on standard error: one line that is rewritten on a terminal, a few lines elsewhere."""

import threading
import time
from typing import TYPE_CHECKING

from envdoctor.events import ProbeEvent
from envdoctor.output import Output
from envdoctor.report import Report
from envdoctor.session import Listener

if TYPE_CHECKING:
    from envdoctor.calibration.progress import CalibrationProgress

SLOW_AFTER_S = 5.0
"""A probe that takes longer is announced with its reason where there is no terminal."""

_TICK_S = 0.2


class Progress:
    """Shows which probes are waited for, and what is measured; elsewhere than on a terminal one
    line for what is slow, and one for each run. Use as a context manager."""

    def __init__(self, output: Output) -> None:
        self._line = output.status_line()
        self._running: dict[str, tuple[float, str]] = {}
        self._announced: set[str] = set()
        self._measured = ""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="progress", daemon=True)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=1.0)
        self._line.clear()

    @property
    def listener(self) -> Listener:
        """What a session tells."""
        return Listener(probe=self._probe, diagnosed=self._diagnosed, measurement=self._measurement)

    def tell(self, what: str) -> None:
        """What goes on now, where there is a line that is rewritten."""
        self._line.show(what)

    def _probe(self, event: ProbeEvent) -> None:
        with self._lock:
            if event.state == "started":
                self._running[event.probe] = (time.monotonic(), event.slow_because)
            else:
                self._running.pop(event.probe, None)

    def _diagnosed(self, report: Report) -> None:
        self._line.say(f"{report.verdict.value} so far; measuring a training step")

    def _measurement(self, event: "CalibrationProgress") -> None:
        with self._lock:
            self._running.clear()
        what = " ".join(filter(None, (event.device, event.precision))) or event.phase
        if event.plan:
            self._line.say(f"measuring takes about {event.plan}")
        if self._line.is_live:
            rate = "" if event.rate is None else f"  {event.rate:.1f} {event.unit}"
            clock = f"  {event.seconds:.0f} of {event.budget_s:.0f} s" if event.budget_s else ""
            self._line.show(f"{what}: {event.message or event.phase}{rate}{clock}")
        elif what != self._measured and event.phase != "starting":
            self._measured = what
            self._line.say(f"measuring {what}")

    def _loop(self) -> None:
        while not self._stop.wait(_TICK_S):
            with self._lock:
                running = dict(self._running)
            if self._line.is_live:
                self._show(running)
            else:
                self._announce(running)

    def _show(self, running: dict[str, tuple[float, str]]) -> None:
        if not running:
            return
        now = time.monotonic()
        name, (since, why) = min(running.items(), key=lambda item: item[1][0])
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        reason = f" ({why})" if why and now - since > 1.0 else ""
        self._line.show(f"{name}{more} {now - since:.0f} s{reason}")

    def _announce(self, running: dict[str, tuple[float, str]]) -> None:
        now = time.monotonic()
        for name, (since, why) in running.items():
            if now - since < SLOW_AFTER_S or name in self._announced:
                continue
            self._announced.add(name)
            self._line.say(f"still waiting for {name}" + (f": {why}" if why else ""))
