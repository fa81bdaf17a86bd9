"""A GPU on which nothing computes, where nothing lower explains it: what was ruled out."""

import re
from collections.abc import Iterator

from envdoctor.facts import Fact, Known, Snapshot, Unknown
from envdoctor.facts.derived import GpuTrace
from envdoctor.facts.machine import CudaInit, Environment, Nvml
from envdoctor.facts.torch import CudaLog, TorchBuild, TorchFirstUse, TorchRuntime
from envdoctor.findings import Evidence, Finding, Fix, Safety, from_driver
from envdoctor.outcomes import Outcome
from envdoctor.repair.site import Site
from envdoctor.repair.surroundings import without_entry
from envdoctor.repair.system.place import on_host
from envdoctor.symptoms.codes import (
    CUDA_DOES_NOT_START,
    CUDA_UNAVAILABLE,
    DRIVER_HANGS,
    FIRST_USE_FAILED,
)
from envdoctor.symptoms.trying import line_to_try

_ASKED: tuple[tuple[type[Fact], str], ...] = ((Nvml, "NVML"), (CudaInit, "cuInit"))


def of_silence(snapshot: Snapshot) -> Iterator[Finding]:
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


def was_listed(outcome: Outcome, snapshot: Snapshot) -> bool:
    """Whether torch lists the device, so that something was tried on it."""
    if outcome.subject == "cpu":
        return True
    trace = snapshot.value(GpuTrace)
    gpus = trace.gpus if trace else ()
    return any(one.subject == outcome.subject and one.torch_index is not None for one in gpus)


def of_first_use(outcome: Outcome, snapshot: Snapshot) -> Finding:
    device = _device(outcome.subject, snapshot)
    used = snapshot.value(TorchFirstUse)
    tried = used.operations if used else ()
    failed = [one for one in tried if one.device == device and one.error]
    text = f"x = torch.ones(2, 2, device='{device}'); print(x @ x)"
    return FIRST_USE_FAILED.finding(
        subjects=(outcome.subject,),
        breaks=(outcome.id,),
        text=outcome.detail,
        evidence=(
            Evidence(label=failed[0].operation, value=failed[0].error or "", source=device)
            if failed
            else Evidence(label="it ended", value=outcome.detail, source=outcome.source),
            *(from_driver(log_of("first use", snapshot)) if device != "cpu" else ()),
        ),
        fixes=(
            *_without_other_cuda(outcome.detail, snapshot),
            line_to_try(snapshot, f"import torch; {text}", "try it by itself"),
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


_NO_DEVICE = 100


def log_of(stage: str, snapshot: Snapshot) -> str:
    """What the driver wrote in that stage, unless another finding has it: that of an error of
    cuInit which is more than that there is no device (CUDA_ERROR_NO_DEVICE)."""
    log, init = snapshot.value(CudaLog), snapshot.value(CudaInit)
    text = log.of(stage) if log else ""
    told = init.log if init and init.code != _NO_DEVICE else ""
    return "" if text == told else text


def _device(subject: str, snapshot: Snapshot) -> str:
    """The name by which torch calls a subject."""
    trace = snapshot.value(GpuTrace)
    found = next((one for one in (trace.gpus if trace else ()) if one.subject == subject), None)
    return subject if found is None else f"cuda:{found.torch_index}"


def of_gpu(outcome: Outcome, snapshot: Snapshot) -> Finding:
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
            *from_driver(log_of("torch runtime", snapshot)),
        ),
        fixes=(_next_look(snapshot),),
        notes=tuple(_ruled_out(snapshot)),
    )


def of_start(outcome: Outcome, snapshot: Snapshot) -> Finding:
    init = snapshot.value(CudaInit)
    return CUDA_DOES_NOT_START.finding(
        subjects=(outcome.subject,),
        breaks=(outcome.id,),
        text=outcome.detail,
        evidence=(
            Evidence(label=outcome.source, value=outcome.detail, source="without torch"),
            *_layers(snapshot),
            *from_driver(init.log if init and init.code == _NO_DEVICE else ""),
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
    return line_to_try(snapshot, "import torch; torch.cuda.init()", "look what torch itself says")
