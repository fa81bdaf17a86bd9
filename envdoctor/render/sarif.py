"""SARIF 2.1.0 (OASIS), as GitHub's code scanning takes it: one run, and a place for each result."""

from collections.abc import Iterator
from typing import Any

import msgspec

from envdoctor import __version__
from envdoctor.findings import Finding, Severity
from envdoctor.formats import Look
from envdoctor.render.places import place_of, with_fingerprints, with_help
from envdoctor.report import Report, ReportSet, reports_in

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render(document: Report | ReportSet, look: Look) -> str:
    """The log, with a final line break."""
    reports = reports_in(document)
    findings = {one.code: one for report in reports for one in report.findings}
    run = {
        "tool": {
            "driver": {
                "name": "envdoctor",
                "semanticVersion": __version__,
                "rules": [_rule(one) for one in findings.values()],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "exitCode": document.exit_code}],
        "results": [
            result for report in reports for result in _results(report, look, len(reports) > 1)
        ],
        "properties": {
            "verdicts": [one.verdict.value for one in reports],
            "faults": [one.fault for one in reports],
        },
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return msgspec.json.format(msgspec.json.encode(log), indent=2).decode() + "\n"


def _rule(finding: Finding) -> dict[str, Any]:
    """What all findings of a code have in common."""
    return {
        "id": finding.code,
        "name": finding.name,
        "shortDescription": {"text": finding.name.replace("-", " ")},
        "help": {"text": f"envdoctor {finding.page}"},
        "properties": {"tags": sorted({finding.topic, finding.layer.value, finding.fault})},
    }


def _results(report: Report, look: Look, of_several: bool) -> Iterator[dict[str, Any]]:
    for finding, fingerprint in with_fingerprints(report, of_several=of_several):
        place = place_of(finding, look)
        yield {
            "ruleId": finding.code,
            "level": _LEVELS[finding.severity],
            "message": {"text": with_help(finding)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _uri(place.path), "uriBaseId": "%SRCROOT%"},
                        "region": {"startLine": place.number},
                    }
                }
            ],
            "partialFingerprints": {"envdoctorFinding/v1": fingerprint},
            "properties": {
                "fault": finding.fault,
                "subjects": finding.subjects,
                "because": finding.because,
                "target": report.target.path if report.target else None,
            },
        }


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
