"""From a snapshot to a document: derive, check, rank, judge. The same live and recorded."""

from collections.abc import Callable, Mapping

from envdoctor.clock import now_utc
from envdoctor.derived import derivations_of
from envdoctor.engine import CORE_CODES, Outcome, derive_facts, failure_findings, rank, run_checks
from envdoctor.facts import Snapshot, Unknown
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.documents import facts_to_builtins
from envdoctor.facts.python import Target
from envdoctor.findings import (
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Severity,
    exit_code_of,
    verdict_of,
)
from envdoctor.plugins import Check, Loaded
from envdoctor.report import CalibrationReport, CheckRecord, ExaminedTarget, Report, stack_of

CALIBRATION_TOPICS = frozenset(
    {"performance", "training_rate", "slowdown", "sharing", "limits", "placement"}
)
"""The topics of the checks that a calibration is judged by."""


def diagnose(
    snapshot: Snapshot,
    loaded: Loaded,
    services: Mapping[type, object],
    *,
    fail_on: Severity = Severity.ERROR,
    wanted: Callable[[Check], bool] = lambda check: True,
    created_at: str | None = None,
) -> Report:
    """Run all checks over a snapshot and judge; `fail_on` changes only the exit code."""
    snapshot = derive_facts(derivations_of(loaded), snapshot, services)
    outcomes = run_checks(loaded.checks, snapshot, services, wanted)
    found = [finding for outcome in outcomes for finding in outcome.findings]
    found += failure_findings(loaded.failures)
    findings = rank(found, (*loaded.codes, *CORE_CODES))
    incomplete = not loaded.plugins or any(outcome.blind for outcome in outcomes)
    return Report(
        created_at=created_at or now_utc(),
        target=_target(snapshot),
        stack=stack_of(snapshot),
        verdict=verdict_of(findings, incomplete=incomplete),
        exit_code=exit_code_of(findings, incomplete=incomplete, fail_on=fail_on),
        findings=findings,
        checks=tuple(_record(outcome) for outcome in outcomes),
        calibration=snapshot.value(Calibration),
        assessment=snapshot.value(Assessment),
        facts=facts_to_builtins(snapshot),
    )


def diagnose_calibration(
    snapshot: Snapshot, loaded: Loaded, services: Mapping[type, object]
) -> CalibrationReport:
    """The document for facts that hold a Calibration, known or not."""
    report = diagnose(
        snapshot, loaded, services, wanted=lambda check: check.topic in CALIBRATION_TOPICS
    )
    fact = snapshot.get(Calibration)
    problem = f"{fact.reason.value}: {fact.detail}" if isinstance(fact, Unknown) else ""
    return CalibrationReport(
        created_at=report.created_at,
        target=report.target,
        exit_code=_exit_code_of_calibration(report.calibration),
        calibration=report.calibration,
        assessment=report.assessment,
        problem=problem,
        findings=report.findings,
    )


def _exit_code_of_calibration(calibration: Calibration | None) -> int:
    if calibration is None:
        return EXIT_INCOMPLETE
    return EXIT_INTERRUPTED if calibration.interrupted else EXIT_OK


def _target(snapshot: Snapshot) -> ExaminedTarget | None:
    target = snapshot.value(Target)
    if target is None:
        return None
    return ExaminedTarget(
        path=target.path,
        chosen_because=target.chosen_because,
        problem=target.problem,
        passed_over=target.passed_over,
    )


def _record(outcome: Outcome) -> CheckRecord:
    return CheckRecord(
        name=outcome.check,
        topic=outcome.topic,
        status=outcome.status,
        codes=outcome.codes,
        reason=outcome.reason,
        seconds=round(outcome.seconds, 6),
        blind=outcome.blind,
    )
