"""The verdict in words, with the one root cause and its fix."""

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envdoctor.findings import Finding, Severity, Verdict
from envdoctor.render.text import cause_of, meaning_of
from envdoctor.report import Report
from envdoctor.tui.state import State
from envdoctor.tui.unseen import not_looked_for, not_tried
from envdoctor.tui.widgets.finding_text import evidence_lines, fix_lines, fix_title, numbered
from envdoctor.tui.widgets.paragraphs import Paragraph, Paragraphs
from envdoctor.tui.words import VERDICT_SYMBOL, plural, severity_label, sureness

MESSAGE_LINES = 3
"""How much of a message is shown above its fix; the detail has all of it."""

TALL, HIGH = 36, 50
"""From so many lines of the screen on there is room for every command, and for the evidence."""

_CLASSES = tuple(f"-{verdict.value}" for verdict in Verdict)


class Banner(Static):
    """A box: the verdict as its title, the root cause and its fix inside."""

    state: reactive[State] = reactive(State())
    height: reactive[int] = reactive(24)
    """The lines of the screen."""

    def on_mount(self) -> None:
        self._show(self.state)

    def watch_state(self, before: State, state: State) -> None:
        shown = before.report is state.report and before.final == state.final
        if not shown or before.examining != state.examining:
            self._show(state)

    def watch_height(self, before: int, height: int) -> None:
        if self.is_mounted and _room(before) != _room(height):
            self._show(self.state)

    def _show(self, state: State) -> None:
        self.remove_class(*_CLASSES)
        verdict = verdict_shown(state)
        if verdict is not None:
            self.add_class(f"-{verdict.value}")
        self.border_title = title(state)
        self.border_subtitle = counts(state.report) if state.report else ""
        self.update(Paragraphs(body(state, self.height)))


def verdict_shown(state: State) -> Verdict | None:
    """The verdict; None while it may still change for the better or the worse."""
    if state.report is None:
        return None
    if state.final or state.report.verdict is Verdict.BROKEN:
        return state.report.verdict
    return None


def title(state: State) -> str:
    """`✗ BROKEN: PyTorch does not work here`."""
    report, verdict = state.report, verdict_shown(state)
    if verdict is None and state.examining is None:
        return "? NO VERDICT: the examination did not come to its end"
    if report is None or verdict is None:
        return "… LOOKING: no error found so far" if report else "… LOOKING"
    so_far = "" if state.final else " (still looking)"
    return f"{VERDICT_SYMBOL[verdict]} {verdict.value.upper()}: {_meaning(report)}{so_far}"


def _meaning(report: Report) -> str:
    """What the verdict means, and whether the machine or the environment is to be repaired."""
    return f"{meaning_of(report)}{cause_of(report)}"


def _room(height: int) -> int:
    return (height >= TALL) + (height >= HIGH)


def body(state: State, height: int = 24) -> list[Paragraph]:
    """The root cause with its fixes, and as much about it as fits a screen of that height; where
    none is sure, what could not be looked at."""
    report = state.report
    if report is None:
        return [Paragraph(text=Content(state.examining or "`r` looks again"))]
    is_open = report.verdict in (Verdict.INCOMPLETE, Verdict.UNPROVEN)
    parts = _unseen(report) if state.final and is_open else []
    if report.findings and report.findings[0].severity is not Severity.INFO:
        parts += _cause(report.findings[0], _room(height))
        parts += _consequences(report) if height >= HIGH else []
    if parts:
        return parts
    ran = sum(check.status == "ran" for check in report.checks)
    so_far = "" if state.final else " so far"
    lines = [f"{plural(ran, 'check')} looked and found nothing to repair{so_far}"]
    if state.final and report.calibration is None and not state.source:
        lines.append("`m` measures whether it is also as fast as it should be")
    return [Paragraph(text=Content(line)) for line in lines]


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


def _cause(finding: Finding, room: int) -> list[Paragraph]:
    """Where space is short the message is cut and the other fixes are named, never the first."""
    line = Content.assemble(
        severity_label(finding),
        (f" {finding.name}{sureness(finding)}", "bold"),
        f": {finding.message}",
    )
    parts = [Paragraph(text=line, most=MESSAGE_LINES)]
    for label, fix in numbered(finding.fixes):
        if label in ("", "1") or room:
            parts += fix_lines(fix, label)
        else:
            parts.append(Paragraph(text=fix_title(fix, label), hang=7, most=1))
    return [*parts, *(evidence_lines(finding.evidence) if room else ())]


def cause_lines(report: Report) -> list[Paragraph]:
    """The root cause with all its fixes, or what could not be looked at."""
    is_open = report.verdict in (Verdict.INCOMPLETE, Verdict.UNPROVEN)
    parts = _unseen(report) if is_open else []
    if report.findings and report.findings[0].severity is not Severity.INFO:
        parts += _cause(report.findings[0], room=1)
    return parts


def _consequences(report: Report) -> list[Paragraph]:
    """What follows from the root cause."""
    root = report.findings[0].id
    parts = []
    for one in (one for one in report.findings if one.because == root):
        line = Content.assemble(severity_label(one), f" {one.name}: {one.message}")
        parts.append(Paragraph(text=line, first="  ", hang=4))
    title = Paragraph(text=Content.styled("causes", "bold"))
    return [Paragraph(text=Content("")), title, *parts] if parts else []


def _unseen(report: Report) -> list[Paragraph]:
    """What was not tried, why a look failed, and which errors may hide behind it."""
    parts = []
    for reason, what in not_tried(report).items():
        line = Content.assemble(("? not tried: ", "bold $text-warning"), f"{what}: {reason}")
        parts.append(Paragraph(text=line, hang=2, most=2))
    for reason, names in not_looked_for(report).items():
        line = Content.assemble(("? could not look: ", "bold $text-warning"), reason)
        parts.append(Paragraph(text=line, hang=2, most=2))
        missed = Content(f"not looked for: {', '.join(names)}")
        parts.append(Paragraph(text=missed, first="  ", hang=4, most=2))
    return parts
