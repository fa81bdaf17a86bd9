"""The report as plain text: verdict first, root cause first, 80 columns, colour optional."""

import textwrap
from collections.abc import Callable, Iterable, Iterator

from envdoctor.facts import Reason
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Calibration
from envdoctor.findings import Evidence, Finding, Fix, Severity, Verdict
from envdoctor.outcomes import Outcome, in_words
from envdoctor.render.calibration import render_calibration
from envdoctor.report import CalibrationReport, CheckRecord, Report, Stack, StackGpu

WIDTH = 80
_LABEL = 12

_COLOURS = {
    Severity.ERROR: "\x1b[1;31m",
    Severity.WARNING: "\x1b[1;33m",
    Severity.INFO: "\x1b[1;36m",
}
_VERDICT_COLOURS = {
    Verdict.BROKEN: "\x1b[1;31m",
    Verdict.INCOMPLETE: "\x1b[1;35m",
    Verdict.DEGRADED: "\x1b[1;33m",
    Verdict.UNPROVEN: "\x1b[1;36m",
    Verdict.HEALTHY: "\x1b[1;32m",
}
_PLAIN = "\x1b[0m"

VERDICTS = {
    Verdict.BROKEN: "PyTorch does not work here",
    Verdict.INCOMPLETE: "no error was found, but not all could be tried",
    Verdict.DEGRADED: "PyTorch works, but slower or at risk",
    Verdict.UNPROVEN: "no error was found in what was looked at; not all was tried",
    Verdict.HEALTHY: "no problem was found",
}
"""What each verdict means, in one sentence."""


def render_text(report: Report, *, colour: bool = False) -> str:
    """The whole report. It says what the JSON says, in the same order."""
    paint = _painter(colour)
    blocks = [
        "\n".join([_verdict(report, paint), *_outcomes(report.outcomes)]),
        *_findings(report.findings, paint),
        _stack(report.stack, report),
        _calibration(report.calibration, report.assessment),
        _unseen(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def render_calibration_report(report: CalibrationReport) -> str:
    """The document of `envdoctor calibrate`, without colour."""
    target = report.target
    blocks = (
        f"target: {target.path} ({target.chosen_because})" if target else "",
        _calibration(report.calibration, report.assessment)
        or f"nothing could be measured: {report.problem}",
        render_findings(report.findings),
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _calibration(calibration: Calibration | None, assessment: Assessment | None) -> str:
    if calibration is None:
        return ""
    return render_calibration(calibration, assessment or Assessment()).rstrip()


def render_findings(findings: Iterable[Finding], *, colour: bool = False) -> str:
    """Findings alone, as they are in the report; without a final line break."""
    return "\n\n".join(_findings(findings, _painter(colour)))


def _painter(colour: bool) -> Callable[[str, str], str]:
    return lambda text, code: f"{code}{text}{_PLAIN}" if colour else text


def _verdict(report: Report, paint: Callable[[str, str], str]) -> str:
    word = paint(report.verdict.value, _VERDICT_COLOURS[report.verdict])
    return f"verdict: {word} - {meaning_of(report)}"


def meaning_of(report: Report) -> str:
    """What the verdict means for this machine, in one sentence."""
    in_part = any(one.state == "works" for one in report.outcomes)
    if report.verdict is Verdict.BROKEN and in_part:
        return "PyTorch works here only in part"
    return VERDICTS[report.verdict]


_UNSEEN = {
    Reason.TIMED_OUT: "it gave no answer in time",
    Reason.CRASHED: "looking failed",
    Reason.UNDECODABLE: "the answer made no sense",
    Reason.SWITCHED_OFF: "switched off",
    Reason.NOT_OBSERVED: "nobody looked",
    Reason.NOT_APPLICABLE: "it cannot be tried",
}


def _outcomes(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """What was tried, and what became of it."""
    outcomes = tuple(outcomes)
    working = [one for one in outcomes if one.state == "works"]
    if working:
        yield from _labelled("works", in_words(*working))
    rows: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        if one.state != "works":
            rows.setdefault(_row(one), []).append(one)
    for (label, why), those in rows.items():
        yield from _labelled(label, f"{in_words(*those)}: {why}")


def _row(outcome: Outcome) -> tuple[str, str]:
    """The label and the reason of an outcome that was not seen to work."""
    if outcome.state == "fails":
        return "will fail" if outcome.basis == "predicted" else "fails", outcome.detail
    if outcome.wanted == "elsewhere":
        return "not here", outcome.detail
    reason = _UNSEEN[outcome.reason] if outcome.reason else "nobody looked"
    return "not tried", reason + (f" ({outcome.detail})" if outcome.detail else "")


def _findings(findings: Iterable[Finding], paint: Callable[[str, str], str]) -> Iterator[str]:
    findings = tuple(findings)
    for finding in findings:
        if finding.because is not None:
            continue
        consequences = [other for other in findings if other.because == finding.id]
        lines = [_headline(finding, paint), *_details(finding)]
        for other in consequences:
            label = f"{other.severity.value}[{other.code}] {other.name}"
            lines += _labelled("and so", f"{label}: {other.message}")
            lines += [f"  {line}" for line in _evidence(other.evidence, WIDTH - 2)]
        yield "\n".join(lines)


def _headline(finding: Finding, paint: Callable[[str, str], str]) -> str:
    label = f"{finding.severity.value}[{finding.code}]"
    sure = "" if finding.confidence.value == "certain" else f" ({finding.confidence.value})"
    text = _wrap(f"{label} {finding.name}{sure}: {finding.message}", indent="  ")
    return paint(label, _COLOURS[finding.severity]) + text[len(label) :]


def _details(finding: Finding) -> Iterator[str]:
    yield from _evidence(finding.evidence)
    for fix in finding.fixes:
        yield from _fix(fix)
    for note in finding.notes:
        yield from _labelled("note", note)
    yield from _labelled("page", f"envdoctor {finding.page}")


def _evidence(evidence: Iterable[Evidence], width: int = WIDTH) -> Iterator[str]:
    label = "evidence"
    for item in evidence:
        text = f"{item.label}: {item.value}"
        together = f"{text}  ({item.source})"
        if len(together) + _LABEL <= width:
            yield from _labelled(label, together)
        else:
            yield from _labelled(label, text)
            yield " " * (_LABEL + 2) + f"({item.source})"
        label = ""


def _fix(fix: Fix) -> Iterator[str]:
    yield from _labelled("help", fix.summary + (":" if fix.commands else ""))
    for command in fix.commands:
        yield " " * (_LABEL + 2) + command


def _labelled(label: str, text: str) -> list[str]:
    head = f"  {label}".ljust(_LABEL)
    return _wrap(head + text, indent=" " * _LABEL).split("\n")


def _wrap(text: str, indent: str) -> str:
    """Wrapped at 80 columns; a word that is longer, a path say, is never broken."""
    lines = [
        textwrap.fill(
            line,
            WIDTH,
            initial_indent="" if number == 0 else indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        for number, line in enumerate(text.split("\n"))
    ]
    return "\n".join(lines)


def _stack(stack: Stack, report: Report) -> str:
    target = report.target
    rows = [
        *((f"GPU {number}", _gpu(gpu)) for number, gpu in enumerate(stack.gpus)),
        ("driver", _pair(stack.driver_release, "CUDA up to", stack.driver_cuda)),
        ("PyTorch", _pair(stack.torch_version, "built with CUDA", stack.torch_cuda)),
        ("cudart", stack.cudart),
        ("cuDNN", stack.cudnn),
        ("NCCL", stack.nccl),
        ("Python", _pair(stack.python, "installed by", stack.installer)),
        ("system", _pair(stack.os, "glibc", stack.glibc)),
        ("target", target.path if target else None),
        ("because", target.chosen_because if target else None),
        *(
            ("passed over", f"{other.path} ({other.origin}: {_why_not(other.torch_on_disk)})")
            for other in (target.passed_over if target else ())
        ),
    ]
    if not stack.gpus:
        rows.insert(0, ("GPU", "no NVIDIA GPU is visible"))
    lines = [f"  {label.ljust(11)} {text}" for label, text in rows if text]
    return "\n".join(["stack", *lines])


def _why_not(torch_on_disk: bool | None) -> str:
    return "it has a torch too" if torch_on_disk else "no torch on disk"


def _gpu(gpu: StackGpu) -> str:
    parts = [gpu.name]
    if gpu.compute_capability:
        parts.append(f"compute capability {gpu.compute_capability}")
    if gpu.memory_bytes:
        parts.append(f"{gpu.memory_bytes / 2**30:.1f} GiB")
    return ", ".join(parts)


def _pair(first: str | None, joint: str, second: str | None) -> str | None:
    if not first:
        return None
    return first if not second else f"{first}, {joint} {second}".replace(",  ", ", ")


def _unseen(report: Report) -> str:
    """How many checks ran, and why the others did not; those that matter by name."""
    ran = sum(check.status == "ran" for check in report.checks)
    by_reason: dict[str, list[CheckRecord]] = {}
    for check in report.checks:
        if check.status != "ran":
            by_reason.setdefault(f"{check.status}: {check.reason}", []).append(check)
    lines = [f"checks: {ran} of {len(report.checks)} ran"]
    for reason, checks in by_reason.items():
        blind = [check.name for check in checks if check.could_not_look]
        lines.append(_wrap(f"  {len(checks)} {reason}", indent="    "))
        if blind:
            lines.append(_wrap(f"    not looked for: {', '.join(blind)}", indent="    "))
    return "\n".join(lines)
