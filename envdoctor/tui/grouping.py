"""What the findings list holds: findings by topic, then the checks that found nothing. Pure."""

import enum

from msgspec.structs import replace

from envdoctor.findings import Finding, Severity, Topic
from envdoctor.record import Record
from envdoctor.report import CheckRecord, Report
from envdoctor.tui.contract import ReportReady


class Wanted(Record):
    """The user's filter: the least severity, and words that must all occur."""

    least: Severity = Severity.INFO
    text: str = ""

    def matches(self, *texts: str) -> bool:
        """Whether every word of the filter occurs in one of these texts, in any case."""
        haystack = "\n".join(texts).lower()
        return all(word in haystack for word in self.text.lower().split())

    def next_severity(self) -> "Wanted":
        """The filter with the next severity: all, warnings and errors, errors only, all ..."""
        order = list(Severity)
        return replace(self, least=order[(order.index(self.least) + 1) % len(order)])


class Cause(Record):
    """A root cause with its consequences below it."""

    finding: Finding
    consequences: tuple[Finding, ...] = ()


class Group(Record):
    """The root causes of one topic, the most severe first."""

    topic: Topic
    causes: tuple[Cause, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of the group, consequences after their causes."""
        return tuple(one for cause in self.causes for one in (cause.finding, *cause.consequences))


def group_findings(report: Report, wanted: Wanted) -> tuple[Group, ...]:
    """The findings that match, by topic; the topic of the worst root cause comes first.

    A cause stays if one of its consequences matches.
    """
    groups: dict[Topic, list[Cause]] = {}
    for finding in report.findings:
        if finding.because is not None:
            continue
        consequences = tuple(
            other
            for other in report.findings
            if other.because == finding.id and _wanted(other, wanted)
        )
        if consequences or _wanted(finding, wanted):
            groups.setdefault(finding.topic, []).append(
                Cause(finding=finding, consequences=consequences)
            )
    return tuple(Group(topic=topic, causes=tuple(causes)) for topic, causes in groups.items())


def _wanted(finding: Finding, wanted: Wanted) -> bool:
    if finding.severity.rank < wanted.least.rank:
        return False
    return wanted.matches(
        finding.id,
        finding.name,
        finding.family,
        finding.message,
        finding.topic,
        finding.severity.value,
        *(fix.summary for fix in finding.fixes),
    )


def passed_checks(report: Report, wanted: Wanted) -> tuple[CheckRecord, ...]:
    """The checks that ran and found nothing."""
    found = {finding.code for finding in report.findings}
    return tuple(
        check
        for check in report.checks
        if check.status == "ran" and found.isdisjoint(check.codes) and _check_wanted(check, wanted)
    )


def unrun_checks(report: Report, wanted: Wanted) -> dict[str, tuple[CheckRecord, ...]]:
    """The checks that were skipped or crashed, by the reason."""
    reasons: dict[str, list[CheckRecord]] = {}
    for check in report.checks:
        if check.status != "ran" and _check_wanted(check, wanted):
            reasons.setdefault(f"{check.status}: {check.reason}", []).append(check)
    return {reason: tuple(checks) for reason, checks in reasons.items()}


def _check_wanted(check: CheckRecord, wanted: Wanted) -> bool:
    return wanted.matches(check.name, check.topic, check.reason, check.status, *check.codes)


def check_of(report: Report, code: str) -> str | None:
    """The name of the check that yields a code."""
    return next((check.name for check in report.checks if code in check.codes), None)


class Fate(enum.Enum):
    """What became of a finding in a later report."""

    # So is a failure that has another form now.
    THERE = "there"
    GONE = "gone"
    UNSEEN = "unseen"
    ELSEWHERE = "elsewhere"


def fate_of(finding: Finding, before: ReportReady, now: ReportReady) -> Fate:
    """What became of a finding of the report before.

    It is gone only if its check ran now, and ran on the same machine and target; what was seen to
    fail has no check, and is gone if it is seen to work.
    """
    if before.source != now.source or _target(before.report) != _target(now.report):
        return Fate.ELSEWHERE
    if any(one.id == finding.id for one in now.report.findings):
        return Fate.THERE
    statuses = {one.status for one in now.report.checks if finding.code in one.codes}
    if statuses:
        return Fate.GONE if statuses == {"ran"} else Fate.UNSEEN
    states = {one.state for one in now.report.outcomes if one.broken_by(finding)}
    if "fails" in states:
        return Fate.THERE
    return Fate.GONE if states == {"works"} else Fate.UNSEEN


def _target(report: Report) -> str | None:
    return report.target.path if report.target else None
