"""A finding as text: headline, evidence, fixes, notes."""

from collections.abc import Iterable, Iterator

from textual.content import Content

from envdoctor.findings import Evidence, Finding, Fix
from envdoctor.tui.words import SAFETY, severity_label, sureness


def finding_text(finding: Finding) -> Content:
    """All of a finding but its page, for a pane beside the list."""
    lines = [
        *headline(finding),
        *evidence_lines(finding.evidence),
        *fix_lines(finding.fixes),
        *note_lines(finding.notes),
    ]
    return Content("\n").join(lines)


def headline(finding: Finding) -> Iterator[Content]:
    """Severity, code, name, then the message."""
    subject = f" · {finding.subject}" if finding.subject else ""
    yield Content.assemble(
        severity_label(finding), (f" {finding.name}{sureness(finding)}{subject}", "bold")
    )
    yield Content(finding.message)
    if finding.because:
        yield Content.styled(f"↳ because of {finding.because}", "$text-muted")


def evidence_lines(evidence: Iterable[Evidence]) -> Iterator[Content]:
    """What was observed, each with where it was read."""
    for number, item in enumerate(evidence):
        if number == 0:
            yield Content("")
            yield Content.styled("evidence", "bold")
        yield Content.assemble(
            f"  {item.label}: ", (item.value, "bold"), (f"  ({item.source})", "$text-muted")
        )


def fix_lines(fixes: Iterable[Fix]) -> Iterator[Content]:
    """Every way to repair, with its commands."""
    for fix in fixes:
        yield Content("")
        yield Content.assemble(
            ("fix: ", "bold"), fix.summary, (f"  ({SAFETY[fix.safety]})", "$text-muted")
        )
        for command in fix.commands:
            yield Content.styled(f"  $ {command}", "bold")


def note_lines(notes: Iterable[str]) -> Iterator[Content]:
    """Why, with the source."""
    for number, note in enumerate(notes):
        if number == 0:
            yield Content("")
        yield Content.assemble(("note: ", "bold"), note)
