"""What stays in the shell after the TUI is left: the verdict, the root cause and its fix."""

from envdoctor.calibration.speedup import rate_in_words
from envdoctor.facts.calibration import NAMES
from envdoctor.findings import Severity, Verdict
from envdoctor.render.text import meaning_of
from envdoctor.report import Report
from envdoctor.tui.ascii import to_ascii
from envdoctor.tui.state import State
from envdoctor.tui.unseen import not_looked_for, not_tried


def summary_of(state: State) -> str:
    """What was shown, or of several targets each."""
    asked = [one for one in state.beside if one.asked]
    if not asked:
        return summary(state.report, final=state.final)
    return "\n".join(
        f"{one.name}\n{summary(one.report, final=one.report is not None)}" for one in asked
    )


def summary(report: Report | None, *, final: bool) -> str:
    """A few plain lines, ending with a line break."""
    if report is None:
        return "envdoctor: left before anything was found out\n"
    verdict = report.verdict
    if not final:
        worst = "so far" if report.findings else "nothing found so far"
        return f"envdoctor: left before the examination ended; {worst}\n" + _causes(report)
    text = f"envdoctor: {verdict.value} - {meaning_of(report)}\n"
    return text + _unseen(report) + _causes(report) + _rates(report)


def printable(text: str, encoding: str | None) -> str:
    """The text in ASCII where a stream of that encoding cannot take all of it."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return to_ascii(text)
    return text


def _unseen(report: Report) -> str:
    if report.verdict not in (Verdict.INCOMPLETE, Verdict.UNPROVEN):
        return ""
    tried = (f"  not tried: {what}: {reason}\n" for reason, what in not_tried(report).items())
    return "".join(tried) + "".join(
        f"  could not look: {reason}\n    not looked for: {', '.join(names)}\n"
        for reason, names in not_looked_for(report).items()
    )


def _causes(report: Report) -> str:
    roots = [
        finding
        for finding in report.findings
        if finding.because is None and finding.severity is not Severity.INFO
    ]
    lines = []
    for finding in roots[:3]:
        lines.append(
            f"  {finding.severity.value}[{finding.code}] {finding.name}: {finding.message}"
        )
        for fix in finding.fixes[:1]:
            lines.append(f"    help: {fix.summary}")
            lines += [f"      {command}" for command in fix.commands]
    if len(roots) > 3:
        lines.append(f"  and {len(roots) - 3} more: `envdoctor check` prints them all")
    return "".join(f"{line}\n" for line in lines)


def _rates(report: Report) -> str:
    calibration = report.calibration
    if calibration is None:
        return ""
    return "".join(
        f"  {run.device} {run.precision}: {rate_in_words(run)} of {NAMES[run.model]}\n"
        for run in calibration.runs
    )
