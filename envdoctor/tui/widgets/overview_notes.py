"""Below the chain: the other root causes, and how fast this machine trains."""

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envdoctor.calibration.speedup import rate_in_words
from envdoctor.facts.calibration import NAMES
from envdoctor.findings import Severity
from envdoctor.report import Report
from envdoctor.tui.state import State
from envdoctor.tui.widgets.paragraphs import Paragraph, Paragraphs
from envdoctor.tui.words import severity_label

MOST_LINES = 5
BAR = 24
"""Cells of the bar of the fastest device."""
_DEVICE = 7
_BESIDE = _DEVICE + 1 + BAR + 1
"""Where the words begin."""


class OverviewNotes(Static):
    """A few lines; none where there is nothing more to say."""

    state: reactive[State] = reactive(State())

    def on_mount(self) -> None:
        self._show(self.state)

    def watch_state(self, before: State, state: State) -> None:
        if before.report is not state.report:
            self._show(state)

    def _show(self, state: State) -> None:
        report = state.report
        parts: list[Paragraph] = []
        if report is not None:
            parts += [Paragraph(text=line, hang=5) for line in also_found(report)]
            parts += [Paragraph(text=line, hang=_BESIDE) for line in rates(report)]
        self.display = bool(parts)
        self.update(Paragraphs(parts))


def also_found(report: Report) -> list[Content]:
    """The root causes after the first one, notes left out."""
    roots = [
        finding
        for finding in report.findings
        if finding.because is None and finding.severity is not Severity.INFO
    ][1:]
    lines = [
        Content.assemble("also ", severity_label(finding), f" {finding.name}: {finding.message}")
        for finding in roots[:MOST_LINES]
    ]
    if len(roots) > MOST_LINES:
        lines.append(Content(f"and {len(roots) - MOST_LINES} more on tab 2"))
    return lines


def rates(report: Report) -> list[Content]:
    """The fastest measured run of each device."""
    calibration = report.calibration
    if calibration is None:
        return []
    fastest = {run.device: run for run in sorted(calibration.runs, key=lambda run: run.rate.median)}
    highest = max((run.rate.median for run in fastest.values()), default=1.0) or 1.0
    expected = report.assessment.expected if report.assessment else ()
    slow = {(one.device, one.precision) for one in expected if one.verdict == "slower"}
    lines = []
    for device, run in sorted(fastest.items()):
        is_slow = (run.device, run.precision) in slow
        style = "$text-warning" if is_slow else "$text-success"
        filled = max(1, round(BAR * run.rate.median / highest))
        rate = f"{rate_in_words(run)} of {NAMES[run.model]} in {run.precision}"
        lines.append(
            Content.assemble(
                f"{device:<{_DEVICE}} ",
                ("━" * filled, style),
                " " * (BAR - filled),
                f" {rate}",
                (", slower than expected" if is_slow else "", style),
            )
        )
    return lines
