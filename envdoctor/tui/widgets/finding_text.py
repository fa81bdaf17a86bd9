"""A finding as text: headline, evidence, fixes, notes."""

from collections.abc import Iterable, Iterator

from textual.content import Content

from envdoctor.findings import Evidence, Finding, Fix, in_words
from envdoctor.tui.widgets.paragraphs import Paragraph, Paragraphs
from envdoctor.tui.words import SAFETY, severity_label, sureness


def finding_text(finding: Finding) -> Paragraphs:
    """All of a finding but its page, for a pane beside the list: the fix before the evidence."""
    return Paragraphs(
        [
            *headline(finding),
            *fixes_lines(finding.fixes),
            *evidence_lines(finding.evidence),
            *note_lines(finding.notes),
        ]
    )


def headline(finding: Finding) -> Iterator[Paragraph]:
    """Severity, code, name, then the message."""
    subject = f" · {in_words(finding.subjects)}" if finding.subjects else ""
    yield _line(severity_label(finding), (f" {finding.name}{sureness(finding)}{subject}", "bold"))
    yield _line(finding.message)
    if finding.because:
        yield _line((f"↳ caused by {finding.because}", "$text-muted"))


def evidence_lines(evidence: Iterable[Evidence]) -> Iterator[Paragraph]:
    """What was observed, each with where it was read."""
    for number, item in enumerate(evidence):
        if number == 0:
            yield _line("")
            yield _line(("evidence", "bold"))
        text = Content.assemble(
            f"{item.label}: ", (item.value, "bold"), (f"  ({item.source})", "$text-muted")
        )
        yield Paragraph(text=text, first="  ", hang=4)


def numbered(fixes: Iterable[Fix]) -> Iterator[tuple[str, Fix]]:
    """Every fix with the number by which it is copied; without one where there is a single fix."""
    fixes = tuple(fixes)
    for number, fix in enumerate(fixes, 1):
        yield (str(number) if len(fixes) > 1 else ""), fix


def fixes_lines(fixes: Iterable[Fix]) -> Iterator[Paragraph]:
    """Every way to repair, each below an empty line."""
    for label, fix in numbered(fixes):
        yield _line("")
        yield from fix_lines(fix, label)


def fix_lines(fix: Fix, label: str = "") -> Iterator[Paragraph]:
    """One way to repair, with its commands and what they change."""
    yield Paragraph(text=fix_title(fix, label), hang=7 if label else 5)
    for command in fix.commands:
        yield Paragraph(text=Content.styled(command, "bold"), first="  $ ", hang=6)
    if fix.proof:
        proved = Content.styled(f"proved: {fix.proof}", "$text-muted")
        yield Paragraph(text=proved, first="  ", hang=4)


def fix_title(fix: Fix, label: str = "") -> Content:
    """`fix 1: update the driver  (needs root)`."""
    return Content.assemble(
        (f"fix {label}: " if label else "fix: ", "bold"),
        fix.summary,
        (f"  ({SAFETY[fix.safety]})", "$text-muted"),
    )


def commands_of(finding: Finding | None) -> str | None:
    """All commands of the first fix that has any."""
    fixes = finding.fixes if finding is not None else ()
    return next(("\n".join(fix.commands) for fix in fixes if fix.commands), None)


def note_lines(notes: Iterable[str]) -> Iterator[Paragraph]:
    """Why, with the source."""
    for number, note in enumerate(notes):
        if number == 0:
            yield _line("")
        yield Paragraph(text=Content.assemble(("note: ", "bold"), note), hang=6)


def _line(*parts: Content | str | tuple[str, str]) -> Paragraph:
    return Paragraph(text=Content.assemble(*parts))
