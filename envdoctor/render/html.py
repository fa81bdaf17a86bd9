"""The report as one page that needs nothing else: to be attached to a ticket, read on a phone, or
printed. The same words in the same order as the text; a plot of what was measured."""

import re
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, SubElement, tostring

from envdoctor.calibration.speedup import figure
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import NAMES, UNITS, Calibration, Spread, Unit
from envdoctor.findings import Finding, Fix, Safety
from envdoctor.formats import Look
from envdoctor.record import Record
from envdoctor.render.calibration import first_steps
from envdoctor.render.text import cause_of, meaning_of, outcome_rows, stack_rows
from envdoctor.report import Report, ReportSet, reports_in

_STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --back: #ffffff; --faint: #5c5c5c;
  --line: #d0d0d0; --box: #f3f3f3; --error: #b00020; --warning: #8a5300; --info: #00579c;
  --healthy: #1b6e2d; --bar: #3b6ea8; --expected: #8a5300; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --back: #16181b; --faint: #a8a8a8;
  --line: #44484d; --box: #24272b; --error: #ff8a94; --warning: #ffb95c; --info: #7fc0ff;
  --healthy: #7fd694; --bar: #6ea8e6; --expected: #ffb95c; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 52rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; background: var(--box); }
pre { padding: 0.6rem; white-space: pre-wrap; border-left: 3px solid var(--info); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.6rem 0.25rem 0;
  border-bottom: 1px solid var(--line); font-weight: normal; }
th { color: var(--faint); width: 25%; }
.faint { color: var(--faint); }
.broken, .error { color: var(--error); } .degraded, .warning { color: var(--warning); }
.incomplete, .unproven, .info { color: var(--info); } .healthy { color: var(--healthy); }
svg { width: 100%; max-width: 32rem; height: auto; }
svg text { fill: var(--text); font-size: 13px; }
.bar { fill: var(--bar); } .interval { stroke: var(--text); stroke-width: 2; }
.expected { stroke: var(--expected); stroke-width: 3; stroke-dasharray: 4 3; }
@media print { body { max-width: none; } h2, pre, tr, svg { break-inside: avoid; } }
"""

_WIDTH, _ROW = 400, 46
"""Of the plot in units of its own: about a pixel of a phone."""


def render(document: Report | ReportSet, look: Look) -> str:
    """The page. Pure; the look is for text alone."""
    reports = reports_in(document)
    verdicts = ", ".join(dict.fromkeys(one.verdict.value for one in reports))
    page = Element("html", lang="en")
    head = SubElement(page, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _add(head, "title", f"envdoctor: {verdicts}")
    SubElement(head, "style").text = _STYLE
    body = SubElement(page, "body")
    for report in reports:
        _report(body, report)
    return f"<!DOCTYPE html>\n{tostring(page, encoding='unicode', method='html')}\n"


def _report(body: Element, report: Report) -> None:
    title = _add(body, "h1", "envdoctor: ")
    _add(title, "span", report.verdict.value, report.verdict.value)
    _add(body, "p", f"{meaning_of(report)}{cause_of(report)}.")
    where = f"{report.target.path}, " if report.target else ""
    _add(body, "p", f"{where}{report.created_at}, envdoctor {report.tool.version}", "faint")
    _table(body, outcome_rows(report.outcomes))
    roots = [one for one in report.findings if one.because is None]
    for finding in roots:
        _finding(body, finding, [one for one in report.findings if one.because == finding.id])
    if report.calibration is not None:
        _calibration(body, report.calibration, report.assessment or Assessment())
    _add(body, "h2", "Stack")
    _table(body, stack_rows(report))
    _unseen(body, report)


def _add(parent: Element, tag: str, text: str = "", style: str = "") -> Element:
    """A child with a text, in which what stands in backticks is code."""
    child = SubElement(parent, tag, {"class": style} if style else {})
    last: Element | None = None
    for number, part in enumerate(re.split(r"`([^`\n]+)`", text)):
        if number % 2:
            last = SubElement(child, "code")
            last.text = part
        elif last is None:
            child.text = part
        else:
            last.tail = part
    return child


def _table(parent: Element, rows: Iterable[tuple[str, str]]) -> None:
    table = SubElement(parent, "table")
    for label, text in rows:
        row = SubElement(table, "tr")
        SubElement(row, "th", scope="row").text = label
        _add(row, "td", text)


def _finding(body: Element, finding: Finding, consequences: Iterable[Finding]) -> None:
    title = SubElement(body, "h2")
    _add(
        title, "span", finding.severity.value, finding.severity.value
    ).tail = f" {finding.code} {finding.name}"
    _add(body, "p", finding.message)
    if finding.evidence:
        _table(body, ((one.label, f"{one.value}  ({one.source})") for one in finding.evidence))
    for fix in finding.fixes:
        _fix(body, fix)
    for note in finding.notes:
        _add(body, "p", f"Note: {note}", "faint")
    _consequences(body, consequences)
    _add(body, "p", f"More: `envdoctor {finding.page}`", "faint")


def _fix(body: Element, fix: Fix) -> None:
    root = " (needs root)" if fix.commands and fix.safety is Safety.NEEDS_ROOT else ""
    _add(body, "p", f"Help: {fix.summary}{root}{':' if fix.commands else ''}")
    if fix.commands:
        SubElement(body, "pre").text = "\n".join(fix.commands)
    if fix.proof:
        _add(body, "p", f"Proved: {fix.proof}")


def _consequences(body: Element, consequences: Iterable[Finding]) -> None:
    lines = [f"{one.code} {one.name}: {one.message}" for one in consequences]
    if not lines:
        return
    _add(body, "p", "And so:")
    listed = SubElement(body, "ul")
    for line in lines:
        _add(listed, "li", line)


def _unseen(body: Element, report: Report) -> None:
    """What could not be looked at, and why."""
    by_reason: dict[str, list[str]] = {}
    for one in report.checks:
        if one.could_not_look:
            by_reason.setdefault(one.reason, []).append(one.name)
    if by_reason:
        _add(body, "h2", "Not looked for")
        _table(body, ((", ".join(names), reason) for reason, names in by_reason.items()))


# --- what was measured ---


class _Bar(Record):
    """A rate, and the range that it was expected in."""

    label: str
    rate: Spread
    unit: Unit
    is_bound: bool = False
    expected: Spread | None = None


def _calibration(body: Element, calibration: Calibration, assessment: Assessment) -> None:
    model = calibration.settings.model
    _add(body, "h2", f"{NAMES[model]} training, {UNITS[model]}")
    if not calibration.complete:
        _add(body, "p", f"In part: {calibration.incomplete_because}", "warning")
    bars = list(_bars(calibration, assessment))
    if bars:
        _plot(body, bars)
        if any(one.expected for one in bars):
            _add(body, "p", "Dashed: what such a device should reach.", "faint")
        if assessment.no_reference:
            _add(body, "p", f"{assessment.no_reference}.".capitalize(), "faint")
    _table(body, first_steps(calibration.runs))
    _table(body, ((f"{one.of} against {one.against}", one.sentence) for one in assessment.speedups))


def _bars(calibration: Calibration, assessment: Assessment) -> Iterator[_Bar]:
    expected = {(one.device, one.precision): one.images_per_s for one in assessment.expected}
    for run in calibration.runs:
        kind = "compiled" if run.compiled else ""
        kind += " NCHW" if run.memory_format == "contiguous" else ""
        yield _Bar(
            label=f"{run.device} {run.precision} {kind}".strip(),
            rate=run.rate,
            unit=run.unit,
            is_bound=run.at_least,
            expected=expected.get((run.device, run.precision)) if not kind else None,
        )


def _plot(body: Element, bars: list[_Bar]) -> None:
    """Horizontal bars, each below its words: the median, its interval as a line, and the expected
    range dashed below."""
    height = _ROW * len(bars)
    most = max(max(one.rate.high, one.expected.high if one.expected else 0) for one in bars)
    svg = SubElement(
        body,
        "svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        xmlns="http://www.w3.org/2000/svg",
    )
    SubElement(svg, "title").text = "; ".join(map(_in_words, bars))
    scale = _WIDTH / most if most > 0 else 0.0
    for number, bar in enumerate(bars):
        _bar(svg, bar, top=number * _ROW, scale=scale)


def _bar(svg: Element, bar: _Bar, *, top: float, scale: float) -> None:
    words = {"y": f"{top + 14:g}"}
    SubElement(svg, "text", {"x": "0", **words}).text = bar.label
    figures = SubElement(svg, "text", {"x": str(_WIDTH), "text-anchor": "end", **words})
    figures.text = _figure(bar)
    box = {"x": "0", "y": f"{top + 20:g}", "height": "12"}
    SubElement(svg, "rect", {"class": "bar", "width": f"{bar.rate.median * scale:.1f}", **box})
    _line(svg, "interval", bar.rate, y=top + 26, scale=scale)
    if bar.expected is not None:
        _line(svg, "expected", bar.expected, y=top + 37, scale=scale)


def _line(svg: Element, style: str, range_: Spread, *, y: float, scale: float) -> None:
    ends = {"x1": f"{range_.low * scale:.1f}", "x2": f"{range_.high * scale:.1f}"}
    SubElement(svg, "line", {"class": style, **ends, "y1": f"{y:g}", "y2": f"{y:g}"})


def _figure(bar: _Bar) -> str:
    if bar.is_bound:
        return f"at least {figure(bar.rate.median)}"
    return f"{figure(bar.rate.median)} ({figure(bar.rate.low)} - {figure(bar.rate.high)})"


def _in_words(bar: _Bar) -> str:
    return f"{bar.label}: {_figure(bar)} {bar.unit}"
