"""What must hold of every report, in terms of the report alone."""

from collections.abc import Iterator

from envdoctor.api import Confidence, Finding, Layer, Reason, Severity
from envdoctor.findings import Verdict
from envdoctor.outcomes import Outcome
from envdoctor.report import Report

WANTED = ("yes", "unknown")
OF_ANY_MACHINE = (Layer.INTERPRETER, Layer.FILES, Layer.LIBRARIES, Layer.BUILD, Layer.IMPORT)


def violations(report: Report) -> list[str]:
    """What is wrong with a report, in words; empty for a right one."""
    return [
        *_working_is_not_broken(report),
        *_failing_has_a_cause(report),
        *_unseen_is_not_healthy(report),
        *_verdict_follows(report),
        *_causes_are_causes(report),
        *_doctor_is_well(report),
    ]


def _working_is_not_broken(report: Report) -> Iterator[str]:
    """I1: no error where every wanted outcome of its subject was seen to work."""
    for finding in _errors(report):
        broken = [one for one in report.outcomes if _breaks(finding, one)]
        fails = any(one.wanted in WANTED and one.state != "works" for one in broken)
        sure = finding.confidence is Confidence.CERTAIN and finding.layer in OF_ANY_MACHINE
        if not fails and not (sure and any(one.wanted == "elsewhere" for one in broken)):
            yield f"I1: {finding.id} is an error, and nothing that it breaks fails"


def _failing_has_a_cause(report: Report) -> Iterator[str]:
    """I2: a wanted outcome that fails has an error as its root cause, and a next look."""
    by_id = {one.id: one for one in report.findings}
    for outcome in report.outcomes:
        if outcome.state != "fails":
            continue
        breaking = [one for one in report.findings if _breaks(one, outcome)]
        roots = [by_id[one.because] if one.because else one for one in breaking]
        least = Severity.ERROR if outcome.wanted == "yes" else Severity.WARNING
        if not any(root.severity.rank >= least.rank for root in roots):
            yield f"I2: {outcome.id} fails and has no root cause"
        if not any(root.fixes for root in roots):
            yield f"I2: {outcome.id} fails and nothing says what to do"


def _unseen_is_not_healthy(report: Report) -> Iterator[str]:
    """I3: what is wanted and unseen is unproven if the user left it out, else incomplete."""
    unseen = [one for one in report.outcomes if one.state == "unseen" and one.wanted in WANTED]
    if not unseen:
        return
    allowed = {Verdict.BROKEN, Verdict.INCOMPLETE}
    if all(one.reason is Reason.SWITCHED_OFF for one in unseen):
        allowed = {Verdict.BROKEN, Verdict.DEGRADED, Verdict.UNPROVEN}
    if report.verdict not in allowed:
        names = ", ".join(f"{one.id} ({one.reason})" for one in unseen)
        yield f"I3: {report.verdict.value}, and nobody saw {names}"


def _verdict_follows(report: Report) -> Iterator[str]:
    errors = list(_errors(report))
    if bool(errors) != (report.verdict is Verdict.BROKEN):
        yield f"{report.verdict.value} with {len(errors)} errors"
    if errors and report.findings[0].severity is not Severity.ERROR:
        yield f"the first finding of a broken machine is {report.findings[0].id}"
    expected = {Verdict.BROKEN: 1, Verdict.INCOMPLETE: 3}.get(report.verdict, 0)
    if report.exit_code != expected:
        yield f"{report.verdict.value} with exit code {report.exit_code}"
    if report.verdict is Verdict.HEALTHY:
        yield from (
            f"healthy, and {one.id} {one.state}"
            for one in report.outcomes
            if one.state != "works" and one.wanted != "elsewhere"
        )
        yield from (
            f"healthy with {one.id}"
            for one in report.findings
            if one.severity.rank >= Severity.WARNING.rank
        )


def _causes_are_causes(report: Report) -> Iterator[str]:
    ids = [one.id for one in report.findings]
    yield from (f"two findings are {one}" for one in set(ids) if ids.count(one) > 1)
    roots = {one.id: one for one in report.findings if one.because is None}
    for finding in report.findings:
        if finding.because is None:
            continue
        root = roots.get(finding.because)
        if root is None:
            yield f"{finding.id} is because of {finding.because}, which is no root cause"
        elif root.severity.rank < finding.severity.rank:
            yield f"{finding.id} is explained away by the milder {root.id}"


def _doctor_is_well(report: Report) -> Iterator[str]:
    for check in report.checks:
        if check.status == "crashed":
            yield f"check {check.name} crashed: {check.reason}"


def _errors(report: Report) -> Iterator[Finding]:
    return (one for one in report.findings if one.severity is Severity.ERROR)


def _breaks(finding: Finding, outcome: Outcome) -> bool:
    return any(outcome.id == one or outcome.id.startswith(f"{one}:") for one in finding.breaks)
