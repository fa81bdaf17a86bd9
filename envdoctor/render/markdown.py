"""The report as Markdown, for an issue or a chat: the same words in the same order as the text."""

import re
from collections.abc import Iterable, Iterator

from envdoctor.findings import Finding
from envdoctor.render.text import cause_of, meaning_of
from envdoctor.report import Report, Stack


def render_markdown(report: Report) -> str:
    """The whole report, ending with a line break."""
    blocks = [
        f"# envdoctor: {report.verdict.value}",
        f"{meaning_of(report)}{cause_of(report)}, {report.created_at}",
        *_findings(report.findings),
        "## Stack\n\n" + "\n".join(_stack(report)),
        "## Checks\n\n" + "\n".join(_checks(report)),
    ]
    return "\n\n".join(blocks) + "\n"


def _findings(findings: Iterable[Finding]) -> Iterator[str]:
    findings = tuple(findings)
    for finding in findings:
        if finding.because is not None:
            continue
        yield f"## {finding.severity.value} {finding.code} {finding.name}"
        yield prose(finding.message)
        yield from _details(finding)
        consequences = [other for other in findings if other.because == finding.id]
        if consequences:
            lines = (f"- {one.code} {one.name}: {prose(one.message)}" for one in consequences)
            yield "And so:\n\n" + "\n".join(lines)


def _details(finding: Finding) -> Iterator[str]:
    if finding.evidence:
        lines = (
            f"- {prose(one.label)}: {_code(one.value)} ({prose(one.source)})"
            for one in finding.evidence
        )
        yield "Evidence:\n\n" + "\n".join(lines)
    for fix in finding.fixes:
        commands = "\n".join(fix.commands)
        yield f"Help: {prose(fix.summary)}" + (f"\n\n{_block(commands)}" if commands else "")
        if fix.proof:
            yield f"Proved: {prose(fix.proof)}"
    for note in finding.notes:
        yield f"Note: {prose(note)}"
    yield f"Page: `envdoctor {finding.page}`"


def prose(text: str) -> str:
    """A text in which nothing but `code` is markup: placeholders as <token> would not be shown."""
    parts = re.split(r"(`[^`\n]*`)", text)
    return "".join(
        part if part.startswith("`") else part.replace("&", "&amp;").replace("<", "&lt;")
        for part in parts
    )


def _code(text: str) -> str:
    """Inline code that may itself hold backticks."""
    return f"`{text}`" if "`" not in text else f"`` {text} ``"


def _block(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}sh\n{text}\n{fence}"


def _stack(report: Report) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for number, gpu in report.stack.numbered:
        yield _row(f"GPU {number}", gpu.name)
    for name in Stack.__struct_fields__:
        value = getattr(report.stack, name)
        if name != "gpus" and value:
            yield _row(name.replace("_", " "), value)
    if report.target is not None:
        yield _row("target", f"{report.target.path} ({report.target.chosen_because})")


def _row(label: str, value: str) -> str:
    cell = prose(value).replace("|", "\\|").replace("\n", " ")
    return f"| {label} | {cell} |"


def _checks(report: Report) -> Iterator[str]:
    ran = sum(check.status == "ran" for check in report.checks)
    yield f"{ran} of {len(report.checks)} ran"
    for check in report.checks:
        if check.status != "ran":
            yield f"- {check.name} {check.status}: {prose(check.reason)}"
