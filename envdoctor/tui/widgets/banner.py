"""The verdict in words, with the one root cause and its fix."""

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envdoctor.findings import Finding, Severity, Verdict
from envdoctor.render.text import VERDICTS
from envdoctor.report import Report
from envdoctor.tui.state import State
from envdoctor.tui.words import VERDICT_SYMBOL, plural, severity_label, sureness

_CLASSES = tuple(f"-{verdict.value}" for verdict in Verdict)


class Banner(Static):
    """A box: the verdict as its title, the root cause and its fix inside."""

    state: reactive[State] = reactive(State())

    def on_mount(self) -> None:
        self._show(self.state)

    def watch_state(self, before: State, state: State) -> None:
        shown = before.report is state.report and before.final == state.final
        if not shown or before.examining != state.examining:
            self._show(state)

    def _show(self, state: State) -> None:
        self.remove_class(*_CLASSES)
        verdict = verdict_shown(state)
        if verdict is not None:
            self.add_class(f"-{verdict.value}")
        self.border_title = title(state)
        self.border_subtitle = counts(state.report) if state.report else ""
        self.update(body(state))


def verdict_shown(state: State) -> Verdict | None:
    """The verdict; None while it may still change for the better or the worse."""
    if state.report is None:
        return None
    if state.final or state.report.verdict is Verdict.BROKEN:
        return state.report.verdict
    return None


def title(state: State) -> str:
    """`✗ BROKEN: torch cannot do what it was installed for`."""
    verdict = verdict_shown(state)
    if verdict is None and state.examining is None:
        return "? NO VERDICT: the examination did not come to its end"
    if verdict is None:
        return "… LOOKING: no error found so far" if state.report else "… LOOKING"
    so_far = "" if state.final else " (still looking)"
    return f"{VERDICT_SYMBOL[verdict]} {verdict.value.upper()}: {VERDICTS[verdict]}{so_far}"


def body(state: State) -> Content:
    """The root cause with its fix; where there is none, what was looked at."""
    report = state.report
    if report is None:
        return Content(state.examining or "`r` looks again")
    if report.findings and report.findings[0].severity is not Severity.INFO:
        return _cause(report.findings[0])
    if state.final and report.verdict is Verdict.INCOMPLETE:
        return _unseen(report)
    ran = sum(check.status == "ran" for check in report.checks)
    return Content(f"{plural(ran, 'check')} looked and found nothing to repair")


def counts(report: Report) -> str:
    """`1 error, 2 consequences, 1 warning`."""
    roots = [finding for finding in report.findings if finding.because is None]
    consequences = len(report.findings) - len(roots)
    parts = []
    for severity, word in ((Severity.ERROR, "error"), (Severity.WARNING, "warning")):
        number = sum(finding.severity is severity for finding in roots)
        parts += [plural(number, word)] if number else []
        if severity is Severity.ERROR and consequences:
            parts.append(plural(consequences, "consequence"))
    notes = sum(finding.severity is Severity.INFO for finding in roots)
    parts += [plural(notes, "note")] if notes else []
    return ", ".join(parts)


def _cause(finding: Finding) -> Content:
    lines = [
        Content.assemble(
            severity_label(finding),
            (f" {finding.name}{sureness(finding)}", "bold"),
            f": {finding.message}",
        )
    ]
    for fix in finding.fixes[:1]:
        lines.append(Content.assemble(("fix: ", "bold"), fix.summary))
        lines += [Content.styled(f"  $ {command}", "bold") for command in fix.commands[:2]]
    return Content("\n").join(lines)


def _unseen(report: Report) -> Content:
    reasons = dict.fromkeys(check.reason for check in report.checks if check.status != "ran")
    return Content("\n").join(Content(f"could not look: {reason}") for reason in list(reasons)[:3])
