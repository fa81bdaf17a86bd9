"""Facts: what was observed or why it was not, and the snapshot that holds them."""

import enum
from collections.abc import ItemsView, Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from envdoctor import __version__
from envdoctor.record import Record

SCHEMA_VERSION = 1
"""Version of the facts file and of the report. A reader refuses a newer one."""


class Fact(Record):
    """The base of everything that a probe observes or that is derived from observations."""


F = TypeVar("F", bound=Fact)


class Reason(enum.Enum):
    """Why a fact is not known."""

    NOT_RUN = "not-run"
    TIMED_OUT = "timed-out"
    CRASHED = "crashed"
    UNDECODABLE = "undecodable"
    NOT_APPLICABLE = "not-applicable"

    @property
    def is_failure(self) -> bool:
        """Whether looking failed, rather than being switched off or without meaning here."""
        return self in (Reason.TIMED_OUT, Reason.CRASHED, Reason.UNDECODABLE)


class Unknown(Record):
    """A fact that could not be observed. It is neither healthy nor broken."""

    reason: Reason
    detail: str = ""


class Observed(Record, Generic[F]):
    """An observed fact, with where it was read and how long that took."""

    value: F
    source: str
    seconds: float = 0.0


Known = Observed[Any] | Unknown


class Snapshot:
    """All facts about one machine and one target, by their type. Immutable."""

    def __init__(self, facts: Mapping[type[Fact], Known] | None = None) -> None:
        self._facts = dict(facts or {})

    def get(self, kind: type[F]) -> Observed[F] | Unknown:
        """The fact of that type; Unknown NOT_RUN where no probe provided it."""
        return self._facts.get(kind) or Unknown(
            reason=Reason.NOT_RUN, detail=f"no probe observed {kind.__name__}"
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


class FactsDocument(Record, tag="facts"):
    """A facts file: one machine, recorded. `captured_at` is UTC; `provenance` says how it was made.

    `provenance` is "captured" for facts that probes observed, "synthetic" for those made by hand.
    """

    schema_version: int
    tool: Tool
    captured_at: str
    facts: dict[str, Any]
    provenance: str = "captured"
    captured_with: str = ""


class BadFacts(ValueError):
    """A facts file or report that cannot be used; the message names the place and the remedy."""


def facts_to_builtins(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as plain JSON values, by the names of the facts' types, sorted."""
    pairs = ((kind.__name__, msgspec.to_builtins(fact)) for kind, fact in snapshot.items())
    return dict(sorted(pairs))


def facts_from_builtins(data: Mapping[str, Any], kinds: Iterable[type[Fact]]) -> Snapshot:
    """The snapshot that `facts_to_builtins` wrote.

    Facts of a type that is not among `kinds` (a plugin that is not installed here) are left out.
    Raises BadFacts where a value does not have its type.
    """
    by_name = {kind.__name__: kind for kind in kinds}
    facts: dict[type[Fact], Known] = {}
    for name, value in data.items():
        kind = by_name.get(name)
        if kind is None:
            continue
        try:
            facts[kind] = msgspec.convert(value, Observed[kind] | Unknown, strict=True)  # type: ignore[valid-type]
        except msgspec.ValidationError as error:
            raise BadFacts(f"fact `{name}`: {error}") from error
    return Snapshot(facts)
