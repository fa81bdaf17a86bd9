"""The clock: the moment that documents are stamped with, and whether it is set meanwhile."""

import datetime
import time


def now_utc() -> str:
    """The present moment in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def offset_s() -> float:
    """The clock, less what has passed since the start of the machine, suspended or not: it changes
    only where the clock is set."""
    since_start = getattr(time, "CLOCK_BOOTTIME", None)
    passed = time.monotonic() if since_start is None else time.clock_gettime(since_start)
    return time.time() - passed
