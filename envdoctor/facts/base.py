"""Facts: what was observed or why it was not, and the snapshot that holds them."""

import enum
from collections.abc import ItemsView, Mapping
from typing import Any, Generic, TypeVar

from envdoctor import __version__
from envdoctor.record import Record

SCHEMA_VERSION = 2
"""Version of the facts file and of the report. Older ones are read, newer ones refused."""


class Fact(Record):
    """The base of everything that a probe observes or that is derived from observations."""


F = TypeVar("F", bound=Fact)


class Reason(enum.Enum):
    """Why a fact is not known.

    Looking failed: TIMED_OUT, CRASHED, UNDECODABLE. SWITCHED_OFF: the user did not want the look.
    NOT_OBSERVED: nobody looked (an older file, a pasted text, another platform's facts).
    NOT_APPLICABLE: it has no meaning here.
    """

    TIMED_OUT = "timed-out"
    CRASHED = "crashed"
    UNDECODABLE = "undecodable"
    SWITCHED_OFF = "switched-off"
    NOT_OBSERVED = "not-observed"
    NOT_APPLICABLE = "not-applicable"

    @property
    def is_failure(self) -> bool:
        """Whether looking failed, rather than being switched off or without meaning here."""
        return self in (Reason.TIMED_OUT, Reason.CRASHED, Reason.UNDECODABLE)


class Unknown(Record):
    """A fact that could not be observed. It is neither healthy nor broken.

    `waited_s` says that an answer was waited for as long as one may take; null where the time of
    the whole examination ran out, or where nobody waited.
    """

    reason: Reason
    detail: str = ""
    waited_s: float | None = None


class Observed(Record, Generic[F]):
    """An observed fact, with where it was read and how long that took."""

    volatile = frozenset({"seconds"})

    value: F
    source: str
    seconds: float = 0.0


Known = Observed[Any] | Unknown


class Snapshot:
    """All facts about one machine and one target, by their type. Immutable."""

    def __init__(self, facts: Mapping[type[Fact], Known] | None = None) -> None:
        self._facts = dict(facts or {})

    def get(self, kind: type[F]) -> Observed[F] | Unknown:
        """The fact of that type; Unknown NOT_OBSERVED where no probe provided it."""
        return self._facts.get(kind) or Unknown(
            reason=Reason.NOT_OBSERVED, detail=f"no probe observed {kind.__name__}"
        )

    def value(self, kind: type[F]) -> F | None:
        """The observed value, or None where it is unknown."""
        fact = self.get(kind)
        return fact.value if isinstance(fact, Observed) else None

    def with_facts(self, facts: Mapping[type[Fact], Known]) -> "Snapshot":
        """A snapshot that also holds these facts; they replace those of the same type."""
        return Snapshot({**self._facts, **facts})

    def items(self) -> ItemsView[type[Fact], Known]:
        """The facts with their types."""
        return self._facts.items()


class Tool(Record):
    """The program that wrote a document."""

    name: str = "envdoctor"
    version: str = __version__
