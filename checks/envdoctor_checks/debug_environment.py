"""Variables that slow down what torch computes on."""

from collections.abc import Callable

from envdoctor.api import (
    Code,
    Environment,
    Evidence,
    Findings,
    Fix,
    Gpus,
    Layer,
    Network,
    Record,
    Severity,
    TorchBuild,
    TorchRuntime,
    check,
    surroundings,
)
from envdoctor_checks.job import job_of
from envdoctor_checks.used_gpus import (
    UsedGpus,
    used_gpus,
    with_a_fast_network,
    with_a_gpu,
    with_an_amd_gpu,
    with_an_nvidia_gpu,
    with_peer_gpus,
    with_several_gpus,
    with_tf32,
    without_peer_access,
)

DEBUG_ENVIRONMENT = Code(
    id="ED609",
    name="debug-environment",
    family="debug-environment",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    fault="environment",
    message="a variable for debugging is set, which slows training down",
    detailed="{variable}={value} is set, which {effect}",
    explains=("ED600",),
)


class SlowingVariable(Record):
    """A variable that slows down the machines that `concerns` names, when it has one of these
    values, in upper case; with any value at all where `values` is empty. `unless` completes the
    advice to unset it. `concerns` gives None where that cannot be known."""

    name: str
    values: tuple[str, ...]
    effect: str
    concerns: Callable[[UsedGpus], bool | None]
    severity: Severity = Severity.WARNING
    unless: str = "a bug is being looked for"


SLOWING_VARIABLES = (
    SlowingVariable(
        name="CUDA_LAUNCH_BLOCKING",
        values=("1",),
        effect="makes the CPU wait for every kernel",
        concerns=with_an_nvidia_gpu,
    ),
    SlowingVariable(
        name="HIP_LAUNCH_BLOCKING",
        values=("1",),
        effect="makes the CPU wait for every kernel",
        concerns=with_an_amd_gpu,
    ),
    SlowingVariable(
        name="AMD_SERIALIZE_KERNEL",
        values=("1", "2", "3"),
        effect="makes the CPU wait before or after every kernel",
        concerns=with_an_amd_gpu,
    ),
    SlowingVariable(
        name="CUDA_FORCE_PTX_JIT",
        values=("1",),
        effect="has the driver compile all kernels from PTX, and leaves out those without",
        concerns=with_an_nvidia_gpu,
    ),
    SlowingVariable(
        name="TORCHDYNAMO_DISABLE",
        values=("1",),
        effect="lets torch.compile do nothing",
        concerns=with_a_gpu,
        severity=Severity.INFO,
    ),
    SlowingVariable(
        name="TORCH_COMPILE_DISABLE",
        values=("1",),
        effect="lets torch.compile do nothing",
        concerns=with_a_gpu,
        severity=Severity.INFO,
    ),
    SlowingVariable(
        name="PYTORCH_NO_CUDA_MEMORY_CACHING",
        values=(),
        effect="asks the driver for every tensor's memory again",
        concerns=with_a_gpu,
    ),
    SlowingVariable(
        name="CUDA_CACHE_DISABLE",
        values=("1",),
        effect="compiles PTX again in every process that needs it",
        concerns=with_an_nvidia_gpu,
        severity=Severity.INFO,
    ),
    SlowingVariable(
        name="CUDA_MODULE_LOADING",
        values=("EAGER",),
        effect="loads every kernel of every library at the start, and keeps them in the GPU's "
        "memory",
        concerns=with_an_nvidia_gpu,
        severity=Severity.INFO,
        unless="the first step is to be as quick as the others",
    ),
    SlowingVariable(
        name="CUBLAS_WORKSPACE_CONFIG",
        values=(":16:8",),
        effect="gives cuBLAS a small workspace, with which some products are slower",
        concerns=with_an_nvidia_gpu,
        severity=Severity.INFO,
        unless="results have to repeat and the memory for `:4096:8` is missing",
    ),
    SlowingVariable(
        name="NVIDIA_TF32_OVERRIDE",
        values=("0",),
        effect="switches TF32 off in all NVIDIA libraries",
        concerns=with_tf32,
    ),
    SlowingVariable(
        name="NCCL_P2P_DISABLE",
        values=("1",),
        effect="sends data between GPUs through the memory of the CPU",
        concerns=with_peer_gpus,
        unless="NCCL hangs without it, as where an IOMMU or PCIe ACS keeps the GPUs apart",
    ),
    SlowingVariable(
        name="NCCL_IB_DISABLE",
        values=("1",),
        effect="keeps NCCL off InfiniBand and RoCE",
        concerns=with_a_fast_network,
    ),
    SlowingVariable(
        name="NCCL_SHM_DISABLE",
        values=("1",),
        effect="sends what GPUs exchange through the memory of the CPU over the network instead",
        concerns=without_peer_access,
        severity=Severity.INFO,
        unless="/dev/shm is too small for NCCL",
    ),
    SlowingVariable(
        name="NCCL_DEBUG",
        values=("INFO", "TRACE"),
        effect="makes NCCL write a log",
        concerns=with_several_gpus,
        severity=Severity.INFO,
    ),
    SlowingVariable(
        name="TORCH_DISTRIBUTED_DEBUG",
        values=("DETAIL",),
        effect="adds checks to every collective operation",
        concerns=with_several_gpus,
    ),
)
"""The page of ED609 has the sources. PyTorch's allocator (c10/cuda/CUDACachingAllocator.cpp) asks
only whether its variable is set; of the levels of TORCH_DISTRIBUTED_DEBUG, the documentation says
of DETAIL alone that it costs speed."""


@check(DEBUG_ENVIRONMENT)
def debug_environment(
    environment: Environment,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
    network: Network | None,
) -> Findings:
    """A variable for debugging that slows down what this torch computes on. Where it cannot be
    known whether it does, it is information, and no command is given."""
    used = used_gpus(environment, runtime, build, gpus)
    if used is not None:
        nodes = bool(job_of(environment.variables, network).nodes)
        used = UsedGpus(
            gpus=used.gpus,
            nvidia=used.nvidia,
            network=network,
            nodes=nodes,
            reach=_reach(gpus),
        )
    for variable in SLOWING_VARIABLES:
        value = environment.variables.get(variable.name)
        if value is None or (variable.values and value.upper() not in variable.values):
            continue
        concerned = variable.concerns(used) if used is not None else None
        if concerned is False:
            continue
        yield DEBUG_ENVIRONMENT.finding(
            subjects=(variable.name,),
            severity=variable.severity if concerned else Severity.INFO,
            variable=variable.name,
            value=value,
            effect=variable.effect,
            evidence=(Evidence(label=variable.name, value=value, source="environment"),),
            fixes=(_unset(variable),) if concerned else (),
        )


def _reach(gpus: Gpus | None) -> bool | None:
    peers = [gpu.peers for gpu in gpus.devices] if gpus else []
    return any(peers) if peers and None not in peers else None


def _unset(variable: SlowingVariable) -> Fix:
    return surroundings.unset(variable.name, summary=f"unset it, unless {variable.unless}")
