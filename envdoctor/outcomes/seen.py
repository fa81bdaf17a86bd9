"""What the user wants torch to do here, and whether it does. Pure.

Outcomes decide, findings explain: what was seen to work is not broken, what was seen to fail is
never healthy, and what nobody looked at is neither.
"""

import re
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from envdoctor.companions import PYTORCHS_OWN, library_of
from envdoctor.facts import Fact, Reason, Snapshot, Unknown
from envdoctor.facts.attached import RenderNodes
from envdoctor.facts.collective import Collective
from envdoctor.facts.derived import GpuTrace, TracedGpu, Wanted
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.machine import (
    Container,
    CudaInit,
    Driver,
    Environment,
    Expectation,
    Gpus,
    Nvml,
    PciGpus,
)
from envdoctor.facts.python import Distributions, InstalledFiles
from envdoctor.facts.torch import (
    CompanionImport,
    CompanionImports,
    FirstUse,
    TorchBuild,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
)
from envdoctor.options import Scope
from envdoctor.outcomes.attempts import attempted
from envdoctor.outcomes.record import Outcome, WantedState, unseen
from envdoctor.plugins import derive
from envdoctor.withheld_gpus import HIDES_EVERY_GPU, gpu_nodes

# --- what is wanted ---


@derive(Wanted)
def wanted_gpu(
    trace: GpuTrace,
    expectation: Expectation | None,
    environment: Environment | None,
    build: TorchBuild | None,
    runtime: TorchRuntime | None,
    driver: Driver | None,
    container: Container | None,
    pci: PciGpus | None,
    gpus: Gpus | None,
    nvml: Nvml | None,
    nodes: RenderNodes | None,
) -> Wanted:
    """Whether torch is wanted to compute on a GPU here, by the first sign that tells."""
    expected = expectation.device if expectation else None
    if expected is not None:
        evidence = expectation.evidence if expectation else ""
        return Wanted(gpu="yes" if expected == "gpu" else "no", because=evidence or "the user")
    backend = _backend(build, runtime)
    withheld = _withheld(backend, environment, driver, container)
    if withheld:
        return Wanted(gpu="no", because=withheld)
    amd = pci is not None and any(one.vendor_id == _AMD for one in pci.devices)
    if trace.visible or (backend == "hip" and amd):
        return _where_one_is_there(backend, trace, driver, container)
    intel = pci is not None and any(one.vendor_id == _INTEL for one in pci.devices)
    if backend == "xpu" and intel and nodes is not None and nodes.all_closed:
        return Wanted(gpu="yes", because="a GPU of Intel is here, and closed to this user")
    if backend == "cpu":
        return Wanted(gpu="no", because="torch is a build for the CPU, and no GPU is for it")
    if pci is None and gpus is None and nvml is None:
        return Wanted(gpu="unknown", because="neither the PCI bus nor NVML could be asked for GPUs")
    if backend is None:
        return Wanted(gpu="no", because="no GPU is here")
    return Wanted(gpu="elsewhere", because="torch is a build for GPUs, and none is here")


def _withheld(
    backend: str | None,
    environment: Environment | None,
    driver: Driver | None,
    container: Container | None,
) -> str:
    """What keeps every GPU from this process on purpose; empty where nothing does."""
    variables = environment.variables if environment else {}
    for name in ("CUDA_VISIBLE_DEVICES", *(_OF_ROCM if backend == "hip" else ())):
        if variables.get(name, "0").strip() in HIDES_EVERY_GPU:
            return f"{name} is `{variables[name]}`"
    nodes = gpu_nodes(driver.device_nodes) if driver else []
    open_nodes = [node for node in nodes if driver and node not in driver.unusable_nodes]
    given = variables.get("NVIDIA_VISIBLE_DEVICES") or (
        container.nvidia_visible_devices if container else None
    )
    # With CDI the variable is `void` in a container that has been given GPUs as well.
    if given in ("void", "none") and not nodes:
        return f"NVIDIA_VISIBLE_DEVICES is `{given}`"
    # Slurm closes the nodes by the device cgroup, or shows none (cgroup.conf(5), ConstrainDevices).
    if asked_slurm_for_none(variables) and not open_nodes:
        return "the Slurm job asked for no GPU"
    return ""


def asked_slurm_for_none(variables: Mapping[str, str]) -> bool:
    """Whether this is a job of Slurm that was given no GPU."""
    return "SLURM_JOB_ID" in variables and not any(name in variables for name in _ASKED_OF_SLURM)


_AMD = "1002"
"""AMD's vendor id on the PCI bus."""

_INTEL = "8086"
"""Intel's."""

_OF_ROCM = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""What a ROCm build reads beside CUDA_VISIBLE_DEVICES (ROCm documentation, GPU isolation)."""

_ASKED_OF_SLURM = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS", "SLURM_GPUS_ON_NODE")
"""What Slurm sets in a job that was given GPUs (sbatch(1), "OUTPUT ENVIRONMENT VARIABLES")."""


def _backend(build: TorchBuild | None, runtime: TorchRuntime | None) -> str | None:
    """cuda, hip, xpu or cpu; None where no torch tells."""
    one = runtime or build
    if one is None:
        return None
    variant = build.variant if build else ""
    if one.cuda:
        return "cuda"
    if one.hip:
        return "hip"
    return "xpu" if variant.startswith("xpu") or "+xpu" in (one.version or "") else "cpu"


def _where_one_is_there(
    backend: str | None, trace: GpuTrace, driver: Driver | None, container: Container | None
) -> Wanted:
    contained = container is not None and container.kind != "none"
    reached = any(
        gpu.nvml_index is not None or gpu.torch_index is not None for gpu in trace.visible
    )
    none_given = contained and not reached and driver is not None and not driver.device_nodes
    if backend in ("cpu", None) and none_given:
        return Wanted(gpu="no", because="this container was given no GPU, and torch asks for none")
    return Wanted(gpu="yes", because="a GPU is here")


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
            *_companions(snapshot),
            *attempted(snapshot),
        )
    return (
        _import(snapshot),
        _compute_on_cpu(snapshot),
        *_compute_on_gpus(snapshot, wanted, trace),
        *_companions(snapshot),
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
    if _backend(build, runtime.value) == "xpu" and _is_on_bus(snapshot, _INTEL):
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
    elif not trace.visible and _is_on_bus(snapshot, _AMD):
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


def _companions(snapshot: Snapshot) -> Iterator[Outcome]:
    yield from _numpy(snapshot)
    fact = snapshot.get(CompanionImports)
    if isinstance(fact, Unknown):
        yield from _unseen_companions(snapshot, fact)
        return
    for one in fact.value.items:
        reason = _no_need_here(one, snapshot)
        yield _left_out(one, reason) if reason else _imported(one)
    late = Unknown(reason=Reason.TIMED_OUT, detail="there was no time left for it")
    installed = snapshot.value(Distributions)
    there = {library_of(one.name) for one in installed.items} if installed else set()
    for name in fact.value.unseen:
        if installed is None or name in there:
            yield unseen("import", name, late, _wanted(name))


def _wanted(library: str) -> WantedState:
    """PyTorch's own libraries, installed and not importable, break the verdict; others, and
    compiling and extending, only degrade it."""
    return "yes" if library in PYTORCHS_OWN else "optional"


def _imported(one: CompanionImport) -> Outcome:
    return Outcome(
        action="import",
        subject=one.name,
        wanted=_wanted(one.name),
        state="works" if one.outcome == "ok" else "fails",
        detail=_of_companion(one),
        source=f"import {one.name}",
    )


_OF_THE_DRIVER = re.compile(
    r"libcuda\.so|no (?:NVIDIA )?(?:driver|CUDA-capable)|NVIDIA driver|0 active drivers", re.I
)


def _no_need_here(one: CompanionImport, snapshot: Snapshot) -> str:
    """Why a failed import does not matter where no GPU is to be used; empty if it does.

    CuPy imports nowhere without a driver, and Triton compiles for GPUs alone.
    """
    wanted = snapshot.value(Wanted)
    if one.outcome == "ok" or wanted is None or wanted.gpu not in ("no", "elsewhere"):
        return ""
    if one.outcome == "exception" and _OF_THE_DRIVER.search(one.message):
        return "it needs an NVIDIA driver"
    return "it compiles for GPUs, and none is used" if one.name == "triton" else ""


def _left_out(one: CompanionImport, reason: str) -> Outcome:
    why = Unknown(reason=Reason.NOT_APPLICABLE, detail=reason)
    return unseen("import", one.name, why, "optional")


_WITHOUT_NUMPY = "compiled without numpy"


def _numpy(snapshot: Snapshot) -> Iterator[Outcome]:
    """Arrays and tensors made of each other, where numpy is installed."""
    runtime, installed = snapshot.value(TorchRuntime), snapshot.value(Distributions)
    if runtime is None or installed is None or installed.first("numpy") is None:
        return
    error = (runtime.numpy_error or "").strip()
    by_choice = _WITHOUT_NUMPY in error.lower()
    yield Outcome(
        action="import",
        subject="numpy",
        wanted="optional" if by_choice else "yes",
        state="fails" if error else "works",
        detail=error.splitlines()[0] if error else "",
        source="torch.zeros(1).numpy()",
    )


def _unseen_companions(snapshot: Snapshot, why: Unknown) -> Iterator[Outcome]:
    """PyTorch's own libraries that are installed, where their import was to be tried.

    Older files know no such look, and are as whole without it.
    """
    installed = snapshot.value(Distributions)
    if installed is None or why.reason in (Reason.NOT_OBSERVED, Reason.NOT_APPLICABLE):
        return
    for name in PYTORCHS_OWN:
        if installed.first(name) is not None:
            yield unseen("import", name, why)


def _of_companion(one: CompanionImport) -> str:
    if one.outcome == "ok":
        return ""
    if one.exception:
        text = f"{one.exception}: {(one.message.strip().splitlines() or [''])[0]}"
        return f"{one.operation}: {text}" if one.operation else text
    return one.message
