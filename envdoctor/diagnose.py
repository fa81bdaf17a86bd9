"""From a snapshot to a report: derive, check, rank, judge. The same for live and recorded facts."""

from collections.abc import Callable, Mapping

from envdoctor.clock import now_utc
from envdoctor.conclusion import conclude, verdict_of
from envdoctor.derived import CORE_DERIVATIONS
from envdoctor.engine import CheckRun, derive_facts, failure_findings, run_checks
from envdoctor.facts import Snapshot
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.documents import facts_to_builtins
from envdoctor.facts.python import Target
from envdoctor.findings import Severity, exit_code_of
from envdoctor.outcomes import outcomes_of
from envdoctor.plugins import Check, Loaded
from envdoctor.report import CheckRecord, ExaminedTarget, Report, stack_of
from envdoctor.symptoms import CORE_CODES, symptoms_of


def diagnose(
    snapshot: Snapshot,
    loaded: Loaded,
    services: Mapping[type, object],
    *,
    fail_on: Severity = Severity.ERROR,
    wanted: Callable[[Check], bool] = lambda check: True,
    created_at: str | None = None,
) -> Report:
    """Run all checks over a snapshot and judge by the outcomes; `fail_on` changes only the exit
    code."""
    snapshot = derive_facts((*CORE_DERIVATIONS, *loaded.derivations), snapshot, services)
    runs = run_checks(loaded.checks, snapshot, services, wanted)
    outcomes = outcomes_of(snapshot)
    found = [finding for run in runs for finding in run.findings]
    found += [*symptoms_of(outcomes, snapshot), *failure_findings(loaded.failures)]
    findings, outcomes = conclude(found, outcomes, (*loaded.codes, *CORE_CODES))
    narrowed = not all(wanted(check) for check in loaded.checks)
    verdict = verdict_of(findings, outcomes, narrowed=narrowed)
    return Report(
        created_at=created_at or now_utc(),
        target=_target(snapshot),
        stack=stack_of(snapshot),
        verdict=verdict,
        exit_code=exit_code_of(findings, verdict, fail_on=fail_on),
        outcomes=outcomes,
        findings=findings,
        checks=tuple(_record(run) for run in runs),
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
