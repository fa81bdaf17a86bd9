"""Errors of the first operation on a GPU, read: what the message of CUDA, cuDNN or cuBLAS says."""

import re
from collections.abc import Callable

from envdoctor.api import (
    Code,
    Confidence,
    CudaLog,
    Environment,
    Evidence,
    Findings,
    Fix,
    Gpus,
    GpuTrace,
    Layer,
    Prescription,
    Record,
    Safety,
    Severity,
    Site,
    TorchFirstUse,
    TorchRuntime,
    TracedGpu,
    check,
    covers,
    from_driver,
    is_vgpu,
    parse_number,
    prescribed,
    surroundings,
    system,
)

ECC_ERROR = Code(
    id="ED223",
    name="ecc-error",
    family="gpu-hw-fault",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.BUS,
    breaks="compute:gpu",
    message="the memory of a GPU has an error that ECC cannot correct",
    detailed="the memory of {subjects} has an error that ECC cannot correct",
)
GPU_BUSY = Code(
    id="ED224",
    name="gpu-busy",
    family="oom-other-process",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="another process has the GPU to itself: its compute mode is exclusive or prohibited",
    detailed="{subjects} cannot be used: another process has it to itself, or its compute mode "
    "prohibits work",
)
GPU_MEMORY_TAKEN = Code(
    id="ED225",
    name="gpu-memory-taken",
    family="oom-other-process",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="a small operation finds no memory on the GPU: other processes hold it",
    detailed="a small operation finds no memory on {subjects}: other processes hold it",
    explains=("ED606",),
)
UNSUPPORTED_BY_DRIVER = Code(
    id="ED227",
    name="unsupported-by-driver",
    family="driver-too-old",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="a kernel of torch needs what this driver or virtual GPU does not offer",
    detailed="a kernel of torch on {subjects} needs what this driver or virtual GPU does not "
    "offer: {text}",
)
FAULT_AT_FIRST_USE = Code(
    id="ED232",
    name="gpu-fault-at-first-use",
    family="gpu-hw-fault",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="a first small operation ends with a fault of the GPU",
    detailed="a first small operation ends with a fault of {subjects}: {text}",
)
KERNELS_MISSING = Code(
    id="ED228",
    name="kernels-missing",
    family="gpu-arch-too-old",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="this build of torch has no kernels for the GPU",
    detailed="this build of torch has no kernels for {gpu} ({subjects}){why}",
)


class Case(Record):
    """What is known when an operation on a GPU has failed."""

    gpu: TracedGpu
    site: Site
    prescription: Prescription | None
    hip: bool = False
    in_slurm: bool = False

    @property
    def index(self) -> int:
        """The number by which nvidia-smi knows the GPU."""
        known = self.gpu.nvml_index if self.gpu.nvml_index is not None else self.gpu.torch_index
        return known or 0


class Reading(Record):
    """A text that an error holds, and what it says."""

    text: re.Pattern[str]
    code: Code
    fixes: Callable[[Case], tuple[Fix, ...]]
    note: str
    confidence: Confidence = Confidence.CERTAIN


def _of_ecc(case: Case) -> tuple[Fix, ...]:
    if case.in_slurm:
        return (system.leave_out_node(),)
    return system.reset_gpu(case.site, case.index), system.replace_gpu()


def _of_fault(case: Case) -> tuple[Fix, ...]:
    if case.in_slurm:
        return (system.leave_out_node(),)
    if case.hip:
        return (
            system.look_at_amds_kernel_log(case.site),
            system.reset_amd_gpu(case.site, case.index),
            system.replace_gpu(),
        )
    return (
        system.look_at_kernel_log(case.site),
        system.reset_gpu(case.site, case.index),
        system.replace_gpu(),
    )


def _of_busy(case: Case) -> tuple[Fix, ...]:
    look = Fix(
        summary="look which process has it, and end that or use another GPU",
        commands=(f"nvidia-smi -i {case.index}", f"nvidia-smi -i {case.index} -q -d COMPUTE"),
        safety=Safety.SAFE,
    )
    return look, system.share_gpu(case.site, case.index)


def _of_memory(case: Case) -> tuple[Fix, ...]:
    smi = f"nvidia-smi -i {case.index} --query-compute-apps=pid,used_memory,name --format=csv"
    unseen = ", which may be those of other containers and not be shown here" * case.site.contained
    look = Fix(
        summary=f"look which processes hold its memory{unseen}, and end those that are left over",
        commands=("rocm-smi --showpids",) if case.hip else (smi,),
        safety=Safety.SAFE,
    )
    return (look,)


def _of_driver(case: Case) -> tuple[Fix, ...]:
    vgpu = is_vgpu(case.gpu.name or "")
    return (
        *((system.license_vgpu(case.site),) if vgpu else ()),
        system.on_host(
            case.site, "update the driver, or give the virtual GPU the profile that allows it"
        ),
        prescribed(case.prescription, "or install a build of torch for an older CUDA"),
    )


def _of_build(case: Case) -> tuple[Fix, ...]:
    if case.site.jetson:
        return (system.torch_of_jetpack(case.site),)
    return (prescribed(case.prescription, "install a build that has kernels for this GPU"),)


_OF_MEMORY = Reading(
    text=re.compile(
        r"(CUDA|HIP) (error: )?out of memory|CU(DNN|BLAS)_STATUS_ALLOC_FAILED", re.IGNORECASE
    ),
    code=GPU_MEMORY_TAKEN,
    fixes=_of_memory,
    note="the operation that failed needs some megabytes beside CUDA's own context",
    confidence=Confidence.LIKELY,
)
_OF_A_HANDLE = re.compile(r"CU(DNN|BLAS)_STATUS_NOT_INITIALIZED")
"""What cuBLAS and cuDNN say where they find no memory for their handle, and in other cases."""

_FULL = 0.9
"""The part of a GPU's memory from which on a handle of some hundred megabytes finds no place."""

_READINGS = (
    Reading(
        text=re.compile(r"uncorrectable ECC error", re.IGNORECASE),
        code=ECC_ERROR,
        fixes=_of_ecc,
        note="NVIDIA GPU Memory Error Management (docs.nvidia.com/deploy)",
    ),
    Reading(
        text=re.compile(
            r"NVLink error|hardware stack error|unspecified launch failure|illegal instruction|"
            r"illegal memory access|misaligned address|"
            r"GPU is lost|fallen off the bus",
            re.IGNORECASE,
        ),
        code=FAULT_AT_FIRST_USE,
        fixes=_of_fault,
        note="a program of one matrix product has no fault of its own; the Xid in the kernel's log "
        "says which the GPU has (NVIDIA, GPU Debug Guidelines)",
        confidence=Confidence.LIKELY,
    ),
    Reading(
        text=re.compile(r"busy or unavailable|exclusive.process", re.IGNORECASE),
        code=GPU_BUSY,
        fixes=_of_busy,
        note="cudaErrorDevicesUnavailable, 46 (CUDA Runtime API, cudaError)",
    ),
    _OF_MEMORY,
    Reading(
        text=re.compile(
            r"unsupported toolchain|PTX JIT compil|operation not supported|"
            r"not supported in the installed CUDA driver|driver version is insufficient",
            re.IGNORECASE,
        ),
        code=UNSUPPORTED_BY_DRIVER,
        fixes=_of_driver,
        note="cudaErrorUnsupportedPtxVersion, cudaErrorNotSupported, "
        "cudaErrorCallRequiresNewerDriver (CUDA Runtime API, cudaError)",
        confidence=Confidence.LIKELY,
    ),
    Reading(
        text=re.compile(
            r"no kernel image is available|invalid device function"
            r"|invalid value for --gpu-architecture",
            re.IGNORECASE,
        ),
        code=KERNELS_MISSING,
        fixes=_of_build,
        note="cudaErrorNoKernelImageForDevice (CUDA Runtime API, cudaError)",
    ),
)


@check(
    ECC_ERROR,
    FAULT_AT_FIRST_USE,
    GPU_BUSY,
    GPU_MEMORY_TAKEN,
    UNSUPPORTED_BY_DRIVER,
    KERNELS_MISSING,
)
def error_of_first_use(
    used: TorchFirstUse,
    trace: GpuTrace,
    site: Site,
    prescription: Prescription | None,
    runtime: TorchRuntime | None,
    gpus: Gpus | None,
    environment: Environment | None,
    log: CudaLog | None,
) -> Findings:
    """What the first error on each GPU says of its cause."""
    told: set[str] = set()
    for use in used.operations:
        gpu = trace.of_torch(_number(use.device))
        if use.error is None or gpu is None or gpu.subject in told:
            continue
        told.add(gpu.subject)
        reading = next((one for one in _READINGS if one.text.search(use.error)), None)
        if reading is None and _is_full(gpu, gpus) and _OF_A_HANDLE.search(use.error):
            reading = _OF_MEMORY
        if reading is None or (reading.code is KERNELS_MISSING and _is_hip(runtime)):
            continue
        passed_over = reading.code is KERNELS_MISSING and _passes_over(gpu, runtime, environment)
        why = f", as {_FORCE_PTX} has the driver pass over those that it has"
        yield reading.code.finding(
            subjects=(gpu.subject,),
            confidence=reading.confidence,
            gpu=gpu.described,
            why=why if passed_over else "",
            text=use.error.splitlines()[0],
            evidence=(
                Evidence(label=use.operation, value=use.error, source=use.device),
                *from_driver(log.of("first use") if log else ""),
            ),
            fixes=(surroundings.unset(_FORCE_PTX),)
            if passed_over
            else reading.fixes(
                Case(
                    gpu=gpu,
                    site=site,
                    prescription=prescription,
                    hip=_is_hip(runtime),
                    in_slurm=environment is not None and "SLURM_JOB_ID" in environment.variables,
                )
            ),
            notes=(reading.note,),
        )


def _is_hip(runtime: TorchRuntime | None) -> bool:
    return runtime is not None and runtime.hip is not None


_FORCE_PTX = "CUDA_FORCE_PTX_JIT"
"""Has the driver compile PTX and use no kernel that is compiled already (CUDA, Ampere Compatibility
Guide); PyTorch's wheels have PTX for their newest architecture at most."""


def _passes_over(
    gpu: TracedGpu, runtime: TorchRuntime | None, environment: Environment | None
) -> bool:
    """Whether the build has a kernel for the GPU, which a variable keeps from being used."""
    forced = environment is not None and environment.variables.get(_FORCE_PTX) == "1"
    capability = gpu.compute_capability
    if not forced or runtime is None or not capability:
        return False
    return covers(runtime.arch_list, capability)


def _is_full(gpu: TracedGpu, gpus: Gpus | None) -> bool:
    """Whether next to nothing of the GPU's memory is free."""
    for one in gpus.devices if gpus else ():
        used, total = one.memory_used_bytes, one.memory_bytes
        if one.index == gpu.nvml_index and used and total:
            return used > _FULL * total
    return False


def _number(device: str) -> int:
    number = parse_number(device.rpartition(":")[2])
    return -1 if number is None else number
