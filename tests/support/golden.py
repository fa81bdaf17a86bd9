"""The part of a report that a golden holds: the answer, and not how many checks there are."""

import re
from pathlib import Path

from envdoctor.render.text import render_text
from envdoctor.report import Report


def golden_of(report: Report) -> str:
    """Exit code, verdict, outcomes, findings with evidence and fixes, the stack, the summary.

    What became of each check is left out: a check that does not fire changes no golden.
    """
    blocks = [
        block
        for block in render_text(report).split("\n\n")
        if not block.startswith("checks that did not run")
    ]
    blocks[-1] = re.sub(r"\d+ of \d+ checks ran(; -v .*)?", "checks ran", blocks[-1])
    return f"exit code {report.exit_code}\n" + "\n\n".join(blocks)


def compare(report: Report, golden: Path, *, write: bool) -> None:
    """Compare with the golden, or write it anew."""
    text = golden_of(report)
    if write:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
