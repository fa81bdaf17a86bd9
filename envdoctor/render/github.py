"""GitHub's annotations: lines on standard output that its runner obeys ("Workflow commands")."""

from collections.abc import Iterator

from envdoctor.findings import Finding, Severity
from envdoctor.formats import Look
from envdoctor.render.places import line_of, with_help
from envdoctor.render.text import cause_of, meaning_of
from envdoctor.report import Report, ReportSet, reports_in

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(document: Report | ReportSet, look: Look) -> str:
    """An annotation for each root cause, and a line with each verdict. No line begins with a word
    from outside, which the runner could take for a command."""
    return "\n".join(line for one in reports_in(document) for line in _lines(one, look)) + "\n"


def _lines(report: Report, look: Look) -> Iterator[str]:
    first = f"envdoctor: {report.verdict.value} - {meaning_of(report)}{cause_of(report)}"
    yield " ".join(first.split())
    for finding in report.findings:
        if finding.because is None:
            place = line_of(finding, look)
            options = {
                **({"file": place.path, "line": str(place.number)} if place else {}),
                "title": f"{finding.code} {finding.name} ({finding.fault})",
            }
            given = ",".join(f"{name}={_property(value)}" for name, value in options.items())
            text = _data(_text(finding, report))
            yield f"::{_COMMANDS[finding.severity]} {given}::{text}"


def _text(finding: Finding, report: Report) -> str:
    follow = [one for one in report.findings if one.because == finding.id]
    lines = [f"and so: {one.code} {one.name}: {one.message}" for one in follow]
    return "\n".join([with_help(finding), *lines])


def _data(text: str) -> str:
    """As `@actions/core` escapes what follows the second `::`."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
