"""The report as text: verdict first, root cause first, and at the end what to do."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator

from envdoctor.facts import Reason
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Calibration
from envdoctor.findings import Evidence, Finding, Fix, Safety, Severity, Verdict
from envdoctor.formats import Look
from envdoctor.outcomes import Outcome, in_words
from envdoctor.render.calibration import render_calibration
from envdoctor.report import CalibrationReport, CheckRecord, Report, ReportSet, StackGpu

PLAIN = Look()
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
_BOLD, _DIM, _END = "\x1b[1m", "\x1b[2m", "\x1b[0m"

VERDICTS = {
    Verdict.BROKEN: "PyTorch does not work here",
    Verdict.INCOMPLETE: "no error was found, but not all could be tried",
    Verdict.DEGRADED: "PyTorch works, but slower or at risk",
    Verdict.UNPROVEN: "no error was found in what was looked at; not all was tried",
    Verdict.HEALTHY: "no problem was found",
}
"""What each verdict means, in one sentence."""


def render_text(report: Report, look: Look = PLAIN) -> str:
    """The whole report. It says what the JSON says, in the same order, and ends with what counts:
    those lines are what is left on the screen."""
    page = _Page(look)
    whole = (
        "\n".join(
            [
                render_verdict(report.verdict, meaning_of(report) + cause_of(report), look),
                *(
                    line
                    for label, text in outcome_rows(report.outcomes)
                    for line in page.labelled(label, text)
                ),
            ]
        ),
        *_findings(report.findings, page),
        _stack(report),
        _calibration(report.calibration, report.assessment),
        _unseen(report, page),
    )
    blocks = () if look.detail == "brief" else whole
    ran = sum(check.status == "ran" for check in report.checks)
    is_asked = ran < len(report.checks) and look.detail != "full"
    why = "; -v tells why the others did not" if is_asked else ""
    told = f"{ran} of {len(report.checks)} checks ran{why}"
    conclusion = render_conclusion(report.verdict, told, report.findings, look)
    return "\n\n".join([*filter(None, blocks), conclusion]) + "\n"


def render_texts(several: ReportSet, look: Look = PLAIN) -> str:
    """One report after the other, each below its target, and at the end the verdicts together."""
    parts = [f"target: {_target(one)}\n{render_text(one, look)}" for one in several.reports]
    verdicts = [f"{one.verdict.value:<10}  {_target(one)}" for one in several.reports]
    return (
        "\n".join([*parts, f"{len(verdicts)} targets", *(f"  {line}" for line in verdicts)]) + "\n"
    )


def _target(report: Report) -> str:
    return report.target.path if report.target else "none"


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


def render_findings(findings: Iterable[Finding], look: Look = PLAIN) -> str:
    """Findings alone, as they are in the report; without a final line break."""
    return "\n\n".join(_findings(findings, _Page(look)))


class _Page:
    """How lines are laid out and coloured."""

    def __init__(self, look: Look) -> None:
        self._colour = look.colour
        self.width = look.width
        self.detail = look.detail

    def paint(self, text: str, code: str) -> str:
        """The text in a colour, where there is any."""
        return f"{code}{text}{_END}" if self._colour else text

    def wrap(self, text: str, indent: str) -> str:
        """Wrapped at the width; a word that is longer, a path say, is never broken."""
        lines = [
            textwrap.fill(
                line,
                self.width,
                initial_indent="" if number == 0 else indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
                drop_whitespace=True,
            )
            for number, line in enumerate(text.split("\n"))
        ]
        return "\n".join(lines)

    def labelled(self, label: str, text: str, code: str = "") -> list[str]:
        """The text beside its label, the text in a colour."""
        head = f"  {label}".ljust(_LABEL)
        lines = self.wrap(head + text, indent=" " * _LABEL).split("\n")
        if not code:
            return lines
        return [line[:_LABEL] + self.paint(line[_LABEL:], code) for line in lines]


def render_verdict(verdict: Verdict, meaning: str, look: Look = PLAIN) -> str:
    """The first line: the verdict, and what it means; without a final line break."""
    page = _Page(look)
    text = page.wrap(f"verdict: {verdict.value} - {meaning}", indent="  ")
    return _with_colour(text, verdict, page)


def _with_colour(text: str, verdict: Verdict, page: "_Page") -> str:
    return text.replace(verdict.value, page.paint(verdict.value, _VERDICT_COLOURS[verdict]), 1)


_OF_A_NODE = {
    Verdict.BROKEN: "this machine cannot use its GPUs as it should",
    Verdict.DEGRADED: "this machine works, but slower or at risk",
    Verdict.HEALTHY: "no problem was found in this machine",
}
_OUT_OF_SCOPE = {
    None: "",
    "node": "; not looked at: the target and its torch (--scope node)",
    "user": "; not looked at: GPUs and their driver (--scope user)",
}


def meaning_of(report: Report) -> str:
    """What the verdict means for this machine, in one sentence."""
    scope = report.selection.scope
    of_a_node = _OF_A_NODE.get(report.verdict) if scope == "node" else None
    return (of_a_node or _meaning_for_torch(report)) + _OUT_OF_SCOPE[scope]


_CAUSE = {
    None: "",
    "machine": "; the cause lies in the machine",
    "environment": "; the cause lies in the environment",
    "both": "; causes lie in the machine and in the environment",
}


def cause_of(report: Report) -> str:
    """Whether the machine or the environment is to be repaired, as the end of the first line."""
    return _CAUSE[report.fault]


def _meaning_for_torch(report: Report) -> str:
    in_part = any(one.state == "works" and one.action != "hold" for one in report.outcomes)
    failing = {one.action for one in report.outcomes if one.state == "fails"}
    if report.verdict is Verdict.BROKEN and failing == {"hold"}:
        return "this is not what the policy asks for"
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


def outcome_rows(outcomes: Iterable[Outcome]) -> Iterator[tuple[str, str]]:
    """What was tried, and what became of it: a label and a text."""
    outcomes = tuple(outcomes)
    working = [one for one in outcomes if one.state == "works"]
    if working:
        yield "works", in_words(*working)
    rows: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        if one.state != "works":
            rows.setdefault(_row(one), []).append(one)
    for (label, why), those in rows.items():
        yield label, f"{in_words(*those)}: {why}"


def _row(outcome: Outcome) -> tuple[str, str]:
    """The label and the reason of an outcome that was not seen to work."""
    if outcome.state == "fails":
        return "will fail" if outcome.basis == "predicted" else "fails", outcome.detail
    if outcome.wanted == "elsewhere":
        return "not here", outcome.detail
    if outcome.reason is Reason.NOT_APPLICABLE and outcome.detail:
        return "not tried", outcome.detail
    reason = _UNSEEN[outcome.reason] if outcome.reason else "nobody looked"
    return "not tried", reason + (f" ({outcome.detail})" if outcome.detail else "")


def _findings(findings: Iterable[Finding], page: _Page) -> Iterator[str]:
    findings = tuple(findings)
    for finding in findings:
        if finding.because is not None:
            continue
        lines = [_headline(finding, page), *_details(finding, page)]
        for other in (one for one in findings if one.because == finding.id):
            label = f"{other.severity.value}[{other.code}] {other.name}"
            lines += page.labelled("causes", f"{label}: {other.message}")
            if page.detail == "full":
                lines += _evidence(other.evidence, page)
        yield "\n".join(lines)


def _headline(finding: Finding, page: _Page) -> str:
    label = f"{finding.severity.value}[{finding.code}]"
    sure = "" if finding.confidence.value == "certain" else f" ({finding.confidence.value})"
    text = page.wrap(f"{label} {finding.name}{sure}: {finding.message}", indent="  ")
    return page.paint(label, _COLOURS[finding.severity]) + text[len(label) :]


def _details(finding: Finding, page: _Page) -> Iterator[str]:
    yield from _evidence(finding.evidence, page)
    for fix in finding.fixes:
        yield from _fix(fix, page)
    for note in finding.notes:
        yield from page.labelled("note", note)
    yield from page.labelled("page", f"envdoctor {finding.page}")


def _evidence(evidence: Iterable[Evidence], page: _Page) -> Iterator[str]:
    label = "evidence"
    for item in evidence:
        text = f"{item.label}: {item.value}"
        together = f"{text}  ({item.source})"
        if len(together) + _LABEL <= page.width:
            yield from page.labelled(label, together, _DIM)
        else:
            yield from page.labelled(label, text, _DIM)
            yield " " * (_LABEL + 2) + page.paint(f"({item.source})", _DIM)
        label = ""


def _fix(fix: Fix, page: _Page) -> Iterator[str]:
    root = " (needs root)" if fix.commands and fix.safety is Safety.NEEDS_ROOT else ""
    yield from page.labelled("help", fix.summary + root + (":" if fix.commands else ""))
    for command in fix.commands:
        yield " " * (_LABEL + 2) + page.paint(command, _BOLD)
    if fix.proof:
        yield from page.labelled("proved", fix.proof)


def _stack(report: Report) -> str:
    lines = [f"  {label.ljust(11)} {text}" for label, text in stack_rows(report)]
    return "\n".join(["stack", *lines])


def stack_rows(report: Report) -> list[tuple[str, str]]:
    """From the GPU up to the target: a label and a text, of what is known."""
    stack, target = report.stack, report.target
    rows = [
        *((f"GPU {number}", _gpu(gpu)) for number, gpu in stack.numbered),
        ("driver", _pair(stack.driver_release, "CUDA up to", stack.driver_cuda)),
        ("PyTorch", _pair(stack.torch_version, "built with CUDA", stack.torch_cuda)),
        ("cudart", stack.cudart),
        ("cuDNN", stack.cudnn),
        ("NCCL", stack.nccl),
        ("Python", _pair(stack.python, "installed by", stack.installer)),
        ("system", _pair(stack.os, "glibc", stack.glibc)),
        ("target", target.path if target else None),
        ("chosen", target.chosen_because if target else None),
        *(
            ("passed over", f"{other.path} ({other.origin}: {_why_not(other.torch_on_disk)})")
            for other in (target.passed_over if target else ())
        ),
    ]
    if not stack.gpus and report.selection.scope != "user":
        rows.insert(0, ("GPU", "no NVIDIA GPU is visible"))
    return [(label, text) for label, text in rows if text]


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


def _unseen(report: Report, page: _Page) -> str:
    """What could not be looked at, by name; with all detail, why each check did not run."""
    by_reason: dict[str, list[CheckRecord]] = {}
    for check in report.checks:
        if check.status != "ran" and (page.detail == "full" or check.could_not_look):
            by_reason.setdefault(f"{check.status}: {check.why}", []).append(check)
    lines = []
    for reason, checks in by_reason.items():
        blind = [check.name for check in checks if check.could_not_look]
        lines.append(page.wrap(f"  {len(checks)} {reason}", indent="    "))
        if blind:
            lines.append(page.wrap(f"    not looked for: {', '.join(blind)}", indent="    "))
    return "\n".join(["checks that did not run", *lines]) if lines else ""


def render_conclusion(
    verdict: Verdict, told: str, findings: tuple[Finding, ...], look: Look = PLAIN
) -> str:
    """The last lines: what is wrong and what to do about it first, or what was done (`told`) where
    nothing is; without a final line break."""
    return "\n".join(_conclusion(verdict, told, findings, _Page(look)))


def _conclusion(
    verdict: Verdict, told: str, findings: tuple[Finding, ...], page: _Page
) -> Iterator[str]:
    root = next((one for one in findings if one.severity is not Severity.INFO), None)
    page_of = f" · envdoctor {root.page}" if root else ""
    text = page.wrap(f"{verdict.value}: {_counted(findings) or told}{page_of}", indent="  ")
    yield _with_colour(text, verdict, page)
    if root is not None and page.detail == "brief":
        # Nothing above has told it. On one line, whatever its length: for `grep`, and for a log.
        yield "  cause".ljust(_LABEL) + root.message
    fix = next((one for one in root.fixes if one.commands), None) if root else None
    for number, command in enumerate(fix.commands if fix else ()):
        yield ("" if number else "  run").ljust(_LABEL) + page.paint(command, _BOLD)


def _counted(findings: Iterable[Finding]) -> str:
    """`1 error, 2 warnings, 3 consequences`."""
    grave = [one for one in findings if one.severity is not Severity.INFO]
    counts = Counter("consequence" if one.because else one.severity.value for one in grave)
    return ", ".join(
        f"{counts[kind]} {kind}{'s' if counts[kind] > 1 else ''}"
        for kind in (Severity.ERROR.value, Severity.WARNING.value, "consequence")
        if counts[kind]
    )
