"""How many files a process may have open: a limit that is too low, or that was reached."""

import re
from collections.abc import Iterator

from envdoctor.api import (
    Code,
    CompanionImports,
    CompileAttempts,
    Confidence,
    Environment,
    Evidence,
    ExtendAttempts,
    Finding,
    Findings,
    Fix,
    GpuTrace,
    Layer,
    Limits,
    Record,
    Severity,
    Site,
    TorchFirstUse,
    TorchImport,
    check,
    system,
)
from envdoctor_checks.import_failures import failures_of

TOO_FEW_OPEN_FILES = Code(
    id="ED431",
    name="too-few-open-files",
    family="too-few-open-files",
    severity=Severity.WARNING,
    topic="container",
    layer=Layer.INTERPRETER,
    breaks="import:torch",
    message="this process may have too few files open at once",
    detailed="this process may have too few files open at once: {why}",
)


class Refusal(Record):
    """Something that failed for want of a descriptor: the outcome that it breaks, and the line that
    says so."""

    outcome: str
    line: str


@check(TOO_FEW_OPEN_FILES)
def too_few_open_files(
    limits: Limits | None,
    imported: TorchImport | None,
    companions: CompanionImports | None,
    used: TorchFirstUse | None,
    compiled: CompileAttempts | None,
    extended: ExtendAttempts | None,
    trace: GpuTrace,
    environment: Environment | None,
    site: Site,
) -> Findings:
    """What was tried says that the system opens no more files for it; or somebody has set the limit
    below what any system gives by itself, and below what a usual DataLoader takes."""
    refusals = (
        *_of_imports(imported, companions),
        *_of_uses(used, trace),
        *_of_attempts("compile", compiled, trace),
        *_of_attempts("extend", extended, trace),
    )
    in_slurm = environment is not None and "SLURM_JOB_ID" in environment.variables
    if refusals:
        yield _refused(refusals, limits, site, in_slurm=in_slurm)
    elif limits is not None and limits.open_files is not None:
        yield from _too_low(limits.open_files, limits, site, in_slurm=in_slurm)


# --- what was refused ---


def _refused(
    refusals: tuple[Refusal, ...], limits: Limits | None, site: Site, *, in_slurm: bool
) -> Finding:
    first = refusals[0]
    of_all = _OF_THE_SYSTEM.search(first.line) is not None
    return TOO_FEW_OPEN_FILES.finding(
        breaks=tuple(dict.fromkeys(one.outcome for one in refusals)),
        severity=Severity.ERROR,
        why=_why_refused(limits.open_files if limits else None, of_all),
        evidence=(
            Evidence(label="it said", value=first.line, source=first.outcome.replace(":", " ")),
            *_of_limits(limits),
        ),
        fixes=(system.more_files_of_system(site),)
        if of_all
        else _higher(site, limits, in_slurm=in_slurm),
        notes=() if of_all else (_WHAT_HOLDS_THEM,),
    )


_REFUSED = re.compile(
    r"Too many open files|\[Errno 2[34]\]|object file: Error 2[34]\b|received 0 items of ancdata"
)
"""EMFILE and ENFILE in the words of the C library, of Python and of the loader; and Python's where
the kernel has left a descriptor out of a message, for want of room (pytorch/pytorch#973)."""

_OF_THE_SYSTEM = re.compile(r"Too many open files in system|\bErr(?:no|or) 23\b")
"""ENFILE: the limit of all processes together."""

_OF_SOMETHING_ELSE = re.compile("inotify", re.IGNORECASE)
"""EMFILE as well: the kernel's limit of watches of a user (inotify(7)), whatever `ulimit` says."""

_WHAT_HOLDS_THEM = (
    "with a limit as usual (1024) something keeps files open: `ls -l /proc/PID/fd` shows them"
)


def _line_of(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return next(
        (one for one in lines if _REFUSED.search(one) and not _OF_SOMETHING_ELSE.search(one)), ""
    )


def _of_imports(
    imported: TorchImport | None, companions: CompanionImports | None
) -> Iterator[Refusal]:
    if imported is not None and imported.fails and imported.isolated_outcome == "ok":
        # What PYTHONPATH or the current folder brings in keeps them open, and that has its finding.
        return
    printed = imported.output_tail if imported is not None else ""
    for one in failures_of(imported, companions):
        text = f"{one.text}\n{printed}" if one.outcome == "import:torch" else one.text
        if line := _line_of(text):
            yield Refusal(outcome=one.outcome, line=line)


def _of_uses(used: TorchFirstUse | None, trace: GpuTrace) -> Iterator[Refusal]:
    for one in used.operations if used else ():
        if line := _line_of(one.error or ""):
            yield Refusal(outcome=f"compute:{trace.subject_of(one.device)}", line=line)


def _of_attempts(
    action: str, tried: CompileAttempts | ExtendAttempts | None, trace: GpuTrace
) -> Iterator[Refusal]:
    for one in tried.items if tried else ():
        if line := _line_of(one.text):
            yield Refusal(outcome=f"{action}:{trace.subject_of(one.on)}", line=line)


def _why_refused(limit: int | None, of_all: bool) -> str:
    if of_all:
        return "the processes of the whole system have as many as it allows (fs.file-max)"
    if limit is None:
        return "the system opens no more"
    return f"it asked for more than the {limit} of `ulimit -n`"


# --- a limit that is too low ---

_OF_ITSELF, _OF_A_WORKER = 16, 8
"""Measured with torch 2.13 on Linux (2026-11-27), batches of two tensors: the process itself has 6
to 9 open, and each worker of a DataLoader up to 8 more: pipes, and a descriptor for each tensor on
its way."""

_FEWEST_WORKERS, _MOST_WORKERS = 4, 30
"""What is judged is a DataLoader with a worker for each CPU, but for no more than have room in the
256 that macOS gives by itself, the least of any system; Linux gives 1024. So no default is found
wanting."""


def _too_low(limit: int, limits: Limits, site: Site, *, in_slurm: bool) -> Findings:
    workers = int(min(max(limits.usable_cpus, _FEWEST_WORKERS), _MOST_WORKERS))
    needed = _OF_ITSELF + _OF_A_WORKER * workers
    if limit >= needed:
        return
    yield TOO_FEW_OPEN_FILES.finding(
        breaks=(),
        confidence=Confidence.LIKELY,
        why=f"`ulimit -n` is {limit}, and a DataLoader with {workers} workers has up to {needed}",
        evidence=tuple(_of_limits(limits)),
        fixes=(*_higher(site, limits, in_slurm=in_slurm), system.share_tensors_by_name()),
        notes=(
            "no system gives so few by itself: a start file of the shell may say `ulimit -n`, or "
            "what starts the program",
            "it then ends with `Too many open files` or `received 0 items of ancdata`; every "
            "tensor that came from a worker and is kept holds one more",
        ),
    )


def _of_limits(limits: Limits | None) -> Iterator[Evidence]:
    for option, value in (
        ("-Sn", limits.open_files if limits else None),
        ("-Hn", limits.open_files_hard if limits else None),
    ):
        if value is not None:
            yield Evidence(label=f"ulimit {option}", value=str(value), source="getrlimit")


def _higher(site: Site, limits: Limits | None, *, in_slurm: bool) -> tuple[Fix, ...]:
    return system.more_open_files(
        site,
        now=limits.open_files if limits else None,
        hard=limits.open_files_hard if limits else None,
        in_slurm=in_slurm,
    )
