"""From the options of a command to reports on standard output, and to the exit code."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from envdoctor.diagnose import diagnose
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.machine import Expectation
from envdoctor.findings import Severity
from envdoctor.redact import for_terminals, redact_values
from envdoctor.render.json import render_json
from envdoctor.render.text import render_text
from envdoctor.report import Report, ReportSet
from envdoctor.session import Session, emit, use_colour, user_redactor

_WORST_FIRST = (1, 3, 0)


def with_expectation(snapshot: Snapshot, expect: Literal["gpu", "cpu"] | None) -> Snapshot:
    """The snapshot with what the user expects now, instead of when it was recorded."""
    if expect is None:
        return snapshot
    wish = Expectation(device=expect, evidence="--expect")
    return snapshot.with_facts({Expectation: Observed(value=wish, source="the user")})


def report_on(snapshot: Snapshot, session: Session, options: dict[str, Any]) -> Report:
    """The diagnosis of one snapshot, with the checks that the user wants."""
    return diagnose(
        snapshot,
        session.loaded,
        session.services,
        fail_on=Severity(options["fail_on"]),
        wanted=session.selection(options["only"], options["skip"]),
    )


def publish(reports: tuple[Report, ...], options: dict[str, Any]) -> int:
    """Print or write the reports; returns the exit code, that of the worst one."""
    as_json = options["as_json"] or (options["output"] or "").endswith(".json")
    colour = use_colour() and not options["plain"] and options["output"] is None
    text = _render(reports, as_json=as_json, colour=colour)
    emit(text, options["output"], " and ".join(report.verdict.value for report in reports))
    return worst(reports)


def safe_report(report: Report, safe: Callable[[str], str]) -> Report:
    """The report with every text in it made safe to be shown."""
    return msgspec.convert(redact_values(msgspec.to_builtins(report), safe), Report)


def _render(reports: tuple[Report, ...], *, as_json: bool, colour: bool) -> str:
    redact = user_redactor()
    if not as_json:
        safe = for_terminals(redact)
        return "\n".join(
            render_text(safe_report(report, safe), colour=colour) for report in reports
        )
    if len(reports) == 1:
        return render_json(reports[0], redact)
    return render_json(ReportSet(exit_code=worst(reports), reports=reports), redact)


def worst(reports: tuple[Report, ...]) -> int:
    """The exit code of several reports: a finding counts more than an incomplete look."""
    codes = {report.exit_code for report in reports}
    return next(code for code in _WORST_FIRST if code in codes)
