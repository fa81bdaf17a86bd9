"""Where in a project a finding is pointed at, and what it is recognised by from run to run."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator

from envdoctor.findings import Finding
from envdoctor.formats import Line, Look
from envdoctor.report import Report

NOWHERE = Line("envdoctor.toml", 1, "")
"""What a finding is pointed at where the project has no file: that in which an exception for it
would be written. Who reads the format wants a place in any case."""


def place_of(finding: Finding, look: Look) -> Line:
    """The line that asks for what the finding is about, else the first line of the project."""
    return line_of(finding, look) or (look.lines[0] if look.lines else NOWHERE)


def line_of(finding: Finding, look: Look) -> Line | None:
    """The line that asks for what the finding is about. No file is to blame for a machine."""
    written = _written_down(finding, look)
    if written is not None or finding.fault != "environment":
        return written
    patterns = map(_pattern, _names(finding))
    found = (line for pattern in patterns for line in look.lines if pattern.search(line.text))
    return next(found, None)


def _written_down(finding: Finding, look: Look) -> Line | None:
    """The line of a policy that a finding says it is about, if the policy is of the project."""
    file, line = finding.data.get("file"), finding.data.get("line")
    if finding.family != "policy" or not isinstance(file, str) or not isinstance(line, int):
        return None
    if look.root:
        file = os.path.relpath(os.path.join(look.folder, file), look.root)
    return None if file.startswith(("../", "/")) else Line(file, line, "")


def _names(finding: Finding) -> Iterator[str]:
    """The distributions that a finding can be about, torch last."""
    yield from finding.subjects
    for outcome in finding.breaks:
        action, _, subject = outcome.partition(":")
        if action == "import" and subject:
            yield subject
    yield "torch"


def _pattern(name: str) -> re.Pattern[str]:
    """A line that names a distribution, however its name is written (PEP 503)."""
    flexible = re.sub(r"(\\-|[_.]|\\\.)+", "[-_.]+", re.escape(name))
    return re.compile(rf"(?<![\w.-]){flexible}(?![\w-])(?!\.\w)", re.IGNORECASE)


def with_fingerprints(report: Report, *, of_several: bool) -> Iterator[tuple[Finding, str]]:
    """Each finding, and what is the same for it at the next run; of several targets, for each. No
    two findings of a report have the same."""
    target = report.target.path if of_several and report.target else ""
    seen: Counter[str] = Counter()
    for finding in report.findings:
        text = f"{target}\0{finding.id}\0{seen[finding.id]}"
        seen[finding.id] += 1
        yield finding, hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def with_help(finding: Finding) -> str:
    """The message, and below it what repairs it."""
    lines = [finding.message]
    for fix in finding.fixes:
        lines += [f"help: {fix.summary}", *(f"  {command}" for command in fix.commands)]
    lines += [f"note: {note}" for note in finding.notes]
    return "\n".join([*lines, f"page: envdoctor {finding.page}"])
