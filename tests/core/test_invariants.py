"""The three invariants, over recorded machines, real ones, and ones that nobody has seen.

I1 nothing is an error whose outcomes were seen to work; I2 what fails has an error as its root; I3
what is wanted and unseen is never healthy.
"""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from envdoctor.api import (
    Code,
    Expectation,
    Findings,
    Observed,
    Reason,
    Severity,
    Snapshot,
    TorchImport,
    TorchRuntime,
    Unknown,
    check,
)
from envdoctor.derived import observed_types_of
from envdoctor.facts.documents import facts_from_builtins, facts_to_builtins
from envdoctor.findings import Verdict
from envdoctor.plugins import Loaded, Plugin
from envdoctor.report import Report
from tests.captured import CAPTURED
from tests.support.cases import CASES
from tests.support.diagnosis import loaded, recorded, report_on
from tests.support.generated import BREAKS, MACHINES, machine_of, machines_of
from tests.support.invariants import violations

BATCH = 50


def check_all(seeds: range) -> None:
    wrong = {
        story: found
        for story, snapshot in machines_of(seeds)
        if (found := violations(report_on(snapshot)))
    }
    assert not wrong


@pytest.mark.parametrize("first", range(0, 500, BATCH))
def test_they_hold_on_machines_that_nobody_has_seen(first: int) -> None:
    check_all(range(first, first + BATCH))


@pytest.mark.heavy
@pytest.mark.parametrize("first", range(1_000, 21_000, 1_000))
def test_they_hold_on_twenty_thousand_more(first: int) -> None:
    check_all(range(first, first + 1_000))


@pytest.mark.parametrize("name", CASES)
def test_they_hold_on_every_case(name: str) -> None:
    assert violations(report_on(CASES[name].snapshot)) == []


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_they_hold_on_captured_machines(path: Path) -> None:
    assert violations(report_on(recorded(str(path)))) == []


def machines_in(shared: Path) -> list[Path]:
    return sorted((shared / "cases" / "machines").glob("*.json"))


def test_they_hold_on_recorded_machines(shared: Path) -> None:
    reports = {path.stem: report_on(recorded(str(path))) for path in machines_in(shared)}
    assert len(reports) > 50
    assert not {name: found for name, report in reports.items() if (found := violations(report))}


# --- the tests of the tests ---


def test_every_machine_and_every_harm_is_drawn() -> None:
    stories = " ".join(story for story, _ in machines_of(range(250)))
    for function in (*MACHINES, *BREAKS):
        assert function.__name__ in stories


def test_every_verdict_is_among_what_is_drawn() -> None:
    verdicts = {report_on(snapshot).verdict for _, snapshot in machines_of(range(200))}
    assert verdicts == set(Verdict)


def _without_errors(report: Report) -> Report:
    mild = tuple(msgspec.structs.replace(one, severity=Severity.WARNING) for one in report.findings)
    return msgspec.structs.replace(report, findings=mild, verdict=Verdict.DEGRADED, exit_code=0)


def _working(report: Report) -> Report:
    seen = tuple(msgspec.structs.replace(one, state="works") for one in report.outcomes)
    return msgspec.structs.replace(report, outcomes=seen)


def _unseen(report: Report) -> Report:
    unseen = tuple(
        msgspec.structs.replace(one, state="unseen", reason=Reason.TIMED_OUT)
        for one in report.outcomes
    )
    return msgspec.structs.replace(report, outcomes=unseen)


@pytest.mark.parametrize(
    ("case", "spoiled", "said"),
    [
        ("torch-sees-no-cuda", _working, "I1"),
        ("torch-sees-no-cuda", _without_errors, "I2"),
        ("healthy-gpu", _unseen, "I3"),
    ],
)
def test_a_report_that_breaks_an_invariant_is_found_out(
    case: str, spoiled: Callable[[Report], Report], said: str
) -> None:
    report = report_on(CASES[case].snapshot)
    assert violations(report) == []
    assert any(one.startswith(said) for one in violations(spoiled(report)))


# --- what torch did decides, whatever the checks say ---


def without_checks() -> Loaded:
    return Loaded(plugins=tuple(replace(plugin, checks=()) for plugin in loaded().plugins))


def test_an_empty_snapshot_is_incomplete() -> None:
    report = report_on(Snapshot())
    assert (report.verdict, report.exit_code) == (Verdict.INCOMPLETE, 3)
    assert report_on(Snapshot(), without_checks()).verdict is Verdict.INCOMPLETE


def test_what_torch_did_decides_on_every_drawn_machine() -> None:
    bare = without_checks()
    for story, snapshot in machines_of(range(500)):
        imported, runtime = snapshot.value(TorchImport), snapshot.value(TorchRuntime)
        expectation = snapshot.value(Expectation)
        expected = expectation is not None and expectation.device == "gpu"
        no_gpu = runtime is not None and not runtime.cuda_available
        for report in (report_on(snapshot), report_on(snapshot, bare)):
            if imported is not None and imported.outcome != "ok":
                assert report.verdict is Verdict.BROKEN, story
            if imported is None:
                assert report.verdict is not Verdict.HEALTHY, story
            if expected and no_gpu:
                assert report.verdict is Verdict.BROKEN, story


NOISE = Code(
    id="XX001",
    name="noise",
    family="noise",
    severity=Severity.ERROR,
    message="it is noisy",
    breaks="compute:gpu",
)


@check(NOISE)
def a_false_alarm() -> Findings:
    """A check that fires on every machine."""
    yield NOISE.finding()


def test_a_check_that_always_fires_breaks_no_machine_whose_gpus_compute() -> None:
    noisy = Loaded(
        plugins=(*loaded().plugins, Plugin(name="noisy", version="1", checks=(a_false_alarm,)))
    )
    report = report_on(CASES["healthy-gpu"].snapshot, noisy)
    assert report.verdict is Verdict.HEALTHY
    assert violations(report) == []


def test_outcomes_alone_judge_every_recorded_machine(shared: Path) -> None:
    """Two of them compute, and only a check can say what is at risk there."""
    folder = shared / "cases" / "machines"
    lines = (folder / "expect.jsonl").read_text().splitlines()
    wrong, needs_a_check = {}, []
    for case in map(json.loads, filter(None, lines)):
        snapshot = recorded(str(folder / f"{case['name']}.json"))
        if case["args"]:
            assert case["args"][0] == "--expect"
            expected = Expectation(device=case["args"][1], evidence="--expect")
            snapshot = snapshot.with_facts({Expectation: Observed(value=expected, source="test")})
        report = report_on(snapshot, without_checks())
        if report.verdict.value in case["verdict"]:
            assert report.exit_code in case["exit"]
        elif report.verdict is Verdict.HEALTHY and "degraded" in case["verdict"]:
            needs_a_check.append(case["name"])
        else:
            wrong[case["name"]] = report.verdict
    assert not wrong
    assert len(needs_a_check) <= 2, needs_a_check


# --- a report is what its facts say, and nothing else ---


@pytest.mark.parametrize("seed", range(0, 500, 25))
def test_a_machine_that_was_written_and_read_gets_the_same_report(seed: int) -> None:
    _, snapshot = machine_of(seed)
    written = msgspec.json.decode(msgspec.json.encode(facts_to_builtins(snapshot)))
    read = facts_from_builtins(written, observed_types_of(loaded()))
    first, second = report_on(snapshot), report_on(read)
    for field in ("verdict", "exit_code", "outcomes", "findings", "stack"):
        assert getattr(first, field) == getattr(second, field)


@pytest.mark.parametrize("reason", Reason)
def test_a_machine_of_which_nothing_could_be_observed_is_not_healthy(reason: Reason) -> None:
    why = Unknown(reason=reason, detail="no answer")
    report = report_on(Snapshot(dict.fromkeys(observed_types_of(loaded()), why)))
    assert violations(report) == []
    assert report.verdict is not Verdict.HEALTHY
