"""The scheduler of the probes: order, time, and that no probe touches another's facts."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from envdoctor.api import Context, Fact, Known, Observed, Plugin, Probe, Reason, Unknown, Where
from envdoctor.collect import _seen_nothing, collect
from envdoctor.events import ProbeEvent
from envdoctor.facts import Snapshot
from envdoctor.facts.machine import Environment, Limits
from envdoctor.options import Options
from envdoctor.plugins import Loaded
from envdoctor.probes.run import Children
from tests.support.patients import empty_patient

Given = Mapping[type[Fact], Known]


class First(Fact):
    """A fact that needs none."""


class Second(Fact):
    """A fact that needs the first."""


class Third(Fact):
    """A fact that needs the second."""


def observed(value: Fact) -> Given:
    return {type(value): Observed(value=value, source="test")}


def first() -> Given:
    return observed(First())


def second(one: First) -> Given:
    return observed(Second())


def third(one: Second) -> Given:
    return observed(Third())


def host(
    observe: Callable[..., Given], *provides: type[Fact], static: bool = True, **options: object
) -> Probe:
    name = getattr(observe, "__name__", "probe")
    return Probe(
        name=name,
        where=Where.HOST,
        provides=provides,
        observe=observe,
        static=static,
        **options,
    )


Look = Callable[..., Snapshot]


@pytest.fixture
def look(children: Children, tmp_path: Path) -> Look:
    """Collect with these probes alone, on an interpreter without a torch."""
    python = empty_patient(tmp_path / "patient").python

    def with_probes(*probes: Probe, **options: object) -> Snapshot:
        return collect(
            Options(python=str(python), **options),
            Loaded(plugins=(Plugin(name="core", version="1", probes=probes),)),
            children=children,
            services={},
        )

    return with_probes


def reasons(snapshot: Snapshot) -> list[Reason | None]:
    facts = [snapshot.get(kind) for kind in (First, Second, Third)]
    return [fact.reason if isinstance(fact, Unknown) else None for fact in facts]


def test_a_probe_waits_for_what_it_needs_in_whatever_order_they_stand(look: Look) -> None:
    made = look(host(third, Third), host(second, Second), host(first, First))
    assert reasons(made) == [None, None, None]


def test_what_was_switched_off_settles_all_that_needs_it(look: Look) -> None:
    """The first is settled without a thread, and so is the second that waited for it."""
    made = look(
        host(third, Third), host(second, Second), host(first, First, static=False), static=True
    )
    assert reasons(made) == [Reason.SWITCHED_OFF] * 3


def test_what_nobody_provides_was_not_observed(look: Look) -> None:
    assert reasons(look(host(second, Second))) == [Reason.NOT_OBSERVED] * 3


def test_a_probe_that_is_late_and_those_that_wait_for_it(look: Look) -> None:
    def late() -> Given:
        time.sleep(60)
        return {}

    made = look(host(late, First, timeout_s=0.2), host(second, Second))
    assert reasons(made)[:2] == [Reason.TIMED_OUT, Reason.TIMED_OUT]


def test_what_still_waits_when_time_runs_out_is_timed_out(look: Look) -> None:
    def slow() -> Given:
        time.sleep(60)
        return {}

    began = time.monotonic()
    made = look(host(slow, First), host(second, Second), host(third, Third), timeout_s=1.0)
    assert time.monotonic() - began < 5
    assert reasons(made) == [Reason.TIMED_OUT] * 3


def test_probes_that_wait_for_each_other_are_told(look: Look) -> None:
    def circle(one: Third) -> Given:
        return observed(First())

    made = look(host(circle, First), host(second, Second), host(third, Third))
    assert reasons(made) == [Reason.NOT_OBSERVED] * 3
    fact = made.get(First)
    assert isinstance(fact, Unknown)
    assert "wait for each other" in fact.detail


def raises() -> Given:
    raise ZeroDivisionError("oh no")


def leaves() -> Given:
    raise SystemExit(3)


def gives_nothing() -> Given:
    return {}


def gives_none() -> Given:
    return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("defect", "reason", "words"),
    [
        (raises, Reason.CRASHED, "raises: ZeroDivisionError: oh no"),
        (leaves, Reason.CRASHED, "SystemExit: 3"),
        (gives_none, Reason.CRASHED, "NoneType"),
        (gives_nothing, Reason.NOT_OBSERVED, "gives_nothing did not give it"),
    ],
)
def test_a_probe_with_a_defect_costs_its_own_fact(
    look: Look, defect: Callable[[], Given], reason: Reason, words: str
) -> None:
    made = look(host(defect, First), host(second, Second), host(lambda: observed(Third()), Third))
    assert reasons(made) == [reason, reason, None]
    fact = made.get(First)
    assert isinstance(fact, Unknown)
    assert words in fact.detail


def test_no_probe_gives_a_fact_of_another(look: Look) -> None:
    def steals() -> Given:
        return {First: Unknown(reason=Reason.CRASHED, detail="stolen"), **observed(Second())}

    made = look(host(first, First), host(steals, Second), host(steals, First))
    assert reasons(made)[:2] == [None, None]


def test_a_service_that_is_not_offered_is_told(look: Look) -> None:
    def asks(one: dict) -> Given:  # type: ignore[type-arg]
        return {}

    fact = look(host(asks, First)).get(First)
    assert isinstance(fact, Unknown)
    assert fact.reason is Reason.CRASHED
    assert "asks" in fact.detail


def test_a_probe_is_given_the_context(look: Look) -> None:
    seen: list[Context] = []

    def sees(context: Context) -> Given:
        seen.append(context)
        return observed(First())

    look(host(sees, First))
    assert seen[0].is_live
    assert seen[0].run(["true"], timeout_s=10).ok


def test_every_probe_that_ran_tells_its_end(children: Children, tmp_path: Path) -> None:
    told: list[ProbeEvent] = []
    python = empty_patient(tmp_path / "patient").python
    probes = (host(first, First), host(raises, Second))
    collect(
        Options(python=str(python)),
        Loaded(plugins=(Plugin(name="core", version="1", probes=probes),)),
        children=children,
        services={},
        on_event=told.append,
    )
    ends = {one.probe: one.state for one in told if one.state != "started"}
    assert ends == {"target": "finished", "first": "finished", "raises": "unknown"}


OFF = Unknown(reason=Reason.SWITCHED_OFF, detail="`--try` tries it")
LATE = Unknown(reason=Reason.TIMED_OUT, detail="no answer in time")


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (Observed(value=Environment(variables={}), source="x"), OFF, None),
        (Observed(value=Environment(variables={}), source="x"), LATE, LATE),
        (OFF, LATE, LATE),
        (OFF, OFF, OFF),
    ],
)
def test_what_nobody_asked_for_is_not_what_a_probe_has_missed(
    first: Known, second: Known, told: Unknown | None
) -> None:
    assert _seen_nothing({Environment: first, Limits: second}) is told
