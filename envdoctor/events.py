"""What is told of an examination while it runs."""

from collections.abc import Callable

from envdoctor.record import Record


class ProbeEvent(Record):
    """Progress of one probe. `state`: started, finished, unknown."""

    probe: str
    state: str
    seconds: float = 0.0
    detail: str = ""
    slow_because: str = ""


OnEvent = Callable[[ProbeEvent], None]
