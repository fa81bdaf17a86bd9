"""What was not seen: outcomes that were not tried, and checks that could not look. Pure."""

from envdoctor.outcomes import Outcome, in_words
from envdoctor.report import CheckRecord, Report
from envdoctor.tui.grouping import Wanted, unrun_checks

ByReason = dict[str, tuple[CheckRecord, ...]]


def not_tried(report: Report) -> dict[str, str]:
    """The outcomes that are wanted and that nobody saw, in words, by the reason."""
    by_reason: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        if outcome.state == "unseen" and outcome.wanted in ("yes", "unknown"):
            reason = outcome.reason.value if outcome.reason else ""
            by_reason.setdefault(outcome.detail or reason, []).append(outcome)
    return {reason: in_words(*outcomes) for reason, outcomes in by_reason.items()}


def could_not_look(report: Report, wanted: Wanted | None = None) -> ByReason:
    """The checks whose look failed, by the reason: what is wrong there is unknown."""
    failed = _failed(report)
    unrun = unrun_checks(report, wanted or Wanted())
    return {reason: checks for reason, checks in unrun.items() if reason in failed}


def did_not_apply(report: Report, wanted: Wanted | None = None) -> ByReason:
    """The checks that had nothing to look at here, or were not wanted, by the reason."""
    failed = _failed(report)
    unrun = unrun_checks(report, wanted or Wanted())
    return {reason: checks for reason, checks in unrun.items() if reason not in failed}


def number_of(by_reason: ByReason) -> int:
    """How many checks there are."""
    return sum(map(len, by_reason.values()))


def not_looked_for(report: Report) -> dict[str, tuple[str, ...]]:
    """For each reason of a look that failed, the errors that may hide behind it, by name."""
    return {
        checks[0].why: tuple(check.name for check in checks if check.could_not_look)
        for checks in could_not_look(report).values()
    }


def _failed(report: Report) -> set[str]:
    """A reason that leaves one check blind has kept every check of that reason from looking."""
    unrun = unrun_checks(report, Wanted())
    return {reason for reason, checks in unrun.items() if any(one.could_not_look for one in checks)}
