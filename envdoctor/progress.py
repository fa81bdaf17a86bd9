"""Progress on standard error: one line that is rewritten on a terminal, a few lines elsewhere."""

import shutil
import threading
import time
from typing import TextIO

from envdoctor.calibration.progress import CalibrationProgress
from envdoctor.events import ProbeEvent

SLOW_AFTER_S = 5.0
"""A probe that takes longer is announced with its reason where there is no terminal."""

_TICK_S = 0.2
_CLEAR = "\r\x1b[K"


class StatusLine:
    """A line on a terminal that is written over, and cleared at the end.

    Where the stream is no terminal, `show` does nothing and `say` writes a line of its own. A
    stream that cannot be written to any more is left alone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_live = stream.isatty()

    def show(self, text: str) -> None:
        """Put a text in place of the last one, cut to the width of the terminal."""
        if self.is_live:
            self._write(_CLEAR + text[: shutil.get_terminal_size().columns - 1])

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._write((_CLEAR if self.is_live else "") + f"envdoctor: {text}\n")

    def clear(self) -> None:
        """Leave an empty line behind."""
        if self.is_live:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self.is_live = False


class Progress:
    """Shows which probes are waited for. Use as a context manager; `event` takes probe events."""

    def __init__(self, stream: TextIO) -> None:
        self._line = StatusLine(stream)
        self._running: dict[str, tuple[float, str]] = {}
        self._announced: set[str] = set()
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

    def event(self, event: ProbeEvent) -> None:
        """Take note of a probe that started or ended."""
        with self._lock:
            if event.state == "started":
                self._running[event.probe] = (time.monotonic(), event.slow_because)
            else:
                self._running.pop(event.probe, None)

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


class MeasurementProgress:
    """Shows what is being measured; elsewhere than on a terminal one line for each run."""

    def __init__(self, stream: TextIO) -> None:
        self._line = StatusLine(stream)
        self._last = ""

    def __enter__(self) -> "MeasurementProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._line.clear()

    def event(self, event: CalibrationProgress) -> None:
        """Take note of what the worker does now."""
        what = " ".join(filter(None, (event.device, event.precision))) or event.phase
        if self._line.is_live:
            rate = "" if event.images_per_s is None else f"  {event.images_per_s:.1f} images/s"
            clock = f"  {event.seconds:.0f} of {event.budget_s:.0f} s" if event.budget_s else ""
            self._line.show(f"{what}: {event.message or event.phase}{rate}{clock}")
        elif what != self._last and event.phase != "starting":
            self._last = what
            self._line.say(f"measuring {what}")
