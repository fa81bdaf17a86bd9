"""From a snapshot to a document: derive, check, rank, judge. The same live and recorded."""

import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING

from envdoctor.clock import now_utc
from envdoctor.conclusion import conclude, fault_of, verdict_of
from envdoctor.derived import derivations_of
from envdoctor.engine import (
    CheckRun,
    derive_facts,
    fact_failures,
    failure_findings,
    run_checks,
)
from envdoctor.exit_codes import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK
from envdoctor.facts import Snapshot, Unknown
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.collective import Collective
from envdoctor.facts.documents import facts_to_builtins
from envdoctor.facts.python import Target
from envdoctor.findings import Finding, exit_code_of
from envdoctor.options import Scope
from envdoctor.outcomes import Outcome, outcomes_of
from envdoctor.plugins import Check, Loaded
from envdoctor.record import Record
from envdoctor.report import (
    AS_USUAL,
    CalibrationReport,
    CheckRecord,
    CollectiveReport,
    ExaminedTarget,
    Report,
    Selection,
    host_of,
    stack_of,
)
from envdoctor.symptoms import symptoms_of
from envdoctor.symptoms.codes import CORE_CODES
from envdoctor.watchdog import NEVER

if TYPE_CHECKING:
    from envdoctor.policy.judge import Holding
    from envdoctor.policy.records import PolicyFile


def diagnose(
    snapshot: Snapshot,
    loaded: Loaded,
    services: Mapping[type, object],
    *,
    selection: Selection = AS_USUAL,
    wanted: Callable[[Check], bool] = lambda check: True,
    created_at: str | None = None,
    until: float = NEVER,
    policy: "PolicyFile | None" = None,
) -> Report:
    """Run the wanted checks over a snapshot and judge by the outcomes; `selection` says in the
    report what the user asked for, and its `fail_on` changes only the exit code. `policy` is what
    the machine is held to.

    What has not run by the moment `until` of the monotonic clock is skipped, and the verdict
    incomplete; so it is where a measurement was cut by the time.
    """
    created_at = created_at or now_utc()
    judged = judge(
        snapshot,
        loaded,
        services,
        scope=selection.scope,
        wanted=wanted,
        until=until,
        policy=policy,
        day=created_at[:10],
    )
    snapshot, runs, outcomes, findings = (
        judged.snapshot,
        judged.runs,
        judged.outcomes,
        judged.findings,
    )
    narrowed = not all(wanted(check) for check in loaded.checks)
    in_time = time.monotonic() < until and measured_whole(snapshot)
    verdict = verdict_of(findings, outcomes, narrowed=narrowed, in_time=in_time)
    return Report(
        created_at=created_at,
        host=host_of(snapshot),
        selection=selection,
        target=_target(snapshot),
        stack=stack_of(snapshot),
        verdict=verdict,
        fault=fault_of(findings),
        exit_code=exit_code_of(findings, verdict, fail_on=selection.fail_on),
        outcomes=outcomes,
        findings=findings,
        checks=tuple(_record(run) for run in runs),
        calibration=snapshot.value(Calibration),
        assessment=snapshot.value(Assessment),
        facts=facts_to_builtins(snapshot),
    )


class Judged(Record):
    """A snapshot with what follows from it, what the checks said, and what that means."""

    snapshot: Snapshot
    runs: tuple[CheckRun, ...]
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]


def judge(
    snapshot: Snapshot,
    loaded: Loaded,
    services: Mapping[type, object],
    *,
    scope: Scope | None = None,
    wanted: Callable[[Check], bool] = lambda check: True,
    until: float = NEVER,
    policy: "PolicyFile | None" = None,
    day: str = "",
) -> Judged:
    """Derive, check and rank, without a document; `policy` is what the machine is held to on that
    `day`."""
    snapshot = derive_facts(
        derivations_of(loaded),
        snapshot,
        services,
        foreign=loaded.foreign_derivations,
        until=until,
    )
    runs = run_checks(
        loaded.checks, snapshot, services, wanted, owner_of=loaded.owner_of, until=until
    )
    outcomes = outcomes_of(snapshot, scope)
    if policy is not None:
        from envdoctor.policy.wanted import wanted_by

        outcomes = wanted_by(policy, outcomes)
    found = [finding for run in runs for finding in run.findings]
    found += [*symptoms_of(outcomes, snapshot), *failure_findings(loaded.failures)]
    found += fact_failures(loaded, snapshot)
    codes = (*loaded.codes, *CORE_CODES)
    if policy is None:
        findings, outcomes = conclude(found, outcomes, codes)
    else:
        held = _held_to(policy, snapshot, date.fromisoformat(day))
        found += held.findings
        findings, outcomes = conclude(found, (*outcomes, held.outcome), codes, held.overrule)
    return Judged(snapshot=snapshot, runs=tuple(runs), outcomes=outcomes, findings=findings)


def _held_to(policy: "PolicyFile", snapshot: Snapshot, day: date) -> "Holding":
    """What becomes of the policy on that day."""
    # Only those who have a policy wait for what reads ranges of versions.
    from envdoctor.policy.judge import holding

    return holding(policy, snapshot, stack_of(snapshot).versions, day)


def measured_whole(snapshot: Snapshot) -> bool:
    """False where a measurement was begun and did not come to its end: its time ran out, or its
    process died. What it would have shown is not known."""
    fact = snapshot.get(Calibration)
    if isinstance(fact, Unknown):
        return not fact.reason.is_failure
    return fact.value.is_whole


def diagnose_calibration(
    snapshot: Snapshot, loaded: Loaded, services: Mapping[type, object]
) -> CalibrationReport:
    """The document for facts that hold a Calibration, known or not."""
    report = diagnose(snapshot, loaded, services, wanted=lambda check: check.topic == "speed")
    fact = snapshot.get(Calibration)
    problem = f"{fact.reason.value}: {fact.detail}" if isinstance(fact, Unknown) else ""
    return CalibrationReport(
        created_at=report.created_at,
        target=report.target,
        exit_code=_exit_code_of_calibration(report.calibration),
        calibration=report.calibration,
        assessment=report.assessment,
        problem=problem,
        findings=tuple(one for one in report.findings if one.topic == "speed"),
    )


def _exit_code_of_calibration(calibration: Calibration | None) -> int:
    if calibration is None or not calibration.is_whole:
        return EXIT_INCOMPLETE
    return EXIT_INTERRUPTED if calibration.interrupted else EXIT_OK


def diagnose_collective(
    snapshot: Snapshot, loaded: Loaded, services: Mapping[type, object]
) -> CollectiveReport:
    """The document for facts that hold a Collective, known or not."""
    report = diagnose(snapshot, loaded, services, wanted=lambda check: check.topic == "network")
    outcome = next(one for one in report.outcomes if one.action == "distributed")
    findings = tuple(one for one in report.findings if one.topic == "network")
    verdict = verdict_of(findings, (outcome,), narrowed=False)
    return CollectiveReport(
        created_at=report.created_at,
        target=report.target,
        verdict=verdict,
        exit_code=exit_code_of(findings, verdict),
        outcome=outcome,
        collective=snapshot.value(Collective),
        problem=outcome.detail if outcome.state == "unseen" else "",
        findings=findings,
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


def _record(run: CheckRun) -> CheckRecord:
    return CheckRecord(
        name=run.check,
        topic=run.topic,
        status=run.status,
        codes=run.codes,
        reason=run.reason,
        unknown=run.unknown,
        seconds=round(run.seconds, 6),
    )
