"""GitLab's code quality report: a list of issues ("Code Quality", "Implement a custom tool")."""

import msgspec

from envdoctor.findings import Severity
from envdoctor.formats import Look
from envdoctor.render.places import place_of, with_fingerprints
from envdoctor.report import Report, ReportSet, reports_in

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.INFO: "info"}


def render(document: Report | ReportSet, look: Look) -> str:
    """The list, with a final line break."""
    issues = []
    reports = reports_in(document)
    for report in reports:
        several = len(reports) > 1
        for finding, fingerprint in with_fingerprints(report, of_several=several):
            place = place_of(finding, look)
            issues.append(
                {
                    "description": f"{finding.code} {finding.name}: {finding.message} "
                    f"({finding.fault}; envdoctor {finding.page})",
                    "check_name": finding.name,
                    "fingerprint": fingerprint,
                    "severity": _SEVERITIES[finding.severity],
                    "location": {"path": place.path, "lines": {"begin": place.number}},
                }
            )
    return msgspec.json.format(msgspec.json.encode(issues), indent=2).decode() + "\n"
