"""The part of a report that a golden holds: the answer, and not how many checks there are."""

from pathlib import Path

from envdoctor.render.text import render_text
from envdoctor.report import Report


def golden_of(report: Report) -> str:
    """Exit code, verdict, outcomes, findings with evidence and fixes, the stack.

    What became of each check is left out: a check that does not fire changes no golden.
    """
    answer, block, _ = render_text(report).partition("\n\nchecks: ")
    assert block, "the text has no block of checks any more"
    return f"exit code {report.exit_code}\n{answer}\n"


def compare(report: Report, golden: Path, *, write: bool) -> None:
    """Compare with the golden, or write it anew."""
    text = golden_of(report)
    if write:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
