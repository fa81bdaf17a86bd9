"""What the user wants torch to do here, and whether it does. Pure.

Outcomes decide, findings explain: what was seen to work is not broken, what was seen to fail is
never healthy, and what nobody looked at is neither.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.facts import Fact, Reason, Snapshot, Unknown
from envdoctor.facts.collective import Collective
from envdoctor.facts.derived import GpuTrace, TracedGpu, Wanted
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.machine import CudaInit, Driver, Nvml, PciGpus
from envdoctor.facts.python import Distributions, InstalledFiles
from envdoctor.facts.torch import FirstUse, TorchBuild, TorchFirstUse, TorchImport, TorchRuntime
from envdoctor.options import Scope
from envdoctor.outcomes.attempts import attempted
from envdoctor.outcomes.companions import companions_of
from envdoctor.outcomes.record import Outcome, WantedState, unseen
from envdoctor.outcomes.wanted import AMD, INTEL, backend_of

# --- what is wanted ---


# --- what was seen ---


def outcomes_of(snapshot: Snapshot, scope: Scope | None = None) -> tuple[Outcome, ...]:
    """Every outcome that is wanted here or was seen, as far as the facts tell, and in scope."""
    wanted = snapshot.value(Wanted) or Wanted(gpu="unknown", because="it was not worked out")
    trace = snapshot.value(GpuTrace) or GpuTrace(gpus=())
    if scope == "node":
        return tuple(_start_on_gpus(snapshot, wanted, trace))
    if scope == "user":
        return (
            _import(snapshot),
            _compute_on_cpu(snapshot),
            *companions_of(snapshot),
            *attempted(snapshot),
        )
    return (
        _import(snapshot),
        _compute_on_cpu(snapshot),
        *_compute_on_gpus(snapshot, wanted, trace),
        *companions_of(snapshot),
        *_distributed(snapshot),
        *attempted(snapshot),
    )


def _import(snapshot: Snapshot) -> Outcome:
    fact = snapshot.get(TorchImport)
    if isinstance(fact, Unknown):
        return unseen("import", "torch", _why_nobody_knows(snapshot, fact))
    found = fact.value
    # Facts that do not tell where torch was imported from may still tell that it was used.
    empty = found.is_no_torch and snapshot.value(TorchRuntime) is None
    works = found.outcome == "ok" and not empty
    return Outcome(
        action="import",
        subject="torch",
        state="works" if works else "fails",
        detail=found.in_place_of_torch if empty else _of_import(found),
        source="import torch",
    )


def _of_import(found: TorchImport) -> str:
    if found.outcome == "signal":
        return found.message or f"it was ended by {found.signal}"
    if found.outcome == "hang":
        return found.message or f"no answer within {found.seconds:.0f} s"
    if found.outcome == "exit":
        return found.message or f"it ended the interpreter with code {found.exit_code}"
    return found.in_one_line


_FORETELL: tuple[type[Fact], ...] = (Distributions, TorchBuild, LibraryResolution, InstalledFiles)
"""What tells whether an import would work, where it is not tried."""


def _why_nobody_knows(snapshot: Snapshot, why: Unknown) -> Unknown:
    """Who leaves an import out relies on what foretells it: where looking at that failed, nobody
    chose not to know."""
    if why.reason is not Reason.SWITCHED_OFF:
        return why
    others = [snapshot.get(kind) for kind in _FORETELL]
    unknown = [one for one in others if isinstance(one, Unknown)]
    return next((one for one in unknown if one.reason.is_failure), why)


def _compute_on_cpu(snapshot: Snapshot) -> Outcome:
    fact, runtime = snapshot.get(TorchFirstUse), snapshot.value(TorchRuntime)
    if not isinstance(fact, Unknown):
        return _computed("cpu", "cpu", fact.value, "yes")
    imported = snapshot.value(TorchImport)
    if runtime is None and imported is not None and imported.is_no_torch:
        fact = Unknown(reason=Reason.NOT_OBSERVED, detail="no PyTorch was imported")
    if runtime is not None and not runtime.device_count:
        # Without a GPU in torch, it is the CPU that the interpreter died on.
        return _unseen_or_crashed("cpu", fact, "the first operation")
    return unseen("compute", "cpu", fact)


def _computed(subject: str, device: str, used: TorchFirstUse, wanted: WantedState) -> Outcome:
    operations = [one for one in used.operations if one.device == device]
    failed = next((one for one in operations if one.error is not None), None)
    if not operations:
        nobody = Unknown(reason=Reason.NOT_OBSERVED, detail=f"nothing was tried on {device}")
        return unseen("compute", subject, nobody, wanted)
    return Outcome(
        action="compute",
        subject=subject,
        wanted=wanted,
        state="fails" if failed else "works",
        detail=_of_failure(failed) if failed else "",
        source=f"a first {failed.operation if failed else 'matmul and convolution'} on {device}",
    )


def _of_failure(use: FirstUse) -> str:
    first = next(iter((use.error or "").strip().splitlines()), "it fails without a word")
    return f"{use.operation}: {first}"


def _compute_on_gpus(snapshot: Snapshot, wanted: Wanted, trace: GpuTrace) -> Iterator[Outcome]:
    if wanted.gpu == "no":
        return
    if wanted.gpu != "yes":
        reason = Reason.NOT_APPLICABLE if wanted.gpu == "elsewhere" else Reason.NOT_OBSERVED
        why = Unknown(reason=reason, detail=wanted.because)
        yield unseen("compute", "gpu", why, wanted.gpu)
        return
    seen = [_compute_on_gpu(snapshot, gpu) for gpu in trace.visible]
    if not seen:
        yield _compute_on_any_gpu(snapshot)
        return
    one_works = any(one.state == "works" for one in seen)
    for gpu, outcome in zip(trace.visible, seen, strict=True):
        # Beside a GPU that computes, an unlike one that this build has no code for is a choice, and
        # so is one that this driver does not serve, or that was made ready for MIG.
        spare = one_works and outcome.state == "fails" and not _is_served(gpu, snapshot)
        yield replace(outcome, wanted="optional") if spare else outcome


def _is_served(gpu: TracedGpu, snapshot: Snapshot) -> bool:
    """Whether what failed there is anything but that this build has no code for that GPU, or that
    the driver does not offer it as it is set up."""
    if gpu.unserved or (gpu.mig_mode and gpu.torch_index is None):
        return False
    build = snapshot.value(TorchBuild)
    if gpu.torch_index is None and build and build.variant.startswith(("rocm", "xpu")):
        # A display card of NVIDIA beside the GPU that such a build is for.
        return False
    used = snapshot.value(TorchFirstUse)
    device = f"cuda:{gpu.torch_index}"
    errors = [one.error or "" for one in (used.operations if used else ()) if one.device == device]
    return not any(words in error for error in errors for words in _NO_CODE_FOR_IT)


_NO_CODE_FOR_IT = ("no kernel image", "HIP error: invalid device function")
"""What CUDA and HIP say where a build has no code for a GPU."""


def _compute_on_gpu(snapshot: Snapshot, gpu: TracedGpu) -> Outcome:
    runtime = snapshot.get(TorchRuntime)
    if isinstance(runtime, Unknown):
        return _unseen_or_crashed(gpu.subject, runtime, "the first CUDA call")
    if gpu.torch_index is None:
        return _without_torch(gpu.subject, runtime.value)
    used = snapshot.get(TorchFirstUse)
    if isinstance(used, Unknown):
        return _unseen_or_crashed(gpu.subject, used, "the first operation")
    return _computed(gpu.subject, f"cuda:{gpu.torch_index}", used.value, "yes")


def _unseen_or_crashed(subject: str, why: Unknown, what: str) -> Outcome:
    if why.reason is not Reason.CRASHED:
        return unseen("compute", subject, why)
    return Outcome(action="compute", subject=subject, state="fails", detail=why.detail, source=what)


def _without_torch(subject: str, runtime: TorchRuntime) -> Outcome:
    error = (runtime.cuda_error or "").strip().splitlines()
    return Outcome(
        action="compute",
        subject=subject,
        state="fails",
        detail=error[0] if error else "torch does not list it",
        source="torch.cuda.init()" if error else "torch.cuda.device_count()",
    )


def _compute_on_any_gpu(snapshot: Snapshot) -> Outcome:
    """A GPU is wanted and no layer shows one by name."""
    runtime = snapshot.get(TorchRuntime)
    if isinstance(runtime, Unknown):
        return _unseen_or_crashed("gpu", runtime, "the first CUDA call")
    build = snapshot.value(TorchBuild)
    vendor = "Apple" if runtime.value.mps_available else ""
    if backend_of(build, runtime.value) == "xpu" and _is_on_bus(snapshot, INTEL):
        vendor = "" if runtime.value.xpu_count == 0 else "Intel"
    if vendor:
        why = Unknown(reason=Reason.NOT_OBSERVED, detail=f"nothing was tried on {vendor}'s GPU")
        return unseen("compute", "gpu", why)
    return _without_torch("gpu", runtime.value)


def _is_on_bus(snapshot: Snapshot, vendor_id: str) -> bool:
    pci = snapshot.value(PciGpus)
    return pci is not None and any(one.vendor_id == vendor_id for one in pci.devices)


# --- of a machine alone ---


def _start_on_gpus(snapshot: Snapshot, wanted: Wanted, trace: GpuTrace) -> Iterator[Outcome]:
    """Whether the driver starts CUDA on every GPU, tried without torch."""
    if wanted.gpu == "no":
        return
    init, nvml, driver = snapshot.get(CudaInit), snapshot.value(Nvml), snapshot.value(Driver)
    subjects = [gpu.subject for gpu in trace.visible] or ["gpu"]
    if wanted.gpu != "yes":
        why = Unknown(reason=Reason.NOT_OBSERVED, detail=wanted.because)
        yield unseen("start", "gpu", why, wanted.gpu)
    elif not trace.visible and _is_on_bus(snapshot, AMD):
        why = Unknown(reason=Reason.NOT_OBSERVED, detail="no look here starts ROCm on AMD's GPUs")
        yield unseen("start", "gpu", why)
    elif isinstance(init, Unknown):
        yield from (unseen("start", subject, init) for subject in subjects)
    elif init.value.code is None and driver is not None and driver.of_containers:
        told = f"the driver is for containers, in `{driver.of_containers}`, and none was started"
        why = Unknown(reason=Reason.NOT_OBSERVED, detail=told)
        yield from (unseen("start", subject, why) for subject in subjects)
    elif init.value.code != 0:
        text = f"{init.value.status}: {init.value.message}".removesuffix(": ")
        yield from (_not_started(subject, text) for subject in subjects)
    elif nvml is not None and nvml.status in _NEEDS_A_RESET:
        yield from (_not_started(subject, nvml.status, "NVML") for subject in subjects)
    elif not trace.visible:
        yield _not_started("gpu", "no NVIDIA GPU is here")
    else:
        yield from (_started(gpu, trace) for gpu in trace.visible)


_NEEDS_A_RESET = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED")
"""A GPU that no new process can use (NVML API, nvmlReturn_t)."""


def _not_started(subject: str, detail: str, source: str = "cuInit") -> Outcome:
    return Outcome(action="start", subject=subject, state="fails", detail=detail, source=source)


def _started(gpu: TracedGpu, trace: GpuTrace) -> Outcome:
    """Where cuInit lists too few and NVML does not say which are missing, none is sure."""
    if gpu.nvml_error:
        return _not_started(gpu.subject, gpu.nvml_error, "NVML")
    missing = trace.nvml is not None and gpu.nvml_index is None
    known = trace.nvml is not None and any(one.nvml_index is None for one in trace.visible)
    if trace.lost_at is not None and (missing or not known):
        return _not_started(gpu.subject, f"{trace.cuda or 0} of {len(trace.visible)} are listed")
    return Outcome(action="start", subject=gpu.subject, state="works", source="cuInit")


# --- between processes ---


def _distributed(snapshot: Snapshot) -> Iterator[Outcome]:
    """Whether ranks reach each other, where that was tried."""
    fact = snapshot.get(Collective)
    if isinstance(fact, Unknown):
        if fact.reason is not Reason.NOT_OBSERVED:
            yield unseen("distributed", "", fact)
        return
    tried = fact.value
    yield Outcome(
        action="distributed",
        state="works" if tried.works else "fails",
        detail="" if tried.works else tried.in_one_line,
        source=f"an all-reduce with {tried.backend}",
    )


# --- beside torch ---
