"""From the options of a command to those of a session, and to the exit code."""

from typing import Any

from envdoctor.options import Options
from envdoctor.output import Destination, Output
from envdoctor.report import Report, as_one


def options_for(python: str | None, given: dict[str, Any], *, calibrate: bool = False) -> Options:
    """The options of one examination, from those of the command line that the command has."""
    return Options(
        python=python,
        static=given["static"],
        deep=given["deep"],
        expect=given["expect"],
        timeout_s=given["timeout_s"],
        only=given.get("only", ()),
        skip=given.get("skip", ()),
        fail_on=given.get("fail_on", "error"),
        calibrate=calibrate,
        budget_s=given.get("budget_s"),
    )


def publish(output: Output, reports: tuple[Report, ...], to: Destination) -> int:
    """Write the reports as one document; returns the exit code, that of the worst one."""
    document = as_one(reports)
    output.publish(document, to, " and ".join(report.verdict.value for report in reports))
    return document.exit_code
