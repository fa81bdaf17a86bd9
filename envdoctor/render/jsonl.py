"""JSON Lines for log shippers: each line can be read alone."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from envdoctor.findings import Severity
from envdoctor.formats import Look
from envdoctor.report import Report, ReportSet, reports_in


def render(document: Report | ReportSet, look: Look) -> str:
    """A line with the verdict of each target, and one for each of its outcomes and findings."""
    encode = msgspec.json.Encoder().encode
    lines = (line for report in reports_in(document) for line in _lines(report))
    return "".join(f"{encode(line).decode()}\n" for line in lines)


def _lines(report: Report) -> Iterator[dict[str, Any]]:
    about = {
        "schema_version": report.schema_version,
        "created_at": report.created_at,
        "host": report.host.id if report.host else None,
        "target": report.target.path if report.target else None,
    }
    counts = Counter(one.severity for one in report.findings)
    yield {
        "type": "verdict",
        **about,
        "verdict": report.verdict,
        "fault": report.fault,
        "exit_code": report.exit_code,
        "findings": {one.value: counts[one] for one in Severity},
        "stack": report.stack,
    }
    for outcome in report.outcomes:
        yield {**msgspec.to_builtins(outcome), "type": "outcome", **about}
    for finding in report.findings:
        yield {**msgspec.to_builtins(finding), "type": "finding", **about}
