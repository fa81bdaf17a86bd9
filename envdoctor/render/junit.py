"""JUnit's XML: a suite for each target, a case for each check and for what was tried."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from envdoctor.findings import Finding, Verdict
from envdoctor.formats import Look
from envdoctor.render.places import with_help
from envdoctor.render.text import cause_of, meaning_of
from envdoctor.report import CheckRecord, Report, ReportSet, reports_in

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write (2.2)."""


def render(document: Report | ReportSet, look: Look) -> str:
    """The document, with a final line break. A case fails where the exit code does."""
    root = ElementTree.Element("testsuites", name="envdoctor")
    for report in reports_in(document):
        _add_suite(root, report)
    _count(root)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _add_suite(root: ElementTree.Element, report: Report) -> None:
    target = report.target.path if report.target else "none"
    suite = ElementTree.SubElement(
        root, "testsuite", name=_fit(f"envdoctor {target}"), timestamp=_fit(report.created_at)
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("verdict", report.verdict.value), ("fault", report.fault or "none")):
        ElementTree.SubElement(properties, "property", name=name, value=value)
    _add_verdict(suite, report)
    left = list(report.findings)
    for check in report.checks:
        own = [one for one in left if one.code in check.codes]
        left = [one for one in left if one not in own]
        _add_check(suite, check, own, report)
    for finding in left:
        _add_findings(_case(suite, finding.topic, finding.name), [finding], report)
    _count(suite)


def _add_verdict(suite: ElementTree.Element, report: Report) -> None:
    """What could not be tried is an error of the test, not a failure of what it tests."""
    case = _case(suite, "doctor", "verdict")
    if report.verdict is Verdict.INCOMPLETE:
        text = f"incomplete: {meaning_of(report)}{cause_of(report)}"
        ElementTree.SubElement(case, "error", type="incomplete", message=_fit(text))


def _add_check(
    suite: ElementTree.Element, check: CheckRecord, findings: list[Finding], report: Report
) -> None:
    case = _case(suite, check.topic, check.name)
    case.set("time", f"{check.seconds:.3f}")
    _add_findings(case, findings, report)
    if not findings and check.status != "ran":
        ElementTree.SubElement(case, "skipped", message=_fit(check.reason))


def _add_findings(case: ElementTree.Element, findings: list[Finding], report: Report) -> None:
    """As failures those that the user wants to fail on; a viewer shows only one of a case."""
    least = report.selection.fail_on.rank
    failing = [one for one in findings if one.severity.rank >= least]
    if failing:
        message = "; ".join(f"{one.code} {one.name}: {one.message}" for one in failing)
        failure = ElementTree.SubElement(
            case, "failure", type=failing[0].severity.value, message=_fit(message)
        )
        failure.text = _fit("\n\n".join(map(_in_full, failing)))
    others = [one for one in findings if one not in failing]
    if others:
        output = ElementTree.SubElement(case, "system-out")
        output.text = _fit("\n\n".join(map(_in_full, others)))


def _in_full(finding: Finding) -> str:
    because = f"\nbecause of: {finding.because}" if finding.because else ""
    label = f"{finding.severity.value}[{finding.code}] {finding.name} ({finding.fault})"
    return f"{label}: {with_help(finding)}{because}"


def _case(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=f"envdoctor.{group}", name=_fit(name)
    )


def _count(parent: ElementTree.Element) -> None:
    """The numbers that viewers want on a suite, and on all of them."""

    def count(found: Iterable[ElementTree.Element]) -> str:
        return str(sum(1 for _ in found))

    parent.set("tests", count(parent.iter("testcase")))
    parent.set("failures", count(parent.iter("failure")))
    parent.set("errors", count(parent.iter("error")))
    parent.set("skipped", count(parent.iter("skipped")))


def _fit(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
