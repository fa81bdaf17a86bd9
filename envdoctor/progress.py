"""Progress on standard error: one line that is rewritten on a terminal, else only slow probes."""

import threading
import time
from typing import TextIO

from envdoctor.collect import ProbeEvent

SLOW_AFTER_S = 5.0
"""A probe that takes longer is announced with its reason where there is no terminal."""

_TICK_S = 0.2
_CLEAR = "\r\x1b[K"


class Progress:
    """Shows what is being waited for. Use as a context manager; `event` takes probe events."""

    def __init__(self, stream: TextIO, *, width: int = 80) -> None:
        self._stream = stream
        self._rewrite = stream.isatty()
        self._width = width
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
        if self._rewrite:
            self._write(_CLEAR)

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
            if self._rewrite:
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
        line = f"{name}{more} {now - since:.0f} s{reason}"
        self._write(_CLEAR + line[: self._width - 1])

    def _announce(self, running: dict[str, tuple[float, str]]) -> None:
        now = time.monotonic()
        for name, (since, why) in running.items():
            if now - since < SLOW_AFTER_S or name in self._announced:
                continue
            self._announced.add(name)
            self._write(f"envdoctor: still waiting for {name}" + (f": {why}\n" if why else "\n"))

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stop.set()
