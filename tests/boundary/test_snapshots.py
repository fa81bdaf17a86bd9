"""Whatever the facts say, no check and no derivation fails, every format can be written, and what
`collect` writes is read back."""

import msgspec
import pytest

from envdoctor.api import Knowledge
from envdoctor.derived import CORE_DERIVATIONS, observed_types_of
from envdoctor.engine import derive_facts
from envdoctor.facts import Reason, Snapshot, Unknown
from envdoctor.facts.documents import as_it_was, facts_document, facts_from_builtins
from envdoctor.formats import MACHINE, Look
from envdoctor.prescribe import prescribe
from envdoctor.prescribe.machine import machine_in
from envdoctor.redaction import user_filter
from envdoctor.render.emitters import EMITTERS
from tests.boundary.hostile import hostile_machine
from tests.support.diagnosis import loaded, report_on, services


def written(document: object, *formats: str) -> bytes:
    """The document in these formats; the last is returned."""
    texts = []
    for name in formats:
        safe = user_filter(for_programs=name in MACHINE).document(document)
        texts.append(EMITTERS[name](safe, Look()).encode())
    return texts[-1]


def defects(snapshot: Snapshot) -> list[str]:
    """What the doctor failed at."""
    report = report_on(snapshot)
    written(report, "text", "markdown", "json")
    derived = derive_facts(CORE_DERIVATIONS, snapshot, services())
    crashed = [
        fact.detail
        for step in CORE_DERIVATIONS
        if isinstance(fact := derived.get(step.provides), Unknown)
        and fact.reason is Reason.CRASHED
        and fact.detail.startswith(step.name)
    ]
    knowledge = services()[Knowledge]
    assert isinstance(knowledge, Knowledge)
    answer = prescribe(machine_in(derived, knowledge), knowledge, None)
    written(answer, "text", "json", "script")
    return [*crashed, *(one.message for one in report.findings if one.name == "check-crashed")]


def read_back(snapshot: Snapshot) -> tuple[bytes, bytes]:
    """What `collect` writes, and what it would write of what was read of that."""
    kinds = observed_types_of(loaded())
    own = Snapshot({kind: fact for kind, fact in snapshot.items() if kind in kinds})
    once = written(facts_document(own), "json")
    again = facts_from_builtins(as_it_was(msgspec.json.decode(once))["facts"], kinds)
    twice = written(facts_document(again), "json")
    return tuple(msgspec.json.encode(msgspec.json.decode(one)["facts"]) for one in (once, twice))


def check_all(seeds: range) -> None:
    for seed in seeds:
        story, snapshot = hostile_machine(seed, loaded())
        assert defects(snapshot) == [], f"{seed}: {story}"
        first, second = read_back(snapshot)
        assert first == second, f"{seed}: {story}"


@pytest.mark.parametrize("seed", [1967, 2211])
def test_a_machine_that_was_a_failure_once(seed: int) -> None:
    """A variable whose name is a control; more CPUs than a number of 64 bits counts."""
    check_all(range(seed, seed + 1))


def test_a_hostile_machine_is_diagnosed_written_and_read_back() -> None:
    check_all(range(30))


@pytest.mark.heavy
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(1_000, 11_000, 1_000))
def test_ten_thousand_more(first: int) -> None:
    check_all(range(first, first + 1_000))
