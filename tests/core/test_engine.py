"""Deriving facts and running checks: needs, skips, crashes, and what is recorded of them."""

from typing import Any

import pytest

from envdoctor.api import (
    Code,
    Fact,
    Findings,
    Known,
    Layer,
    Observed,
    Reason,
    Severity,
    Snapshot,
    Unknown,
    check,
    derive,
)
from envdoctor.engine import CHECK_CRASHED, derive_facts, run_checks
from envdoctor.plugins.signature import needs_of


class Weather(Fact):
    rain_mm: float


class Roof(Fact):
    holes: int


class Leak(Fact):
    mm: float


class Puddle(Fact):
    mm: float


class Almanac:
    """A service that nobody offers."""


WET = Code(
    id="ED901",
    name="wet-floor",
    family="wet-floor",
    severity=Severity.ERROR,
    topic="speed",
    layer=Layer.SPEED,
    message="the floor is wet",
    detailed="the floor is wet: {what}",
)
DRY = Code(id="ED902", name="dry", family="dry", severity=Severity.WARNING, message="it is dry")


@check(WET)
def wet_floor(weather: Weather, roof: Roof) -> Findings:
    """Fires when it rains through the roof."""
    if weather.rain_mm > 0 and roof.holes > 0:
        yield WET.finding(what=f"{roof.holes} holes")


@check(DRY)
def raises(weather: Weather) -> Findings:
    """A check with a defect."""
    raise ZeroDivisionError("oh no")


@check(DRY)
def yields_and_raises(weather: Weather) -> Findings:
    """A check whose defect shows after its first finding."""
    yield DRY.finding()
    raise ZeroDivisionError("oh no")


@check(DRY)
def without_roof(weather: Weather, roof: Roof | None) -> Findings:
    """A check that can do without a roof."""
    if roof is None:
        yield DRY.finding()


@check(DRY)
def asks_for_an_almanac(weather: Weather, almanac: Almanac) -> Findings:
    """A check that was written for another doctor."""
    yield DRY.finding()


def snapshot(*facts: Fact, **unknown: Unknown) -> Snapshot:
    known: dict[type[Fact], Known] = {
        type(fact): Observed(value=fact, source="test") for fact in facts
    }
    kinds = {"weather": Weather, "roof": Roof}
    return Snapshot(known | {kinds[name]: why for name, why in unknown.items()})


RAIN = Weather(rain_mm=3.0)


def test_a_check_runs_on_its_facts() -> None:
    (run,) = run_checks([wet_floor], snapshot(RAIN, Roof(holes=2)), {})
    assert (run.status, run.topic, run.codes) == ("ran", "speed", ("ED901",))
    assert [finding.message for finding in run.findings] == ["the floor is wet: 2 holes"]


@pytest.mark.parametrize("reason", Reason)
def test_an_unknown_fact_skips_the_check_and_the_record_keeps_why(reason: Reason) -> None:
    unseen = snapshot(RAIN, roof=Unknown(reason=reason, detail="no ladder"))
    (run,) = run_checks([wet_floor], unseen, {})
    assert (run.status, run.unknown, run.findings) == ("skipped", reason, ())
    assert run.reason == f"Roof is unknown ({reason.value}): no ladder"


def test_a_fact_that_nobody_looked_for_is_not_observed() -> None:
    (run,) = run_checks([wet_floor], snapshot(RAIN), {})
    assert (run.status, run.unknown) == ("skipped", Reason.NOT_OBSERVED)


@pytest.mark.parametrize("broken", [raises, yields_and_raises, asks_for_an_almanac])
def test_a_check_that_fails_does_not_disturb_the_others(broken: Any) -> None:
    crashed, ran = run_checks([broken, wet_floor], snapshot(RAIN, Roof(holes=1)), {})
    assert (crashed.status, ran.status) == ("crashed", "ran")
    (finding,) = crashed.findings
    assert (finding.code, finding.subjects) == (CHECK_CRASHED.id, (broken.name,))
    assert finding.breaks == ()


def test_an_optional_need_is_none_where_it_is_unknown() -> None:
    (run,) = run_checks([without_roof], snapshot(RAIN), {})
    assert [finding.code for finding in run.findings] == ["ED902"]


def test_a_check_that_the_user_left_out_is_skipped_for_that_reason_alone() -> None:
    (run,) = run_checks([wet_floor], snapshot(), {}, lambda check: False)
    assert (run.status, run.unknown) == ("skipped", None)
    assert run.reason == "switched off by the user"


def test_a_parameter_without_a_class_is_refused() -> None:
    def bad(weather) -> Findings:  # type: ignore[no-untyped-def]
        return ()

    with pytest.raises(TypeError, match="weather"):
        needs_of(bad)


@derive(Leak)
def leak(weather: Weather, roof: Roof) -> Leak | None:
    """How much comes through; nothing under a tight roof."""
    return Leak(mm=weather.rain_mm) if roof.holes else None


@derive(Puddle)
def puddle(leak: Leak) -> Puddle:
    """What lies on the floor."""
    return Puddle(mm=leak.mm / 2)


def test_derived_facts_build_on_each_other_in_whatever_order_they_are_named() -> None:
    for steps in ((leak, puddle), (puddle, leak)):
        whole = derive_facts(steps, snapshot(RAIN, Roof(holes=1)), {})
        assert (whole.value(Leak), whole.value(Puddle)) == (Leak(mm=3.0), Puddle(mm=1.5))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ((RAIN, Roof(holes=0)), Reason.NOT_APPLICABLE),
        ((RAIN,), Reason.NOT_OBSERVED),
    ],
)
def test_a_derived_fact_says_why_it_is_unknown(facts: tuple[Fact, ...], reason: Reason) -> None:
    derived = derive_facts([leak, puddle], snapshot(*facts), {})
    for kind in (Leak, Puddle):
        fact = derived.get(kind)
        assert isinstance(fact, Unknown)
        assert fact.reason is reason


def test_a_derived_fact_is_never_kept_as_it_was_recorded() -> None:
    recorded = snapshot(RAIN, Roof(holes=1), Leak(mm=99.0))
    assert derive_facts([leak], recorded, {}).value(Leak) == Leak(mm=3.0)


def test_a_derivation_that_fails_leaves_the_others_alone() -> None:
    @derive(Leak)
    def fails(weather: Weather) -> Leak:
        raise ZeroDivisionError("oh no")

    @derive(Puddle)
    def other(weather: Weather) -> Puddle:
        return Puddle(mm=1.0)

    derived = derive_facts([fails, other], snapshot(RAIN), {})
    lost = derived.get(Leak)
    assert isinstance(lost, Unknown)
    assert (lost.reason, lost.detail) == (Reason.CRASHED, "fails: ZeroDivisionError: oh no")
    assert derived.value(Puddle) == Puddle(mm=1.0)


def test_derivations_that_need_each_other_are_unknown_and_the_others_stay() -> None:
    @derive(Leak)
    def from_puddle(puddle: Puddle) -> Leak:
        return Leak(mm=puddle.mm)

    @derive(Roof)
    def roof(weather: Weather) -> Roof:
        return Roof(holes=1)

    derived = derive_facts([from_puddle, puddle, roof], snapshot(RAIN), {})
    assert derived.value(Roof) == Roof(holes=1)
    for kind in (Leak, Puddle):
        fact = derived.get(kind)
        assert isinstance(fact, Unknown)
        assert fact.reason is Reason.CRASHED
