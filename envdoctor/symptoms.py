"""The findings of the outcomes themselves: what was seen to fail. Lower findings explain them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from envdoctor.companions import library_of, module_of
from envdoctor.engine import ENGINE_CODES
from envdoctor.facts import Fact, Known, Snapshot, Unknown
from envdoctor.facts.attempts import CompileAttempts, ExtendAttempts
from envdoctor.facts.collective import Collective, JobRank
from envdoctor.facts.derived import GpuTrace
from envdoctor.facts.machine import CudaInit, Environment, Nvml
from envdoctor.facts.python import Distributions, Target
from envdoctor.facts.torch import TorchBuild, TorchFirstUse, TorchImport, TorchRuntime
from envdoctor.findings import Code, Evidence, Finding, Fix, Layer, Safety, Severity, in_words
from envdoctor.outcomes import Outcome
from envdoctor.policy.codes import POLICY_CODES
from envdoctor.repair.interpreters import see_where_it_hangs, try_in_target
from envdoctor.repair.site import Site
from envdoctor.repair.surroundings import without_entry
from envdoctor.repair.system.place import on_host

TORCH_IMPORT_FAILED = Code(
    id="ED401",
    name="torch-import-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` raises an exception",
    detailed="`import torch` raises {exception}: {text}",
)
TORCH_IMPORT_CRASHED = Code(
    id="ED402",
    name="torch-import-crashed",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` ends the interpreter by a signal",
    detailed="`import torch` ends the interpreter by {signal}",
)
TORCH_IMPORT_HANGS = Code(
    id="ED403",
    name="torch-import-hangs",
    family="torch-import-hangs",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` gives no answer",
    detailed="`import torch` gave no answer within {seconds} s",
)
TORCH_IMPORT_EXITS = Code(
    id="ED404",
    name="torch-import-exits",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` exits the interpreter",
    detailed="`import torch` exits the interpreter with code {exit_code}",
)
COMPANION_IMPORT_FAILED = Code(
    id="ED409",
    name="companion-import-failed",
    family="extension-abi-mismatch",
    severity=Severity.ERROR,
    topic="companions",
    layer=Layer.IMPORT,
    breaks="import",
    message="a package that is installed beside torch does not import",
    detailed="`import {package}` fails: {text}",
)
FIRST_USE_FAILED = Code(
    id="ED410",
    name="first-use-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FIRST_USE,
    breaks="compute:gpu",
    message="the first operation on a device fails",
    detailed="the first operation on {subjects} fails: {text}",
)
CUDA_UNAVAILABLE = Code(
    id="ED411",
    name="cuda-unavailable",
    family="cuda-unavailable",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FIRST_USE,
    breaks="compute:gpu",
    message="torch cannot use the GPU",
    detailed="torch {version} cannot use {gpus}: {text}",
)

CUDA_DOES_NOT_START = Code(
    id="ED290",
    name="cuda-does-not-start",
    family="cuda-does-not-start",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.FIRST_USE,
    breaks="compute:gpu",
    message="CUDA does not start on a GPU",
    detailed="CUDA does not start on {subjects}: {text}",
)
DRIVER_HANGS = Code(
    id="ED229",
    name="driver-hangs",
    family="driver-hangs",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="the NVIDIA driver gives no answer",
    detailed="the NVIDIA driver gives no answer: {who} {verb} waited for in vain",
)

COLLECTIVE_FAILED = Code(
    id="ED710",
    name="collective-failed",
    family="collective-failed",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks="distributed",
    message="ranks of one job do not get through an all-reduce",
    detailed="{text}",
)

COMPILE_FAILED = Code(
    id="ED422",
    name="compile-failed",
    family="compile-failed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FIRST_USE,
    breaks="compile",
    message="torch.compile does not work",
    detailed="torch.compile{where} fails: {text}",
)
EXTENSION_FAILED = Code(
    id="ED423",
    name="extension-not-built",
    family="extension-not-built",
    severity=Severity.ERROR,
    topic="toolkit",
    layer=Layer.FIRST_USE,
    breaks="extend",
    message="an extension of torch cannot be built",
    detailed="an extension{where} cannot be built: {text}",
)

CORE_CODES = (
    *ENGINE_CODES,
    DRIVER_HANGS,
    TORCH_IMPORT_FAILED,
    TORCH_IMPORT_CRASHED,
    TORCH_IMPORT_HANGS,
    TORCH_IMPORT_EXITS,
    COMPANION_IMPORT_FAILED,
    FIRST_USE_FAILED,
    CUDA_UNAVAILABLE,
    CUDA_DOES_NOT_START,
    COLLECTIVE_FAILED,
    COMPILE_FAILED,
    EXTENSION_FAILED,
    *POLICY_CODES,
)

_OF_IMPORT = {
    "exception": TORCH_IMPORT_FAILED,
    "signal": TORCH_IMPORT_CRASHED,
    "hang": TORCH_IMPORT_HANGS,
    "exit": TORCH_IMPORT_EXITS,
}
_LINES_OF_OUTPUT = 6


def symptoms_of(outcomes: Iterable[Outcome], snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each outcome that was seen to fail, and for a driver that hangs."""
    yield from _of_silence(snapshot)
    for outcome in outcomes:
        if outcome.state != "fails":
            continue
        if outcome.action == "import" and outcome.subject == "torch":
            yield _of_import(snapshot)
        elif outcome.action == "import":
            yield _of_companion(outcome, snapshot)
        elif outcome.action == "distributed":
            yield _of_collective(outcome, snapshot)
        elif outcome.action in _ATTEMPTS:
            yield _of_attempt(outcome, snapshot)
        elif outcome.action == "start":
            yield _of_start(outcome, snapshot)
        elif _was_listed(outcome, snapshot):
            yield _of_first_use(outcome, snapshot)
        else:
            yield _of_gpu(outcome, snapshot)


_ASKED: tuple[tuple[type[Fact], str], ...] = ((Nvml, "NVML"), (CudaInit, "cuInit"))


def _of_silence(snapshot: Snapshot) -> Iterator[Finding]:
    """Which parts of the driver gave no answer in time. A process that waits inside of it cannot
    even be killed."""
    silent = [(who, fact) for kind, who in _ASKED if _timed_out(fact := snapshot.get(kind))]
    if not silent:
        return
    yield DRIVER_HANGS.finding(
        who=" and ".join(who for who, _ in silent),
        verb="was" if len(silent) == 1 else "were",
        evidence=tuple(
            Evidence(label=who, value=fact.detail, source="a child of its own")
            for who, fact in silent
            if isinstance(fact, Unknown)
        ),
        fixes=tuple(_of_a_hang(snapshot.value(Site) or Site())),
    )


def _of_a_hang(site: Site) -> Iterator[Fix]:
    if site.os_family != "windows":
        yield on_host(
            site,
            "read what the kernel says: an Xid, a GPU that has fallen off the bus, a task that is "
            "blocked",
            "sudo dmesg | grep -iE 'nvidia|nvrm|xid|blocked for more' | tail -n 20",
        )
        yield on_host(
            site,
            "if it is slow and not dead, as with many GPUs: keep the driver loaded",
            "sudo nvidia-smi -pm 1",
        )
    yield on_host(
        site,
        "else restart the machine: a process that waits in a driver does not end",
        safety=Safety.MANUAL,
    )


def _timed_out(fact: Known) -> bool:
    """Whether an answer was waited for long enough; a short --timeout says nothing of a driver."""
    return isinstance(fact, Unknown) and fact.waited_s is not None


def _of_import(snapshot: Snapshot) -> Finding:
    imported = snapshot.value(TorchImport)
    assert imported is not None
    # An import that gives an empty module is told as the failure that the next line is.
    code = TORCH_IMPORT_FAILED if imported.is_no_torch else _OF_IMPORT[imported.outcome]
    return code.finding(
        **_said(imported),
        evidence=tuple(_evidence_of_import(imported)),
        fixes=(_look_at_import(snapshot, imported),),
    )


_LET_IT_HANG_S = 60
"""How long the import may take before its place is printed; the user can raise it."""


def _look_at_import(snapshot: Snapshot, imported: TorchImport) -> Fix:
    if imported.outcome == "hang":
        return see_where_it_hangs(_python(snapshot), "import torch", after_s=_LET_IT_HANG_S)
    return _try(snapshot, "import torch", "see the whole output of the import")


def _try(snapshot: Snapshot, code: str, summary: str) -> Fix:
    return try_in_target(_python(snapshot), code, summary=summary)


def _python(snapshot: Snapshot) -> str:
    target = snapshot.value(Target)
    return target.path if target else "python3"


def _said(imported: TorchImport) -> dict[str, Any]:
    """The arguments of the message for this outcome."""
    if imported.outcome == "signal":
        return {"signal": imported.signal}
    if imported.outcome == "hang":
        return {"seconds": round(imported.seconds)}
    if imported.outcome == "exit":
        return {"exit_code": imported.exit_code}
    if imported.is_no_torch:
        return {"exception": "no exception", "text": imported.in_place_of_torch}
    return {"exception": imported.exception or "an exception", "text": imported.in_one_line}


_ISOLATED: Mapping[str, str] = {
    "ok": "it works",
    "exception": "it fails as well",
    "signal": "it is ended by a signal",
    "exit": "it exits",
    "hang": "it hangs",
}


def _evidence_of_import(imported: TorchImport) -> Iterator[Evidence]:
    for frame in imported.frames[-1:]:
        yield Evidence(label="raised at", value=f"{frame.file}:{frame.line}", source="traceback")
    if imported.cause:
        yield Evidence(label="caused by", value=imported.cause, source="traceback")
    if imported.outcome in ("signal", "exit", "hang") and imported.output_tail:
        last = "\n".join(imported.output_tail.splitlines()[:_LINES_OF_OUTPUT])
        yield Evidence(label="it printed", value=last, source="import torch")
    if imported.isolated_outcome:
        yield Evidence(
            label="with `python -I`",
            value=_ISOLATED[imported.isolated_outcome],
            source="a second import, without cwd, PYTHONPATH and user site",
        )


def _of_companion(outcome: Outcome, snapshot: Snapshot) -> Finding:
    name, module = outcome.subject, module_of(outcome.subject)
    return COMPANION_IMPORT_FAILED.finding(
        subjects=(name,),
        breaks=(outcome.id,),
        package=module,
        text=outcome.detail or "it ended without a word",
        evidence=(Evidence(label=f"import {name}", value=outcome.detail, source=outcome.source),),
        fixes=(
            *_of_checkout(name, snapshot),
            _try(snapshot, f"import torch, {module}", "see the whole output of the import"),
        ),
        notes=("torch itself imports",),
    )


def _of_checkout(name: str, snapshot: Snapshot) -> Iterator[Fix]:
    """What is used from a checkout has the compiled modules that were built there for the torch of
    that day, or none."""
    installed = snapshot.value(Distributions)
    items = installed.items if installed else ()
    if any(one.editable for one in items if library_of(one.name) == name):
        yield Fix(
            summary=f"build {name} again in the checkout that it is used from (`pip install "
            "--no-build-isolation -e .`), for the torch that is here, or install a release of it"
        )


def _was_listed(outcome: Outcome, snapshot: Snapshot) -> bool:
    """Whether torch lists the device, so that something was tried on it."""
    if outcome.subject == "cpu":
        return True
    trace = snapshot.value(GpuTrace)
    gpus = trace.gpus if trace else ()
    return any(one.subject == outcome.subject and one.torch_index is not None for one in gpus)


def _of_first_use(outcome: Outcome, snapshot: Snapshot) -> Finding:
    device = _device(outcome.subject, snapshot)
    used = snapshot.value(TorchFirstUse)
    tried = used.operations if used else ()
    failed = [one for one in tried if one.device == device and one.error]
    text = f"x = torch.ones(2, 2, device='{device}'); print(x @ x)"
    return FIRST_USE_FAILED.finding(
        subjects=(outcome.subject,),
        breaks=(outcome.id,),
        text=outcome.detail,
        evidence=tuple(
            Evidence(label=one.operation, value=one.error or "", source=device)
            for one in failed[:1]
        )
        or (Evidence(label="it ended", value=outcome.detail, source=outcome.source),),
        fixes=(
            *_without_other_cuda(outcome.detail, snapshot),
            _try(snapshot, f"import torch; {text}", "try it by itself"),
        ),
    )


_OF_A_LIBRARY = re.compile(r"CUBLAS_STATUS|CUDNN_STATUS|cuDNN error|cublasLt")
_OF_OTHER_CUDA = re.compile(r"(?i)/(cuda|cudnn)(?!.*/(compat|stubs))")


def _without_other_cuda(error: str, snapshot: Snapshot) -> Iterator[Fix]:
    """The folders of another CUDA, whose libraries may have come before torch's own."""
    environment = snapshot.value(Environment)
    value = environment.variables.get("LD_LIBRARY_PATH", "") if environment else ""
    entries = value.split(":")
    unwanted = [one for one in entries if _OF_OTHER_CUDA.search(one)]
    if unwanted and _OF_A_LIBRARY.search(error):
        yield without_entry("LD_LIBRARY_PATH", entries, unwanted)


_MOST_RANKS = 16


def _of_collective(outcome: Outcome, snapshot: Snapshot) -> Finding:
    tried = snapshot.value(Collective)
    ranks = tried.ranks if tried else ()
    failed = [one for one in ranks if one.has_failed][:_MOST_RANKS]
    return COLLECTIVE_FAILED.finding(
        text=outcome.detail or None,
        evidence=tuple(
            Evidence(
                label=f"rank {one.rank} in `{one.phase}`",
                value=_of_rank(one),
                source=outcome.source,
            )
            for one in failed
        ),
        fixes=(
            Fix(
                summary="see more of what the libraries say, in the output of your own job",
                commands=("export NCCL_DEBUG=INFO TORCH_DISTRIBUTED_DEBUG=DETAIL",),
                safety=Safety.SAFE,
            ),
        ),
    )


def _of_rank(rank: JobRank) -> str:
    return {"died": f"died ({rank.how})", "silent": "no answer"}.get(rank.state, rank.error)


_ATTEMPTS: Mapping[str, tuple[type[CompileAttempts] | type[ExtendAttempts], Code, str, str]] = {
    "compile": (
        CompileAttempts,
        COMPILE_FAILED,
        " for ",
        "import torch; print(torch.compile(lambda x: x + 1)(torch.ones(2, device={!r})))",
    ),
    "extend": (
        ExtendAttempts,
        EXTENSION_FAILED,
        " in ",
        "from torch.utils.cpp_extension import load_inline as build; "
        "build('attempt', 'int f() {{ return 1; }}', functions=['f'], verbose=True)",
    ),
}
"""What was tried, by action: the fact, its code, the word before what it was tried on, and how it
is tried by itself."""


def _of_attempt(outcome: Outcome, snapshot: Snapshot) -> Finding:
    kind, code, before, line = _ATTEMPTS[outcome.action]
    trace, tried = snapshot.value(GpuTrace), snapshot.value(kind)
    items = tried.items if tried and trace else ()
    failed = [one for one in items if trace and trace.subject_of(one.on) == outcome.subject]
    device = failed[0].on if failed else "cpu"
    subjects = (outcome.subject,) if outcome.subject else ()
    return code.finding(
        subjects=subjects,
        breaks=(outcome.id,),
        where=before + in_words(subjects) if subjects else "",
        text=outcome.detail or "it ended without a word",
        evidence=tuple(
            Evidence(label=one.exception or "result", value=one.text.strip(), source=outcome.source)
            for one in failed
        )
        or (Evidence(label="it ended", value=outcome.detail, source=outcome.source),),
        fixes=(_try(snapshot, line.format(device), "see the whole of what the compilers say"),),
    )


def _device(subject: str, snapshot: Snapshot) -> str:
    """The name by which torch calls a subject."""
    trace = snapshot.value(GpuTrace)
    found = next((one for one in (trace.gpus if trace else ()) if one.subject == subject), None)
    return subject if found is None else f"cuda:{found.torch_index}"


def _of_gpu(outcome: Outcome, snapshot: Snapshot) -> Finding:
    runtime, build = snapshot.value(TorchRuntime), snapshot.value(TorchBuild)
    version = (runtime.version if runtime else None) or (build.version if build else None)
    named = outcome.subject.startswith("gpu:")
    return CUDA_UNAVAILABLE.finding(
        subjects=(outcome.subject,) if named else (),
        breaks=(outcome.id,),
        version=version,
        gpus="the GPU" if named else "a GPU",
        text=outcome.detail,
        evidence=(
            Evidence(label=outcome.source, value=outcome.detail, source="torch"),
            *_layers(snapshot),
        ),
        fixes=(_next_look(snapshot),),
        notes=tuple(_ruled_out(snapshot)),
    )


def _of_start(outcome: Outcome, snapshot: Snapshot) -> Finding:
    return CUDA_DOES_NOT_START.finding(
        subjects=(outcome.subject,),
        breaks=(outcome.id,),
        text=outcome.detail,
        evidence=(
            Evidence(label=outcome.source, value=outcome.detail, source="without torch"),
            *_layers(snapshot),
        ),
        fixes=(_look_at_gpu(snapshot),),
    )


def _look_at_gpu(snapshot: Snapshot) -> Fix:
    site = snapshot.value(Site) or Site()
    if site.os_family == "windows":
        return Fix(
            summary="look whether Windows and its driver show the GPU: Device Manager names the "
            "error of a device that does not start",
            commands=("nvidia-smi -L",),
            safety=Safety.SAFE,
        )
    return on_host(
        site,
        "look what the kernel says of the GPU",
        "nvidia-smi -L",
        "sudo dmesg | grep -iE 'nvidia|nvrm|xid' | tail",
    )


def _layers(snapshot: Snapshot) -> Iterator[Evidence]:
    """How many GPUs each layer shows, from the bus up."""
    trace = snapshot.value(GpuTrace)
    if trace is None:
        return
    counts = (
        ("PCI bus", trace.bus),
        ("kernel driver", trace.driver),
        ("NVML", trace.nvml),
        ("cuInit", trace.cuda),
        ("torch", trace.torch),
    )
    text = ", ".join(f"{name} {count}" for name, count in counts if count is not None)
    yield Evidence(label="GPUs by layer", value=text, source="each layer asked by itself")


def _ruled_out(snapshot: Snapshot) -> Iterator[str]:
    nvml, init = snapshot.value(Nvml), snapshot.value(CudaInit)
    if nvml is not None and nvml.status == "ok":
        yield "it is not the driver as a whole: NVML answers"
    if init is not None and init.code == 0 and init.device_count:
        yield "it is not CUDA as a whole: cuInit works without torch, in the same environment"
    if init is not None and init.code:
        yield f"it is not torch: without it cuInit ends with {init.status} as well"


def _next_look(snapshot: Snapshot) -> Fix:
    trace = snapshot.value(GpuTrace)
    lost_at = trace.lost_at if trace else None
    site = snapshot.value(Site) or Site()
    on_windows = site.os_family == "windows"
    if lost_at in ("driver", "nvml") or (lost_at == "cuda" and on_windows):
        return _look_at_gpu(snapshot)
    if lost_at == "cuda":
        contained = site.contained
        of_kernel = () if contained else ("sudo dmesg | grep -iE 'nvidia|nvrm|xid' | tail",)
        return Fix(
            summary="look why CUDA finds no GPU that the driver lists: which of its nodes this "
            "process can open, its compute mode, MIG, and what the kernel "
            + ("of the host says" if contained else "says"),
            commands=(
                "ls -l /dev/nvidia*",
                "nvidia-smi -q -d COMPUTE",
                "nvidia-smi -L",
                *of_kernel,
            ),
            safety=Safety.SAFE if contained else Safety.NEEDS_ROOT,
        )
    return _try(snapshot, "import torch; torch.cuda.init()", "look what torch itself says")
