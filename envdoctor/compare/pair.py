"""The two sides that are compared, and what every part of the comparison makes of them."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import msgspec

from envdoctor.compare.places import Places
from envdoctor.compare.records import Difference, SourceKind
from envdoctor.facts import F, Fact, Observed, Snapshot
from envdoctor.knowledge import Knowledge
from envdoctor.record import Record
from envdoctor.report import Report

Swap = Callable[[Snapshot, Snapshot], Snapshot]
"""The first snapshot with that one thing as it is in the second."""


class Examined(Record):
    """One side: what was observed there, and its diagnosis. `label` is its file or interpreter."""

    label: str
    kind: SourceKind
    snapshot: Snapshot
    report: Report

    def value(self, kind: type[F]) -> F | None:
        """The observed value, or None where it is not known."""
        return self.snapshot.value(kind)


class Found(Record):
    """A difference, what of a snapshot it is, and the words by which findings speak of it."""

    difference: Difference
    swap: Swap | None = None
    words: tuple[str, ...] = ()
    named: int = 0
    """How many of the findings that it explains speak of it."""
    roots: int = 0
    """How many of them are root causes on their side."""


class Names(Record):
    """How sentences call the sides: `here` and `there`, or `A` and `B` and `in A`, `in B`."""

    first: str
    second: str
    at_first: str
    at_second: str


HERE_AND_THERE = Names(first="here", second="there", at_first="here", at_second="there")
THERE_AND_HERE = Names(first="there", second="here", at_first="there", at_second="here")
A_AND_B = Names(first="A", second="B", at_first="in A", at_second="in B")


def names_of(first: Examined, second: Examined) -> Names:
    """This machine is `here`; where both or none are, they are A and B."""
    live = (first.kind == "live", second.kind == "live")
    return {(True, False): HERE_AND_THERE, (False, True): THERE_AND_HERE}.get(live, A_AND_B)


class Pair:
    """Both sides, their names, and what vendors publish."""

    def __init__(self, first: Examined, second: Examined, knowledge: Knowledge) -> None:
        self.first = first
        self.second = second
        self.knowledge = knowledge
        self.names = names_of(first, second)

    @cached_property
    def places(self) -> tuple[Places, Places]:
        """The paths of each side."""
        return Places(self.first.snapshot), Places(self.second.snapshot)

    def both(self, kind: type[F]) -> tuple[F, F] | None:
        """The fact of each side, where both know it."""
        first, second = self.first.value(kind), self.second.value(kind)
        return None if first is None or second is None else (first, second)

    def each(self, first: str, second: str) -> str:
        """`535.183.01 here, 550.54.14 there`."""
        return f"{first} {self.names.at_first}, {second} {self.names.at_second}"

    def only(self, on_first: bool, verb: str = "is") -> str:
        """`is here and not there`; with a verb that says more `is loaded here and not there`."""
        has, lacks = self.names.at_first, self.names.at_second
        if not on_first:
            has, lacks = lacks, has
        return f"{verb} {has} and not {lacks}"

    @property
    def on_both(self) -> str:
        """`here and there`, `in A and B`."""
        return f"{self.names.at_first} and {self.names.second}"

    @property
    def is_partial(self) -> tuple[bool, bool]:
        """Whether a side is a text, in which what it does not list may be there all the same."""
        return self.first.kind == "collect_env", self.second.kind == "collect_env"


def known(snapshot: Snapshot, kind: type[Fact]) -> bool:
    """Whether that fact was observed."""
    return isinstance(snapshot.get(kind), Observed)


def with_fields(snapshot: Snapshot, kind: type[Fact], fields: Mapping[str, Any]) -> Snapshot:
    """The snapshot with other values in fields of one fact; as it is where that is not known."""
    fact = snapshot.get(kind)
    if not isinstance(fact, Observed):
        return snapshot
    value = msgspec.structs.replace(fact.value, **fields)
    return snapshot.with_facts({kind: msgspec.structs.replace(fact, value=value)})


def swap_fields(kind: type[Fact], *names: str) -> Swap:
    """Takes these fields of a fact from the other side; the whole fact without names."""

    def swap(patient: Snapshot, donor: Snapshot) -> Snapshot:
        other = donor.get(kind)
        if not isinstance(other, Observed):
            return patient
        if not names:
            return patient.with_facts({kind: other})
        return with_fields(patient, kind, {name: getattr(other.value, name) for name in names})

    return swap


def swap_all(*swaps: Swap) -> Swap:
    """Several of them, one after the other."""

    def swap(patient: Snapshot, donor: Snapshot) -> Snapshot:
        for one in swaps:
            patient = one(patient, donor)
        return patient

    return swap
