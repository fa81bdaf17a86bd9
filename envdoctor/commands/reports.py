"""From reports to one document, and to the exit code."""

from envdoctor.output import Destination, Output
from envdoctor.report import Report, as_one


def publish(output: Output, reports: tuple[Report, ...], to: Destination) -> int:
    """Write the reports as one document; returns the exit code, that of the worst one."""
    document = as_one(reports)
    output.publish(document, to, " and ".join(report.verdict.value for report in reports))
    return document.exit_code
