"""The moment that documents are stamped with."""

import datetime


def now_utc() -> str:
    """The present moment in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
