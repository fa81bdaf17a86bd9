"""The engine: needs, skips, crashes, ranking, verdict."""

from collections.abc import Iterable

import pytest

from envdoctor.api import (
    Code,
    Confidence,
    Fact,
    Finding,
    Findings,
    Known,
    Observed,
    Reason,
    Severity,
    Snapshot,
    Unknown,
    check,
    derive,
)
from envdoctor.engine import CHECK_CRASHED, derive_facts, rank, run_checks
from envdoctor.findings import Verdict, exit_code_of, verdict_of
from envdoctor.signature import needs_of


class Weather(Fact):
    rain_mm: float


class Roof(Fact):
    holes: int


class Leak(Fact):
    mm: float


def code(number: int, severity: Severity = Severity.ERROR, explains: tuple[str, ...] = ()) -> Code:
    return Code(
        id=f"ED9{number:02}",
        name=f"disease-{number}",
        family=f"disease-{number}",
        severity=severity,
        message="found {what}",
        explains=explains,
    )


WET = code(1)


@check(WET)
def wet_floor(weather: Weather, roof: Roof) -> Findings:
    """Fires when it rains through the roof."""
    if weather.rain_mm > 0 and roof.holes > 0:
        yield WET.finding(what=f"{roof.holes} holes")


@check(code(2))
def raises(weather: Weather) -> Findings:
    """A check with a defect."""
    raise ZeroDivisionError("oh no")


@check(code(3, Severity.WARNING))
def without_roof(weather: Weather, roof: Roof | None) -> Findings:
    """A check that can do without a roof."""
    if roof is None:
        yield code(3, Severity.WARNING).finding(what="no roof")


def snapshot(
    weather: Weather | Unknown | None = None, roof: Roof | Unknown | None = None
) -> Snapshot:
    facts: dict[type[Fact], Known] = {}
    for kind, value in ((Weather, weather), (Roof, roof)):
        if isinstance(value, Unknown):
            facts[kind] = value
        elif value is not None:
            facts[kind] = Observed(value=value, source="test")
    return Snapshot(facts)


RAIN = Weather(rain_mm=3.0)


def test_a_check_runs_on_its_facts() -> None:
    (outcome,) = run_checks([wet_floor], snapshot(weather=RAIN, roof=Roof(holes=2)), {})
    assert outcome.status == "ran"
    assert [finding.message for finding in outcome.findings] == ["found 2 holes"]
    assert outcome.topic == "test_engine"


@pytest.mark.parametrize(
    ("reason", "blind"),
    [
        (Reason.TIMED_OUT, True),
        (Reason.CRASHED, True),
        (Reason.UNDECODABLE, True),
        (Reason.NOT_OBSERVED, False),
        (Reason.SWITCHED_OFF, False),
        (Reason.NOT_APPLICABLE, False),
    ],
)
def test_an_unknown_fact_skips_the_check_and_only_failures_blind_it(
    reason: Reason, blind: bool
) -> None:
    unknown = Unknown(reason=reason, detail="why")
    (outcome,) = run_checks([wet_floor], snapshot(weather=RAIN, roof=unknown), {})
    assert (outcome.status, outcome.blind) == ("skipped", blind)
    assert "Roof" in outcome.reason
    assert "why" in outcome.reason


def test_a_check_that_raises_does_not_disturb_the_others() -> None:
    facts = snapshot(weather=RAIN, roof=Roof(holes=1))
    crashed, ran = run_checks([raises, wet_floor], facts, {})
    assert (crashed.status, crashed.blind) == ("crashed", True)
    assert [finding.code for finding in crashed.findings] == [CHECK_CRASHED.id]
    assert ran.status == "ran"


def test_an_optional_need_is_none_where_it_is_unknown() -> None:
    (outcome,) = run_checks([without_roof], snapshot(weather=RAIN), {})
    assert [finding.message for finding in outcome.findings] == ["found no roof"]


def test_unwanted_checks_are_skipped_and_do_not_blind() -> None:
    (outcome,) = run_checks([wet_floor], snapshot(), {}, lambda check: False)
    assert (outcome.status, outcome.blind) == ("skipped", False)


def test_a_parameter_without_a_class_is_refused() -> None:
    def bad(weather) -> Findings:  # type: ignore[no-untyped-def]
        return ()

    with pytest.raises(TypeError, match="weather"):
        needs_of(bad)


def test_derived_facts_build_on_each_other_and_say_why_they_are_unknown() -> None:
    @derive(Leak)
    def leak(weather: Weather, roof: Roof) -> Leak | None:
        return Leak(mm=weather.rain_mm) if roof.holes else None

    whole = derive_facts([leak], snapshot(weather=RAIN, roof=Roof(holes=1)), {})
    assert whole.value(Leak) == Leak(mm=3.0)
    tight = derive_facts([leak], snapshot(weather=RAIN, roof=Roof(holes=0)), {}).get(Leak)
    assert isinstance(tight, Unknown)
    assert tight.reason is Reason.NOT_APPLICABLE
    unseen = derive_facts([leak], snapshot(weather=RAIN), {}).get(Leak)
    assert isinstance(unseen, Unknown)
    assert unseen.reason is Reason.NOT_OBSERVED


def ids(findings: Iterable[Finding]) -> list[tuple[str, str | None]]:
    return [(finding.id, finding.because) for finding in findings]


def test_consequences_follow_their_root_cause() -> None:
    top, middle, low = code(1, explains=("ED902",)), code(2, explains=("ED903",)), code(3)
    other = code(4, Severity.WARNING)
    found = [one.finding(what="x") for one in (low, other, middle, top)]
    ranked = rank(found, (top, middle, low, other))
    assert ids(ranked) == [
        ("ED901", None),
        ("ED902", "ED901"),
        ("ED903", "ED901"),
        ("ED904", None),
    ]


def test_a_warning_never_explains_an_error_away() -> None:
    cause, error = code(1, Severity.WARNING, explains=("ED902",)), code(2)
    ranked = rank([cause.finding(what="x"), error.finding(what="y")], (cause, error))
    assert ids(ranked) == [("ED902", None), ("ED901", None)]


def test_codes_that_explain_each_other_do_not_loop() -> None:
    one, two = code(1, explains=("ED902",)), code(2, explains=("ED901",))
    ranked = rank([one.finding(what="x"), two.finding(what="y")], (one, two))
    assert len(ranked) == 2
    assert sum(finding.because is None for finding in ranked) >= 1


def test_certain_findings_come_before_possible_ones() -> None:
    maybe = code(1).finding(what="x", confidence=Confidence.POSSIBLE)
    sure = code(2).finding(what="y")
    assert [finding.code for finding in rank([maybe, sure], ())] == ["ED902", "ED901"]


@pytest.mark.parametrize(
    ("severities", "incomplete", "verdict", "code_on_error", "code_on_warning"),
    [
        ((), False, Verdict.HEALTHY, 0, 0),
        ((Severity.INFO,), False, Verdict.HEALTHY, 0, 0),
        ((Severity.WARNING,), False, Verdict.DEGRADED, 0, 1),
        ((Severity.WARNING,), True, Verdict.INCOMPLETE, 3, 1),
        ((), True, Verdict.INCOMPLETE, 3, 3),
        ((Severity.ERROR, Severity.INFO), True, Verdict.BROKEN, 1, 1),
    ],
)
def test_verdict_and_exit_code(
    severities: tuple[Severity, ...],
    incomplete: bool,
    verdict: Verdict,
    code_on_error: int,
    code_on_warning: int,
) -> None:
    findings = tuple(code(n, severity).finding(what="x") for n, severity in enumerate(severities))
    assert verdict_of(findings, incomplete=incomplete) is verdict
    assert exit_code_of(findings, incomplete=incomplete) == code_on_error
    assert (
        exit_code_of(findings, incomplete=incomplete, fail_on=Severity.WARNING) == code_on_warning
    )
