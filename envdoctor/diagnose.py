"""From a snapshot to a report: derive, check, rank, judge. The same for live and recorded facts."""

from collections.abc import Callable, Mapping

from envdoctor.clock import now_utc
from envdoctor.engine import CORE_CODES, Outcome, derive_facts, failure_findings, rank, run_checks
from envdoctor.facts import Snapshot
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.documents import facts_to_builtins
from envdoctor.facts.python import Target
from envdoctor.findings import exit_code_of, verdict_of
from envdoctor.plugins import Check, Loaded
from envdoctor.report import (
    AS_USUAL,
    CheckRecord,
    ExaminedTarget,
    Report,
    Selection,
    host_of,
    stack_of,
)


def diagnose(
    snapshot: Snapshot,
    loaded: Loaded,
    services: Mapping[type, object],
    *,
    selection: Selection = AS_USUAL,
    wanted: Callable[[Check], bool] = lambda check: True,
    created_at: str | None = None,
) -> Report:
    """Run the wanted checks over a snapshot and judge; `selection` says in the report what the
    user asked for, and its `fail_on` changes only the exit code."""
    snapshot = derive_facts(loaded.derivations, snapshot, services)
    outcomes = run_checks(loaded.checks, snapshot, services, wanted)
    found = [finding for outcome in outcomes for finding in outcome.findings]
    found += failure_findings(loaded.failures)
    findings = rank(found, (*loaded.codes, *CORE_CODES))
    incomplete = not loaded.plugins or any(outcome.blind for outcome in outcomes)
    return Report(
        created_at=created_at or now_utc(),
        host=host_of(snapshot),
        selection=selection,
        target=_target(snapshot),
        stack=stack_of(snapshot),
        verdict=verdict_of(findings, incomplete=incomplete),
        exit_code=exit_code_of(findings, incomplete=incomplete, fail_on=selection.fail_on),
        findings=findings,
        checks=tuple(_record(outcome) for outcome in outcomes),
        calibration=snapshot.value(Calibration),
        facts=facts_to_builtins(snapshot),
    )


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
