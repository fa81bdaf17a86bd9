"""The order of a calibration: devices one after the other, then their ceilings, then the input."""

from __future__ import annotations

import json
import sys
from typing import Any

from .channel import Channel


def main(fd: int, request: str) -> None:
    """Do all that the request asks, and tell it to the descriptor."""
    channel = Channel(fd)
    settings: dict[str, Any] = json.loads(request)
    channel.progress(phase="starting", message="importing torch")
    try:
        from . import session
    except BaseException as error:
        reason = f"torch cannot be imported: {type(error).__name__}: {error}"
        channel.send("fatal", reason=reason)
        sys.exit(1)
    session.run(channel, settings)
    channel.send("end")
