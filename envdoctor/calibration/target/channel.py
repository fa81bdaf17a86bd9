"""What the worker says: one JSON object a line, an event and its data."""

from __future__ import annotations

import json
import os
import time
from typing import Any

_PROGRESS_EVERY_S = 0.1


class Channel:
    """Writes events to a file descriptor, whole lines only."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.began = time.monotonic()
        self._sent_at = -1.0
        self._sent: tuple[str, ...] = ()

    def send(self, event: str, **data: Any) -> None:
        """Write one event."""
        line = json.dumps({"event": event, "data": data}).encode() + b"\n"
        while line:
            line = line[os.write(self.fd, line) :]

    def progress(self, *, device: str = "", precision: str = "", phase: str, **data: Any) -> None:
        """Tell what goes on: each new phase at once, the same one at most ten times a second."""
        now = time.monotonic()
        sent = (device, precision, phase, data.get("message", ""))
        if sent == self._sent and now - self._sent_at < _PROGRESS_EVERY_S:
            return
        self._sent, self._sent_at = sent, now
        self.send("progress", device=device, precision=precision, phase=phase, **data)

    def left_out(self, device: str, what: str, reason: str, *, failed: bool) -> None:
        """Say what was not measured, and why."""
        self.send("left_out", device=device, what=what, reason=reason, failed=failed)
