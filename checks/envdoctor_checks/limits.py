"""What keeps a machine from its speed: thread limits, CPU quotas, variables for debugging."""

from collections.abc import Callable

from envdoctor.api import (
    Code,
    Environment,
    Evidence,
    Findings,
    Fix,
    Gpu,
    Gpus,
    Host,
    Layer,
    Limits,
    Network,
    Place,
    Record,
    Severity,
    TorchBuild,
    TorchDevice,
    TorchRuntime,
    check,
    parse_number,
    surroundings,
)
from envdoctor_checks.job import job_of

THREADS_LIMITED = Code(
    id="ED607",
    name="threads-limited",
    family="threads-limited",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    fault="environment",
    message="a variable lets torch use fewer threads than there are CPUs",
    detailed="{variable}={value} lets torch use {value} of {cpus} usable CPUs",
)
CPU_QUOTA = Code(
    id="ED608",
    name="cpu-quota",
    family="threads-limited",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    message="the control group gives the time of fewer CPUs than are visible",
    detailed="the control group gives the time of {quota:g} CPUs, and {cpus} are visible",
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


class UsedGpus(Record):
    """The GPUs that torch computes on, or will once it works; `nvidia` is false for ROCm. `network`
    is null where nobody looked at it, `nodes` says that the job is on several machines, `reach`
    whether any of the machine's GPUs reaches another one's memory, null where the driver does not
    tell."""

    gpus: tuple[Gpu | TorchDevice, ...]
    nvidia: bool = True
    network: Network | None = None
    nodes: bool = False
    reach: bool | None = None


def with_a_gpu(used: UsedGpus) -> bool:
    return bool(used.gpus)


def with_an_nvidia_gpu(used: UsedGpus) -> bool:
    return used.nvidia and bool(used.gpus)


def with_tf32(used: UsedGpus) -> bool:
    """Tensor cores do TF32 from compute capability 8.0 on (CUDA C++ programming guide)."""
    return used.nvidia and any(_major(gpu) >= 8 for gpu in used.gpus)


def with_several_gpus(used: UsedGpus) -> bool:
    return len(used.gpus) > 1


def with_peer_gpus(used: UsedGpus) -> bool:
    """GPUs that reach each other's memory. GeForce cards do so only over an NVLink bridge, and
    without one NCCL was seen to hang until the variable is set (NVIDIA/nccl-tests#117)."""
    if used.reach is False:
        return False
    return len(used.gpus) > 1 and not any("GeForce" in gpu.name for gpu in used.gpus)


def with_a_fast_network(used: UsedGpus) -> bool | None:
    """Without a GPU there is nothing that NCCL would send over InfiniBand. RoCE is left aside:
    every Mellanox card for Ethernet shows ports of it, where the switches need not carry it."""
    if used.network is None:
        return None if used.gpus else False
    layers = {port.link_layer for port in used.network.active_ports}
    if not used.gpus or "InfiniBand" not in layers:
        return False
    return True if used.nodes else None


def without_peer_access(used: UsedGpus) -> bool:
    """Several GPUs that exchange data through the memory of the CPU."""
    return len(used.gpus) > 1 and not with_peer_gpus(used)


def _major(gpu: Gpu | TorchDevice) -> int:
    return parse_number((gpu.compute_capability or "").partition(".")[0]) or 0


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


_SLOWING_VARIABLES = (
    SlowingVariable(
        name="CUDA_LAUNCH_BLOCKING",
        values=("1",),
        effect="makes the CPU wait for every kernel",
        concerns=with_an_nvidia_gpu,
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

_LIKELY_THREADS_PER_CORE = 2
"""Where the number of cores is not known: more than two are rare, and one core less is no alarm."""


@check(THREADS_LIMITED)
def threads_limited(
    environment: Environment,
    limits: Limits,
    host: Host | None,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
) -> Findings:
    """Fewer threads than the cores that this process may use; information where a GPU computes."""
    cores = _usable_cores(limits, host)
    used = used_gpus(environment, runtime, build, gpus)
    on_gpus = used is not None and with_a_gpu(used)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = environment.variables.get(variable, "").split(",")[0].strip()
        threads = parse_number(value)
        if threads is None or not 0 < threads < cores:
            continue
        idle = 2 * threads <= cores and not on_gpus
        yield THREADS_LIMITED.finding(
            subjects=(variable,),
            severity=Severity.WARNING if idle else Severity.INFO,
            variable=variable,
            value=threads,
            cpus=int(min(limits.usable_cpus, _MOST_CPUS)),
            evidence=(
                Evidence(label=variable, value=value, source="environment"),
                *_physical_cores(host),
            ),
            fixes=(
                surroundings.unset(
                    variable, summary="let torch choose, or set the number of physical cores"
                ),
            ),
            notes=("torchrun sets OMP_NUM_THREADS=1 for each of its processes",),
        )


_MOST_CPUS = 1 << 20
"""More than any system has: a recording may say anything, and a number has 64 bits at most."""


def _usable_cores(limits: Limits, host: Host | None) -> int:
    """How many physical cores the usable CPUs are at least; their sibling threads add little."""
    threads_per_core = float(_LIKELY_THREADS_PER_CORE)
    if host is not None and host.physical_cpus and host.logical_cpus:
        threads_per_core = max(1.0, host.logical_cpus / host.physical_cpus)
    return max(1, int(limits.usable_cpus / threads_per_core))


def _physical_cores(host: Host | None) -> tuple[Evidence, ...]:
    if host is None or not host.physical_cpus:
        return ()
    value = f"{host.physical_cpus} with {host.logical_cpus} hardware threads"
    return (Evidence(label="physical cores", value=value, source="/proc/cpuinfo"),)


@check(CPU_QUOTA)
def cpu_quota(limits: Limits) -> Findings:
    """A control group that gives less CPU time than the CPUs that programs count."""
    quota = limits.cgroup_cpu_quota
    if quota is not None and quota < limits.affinity_cpus:
        yield CPU_QUOTA.finding(
            quota=quota,
            cpus=limits.affinity_cpus,
            evidence=(Evidence(label="CPU quota", value=f"{quota:g}", source="cgroup"),),
            fixes=(
                Fix(
                    summary="raise the limit of the container (`docker run --cpus`), or start no "
                    "more threads and DataLoader workers than it allows",
                    where=Place.HOST,
                ),
            ),
            notes=("programs that count CPUs start too many threads, which then wait for time",),
        )


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
    for variable in _SLOWING_VARIABLES:
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


def used_gpus(
    environment: Environment,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
) -> UsedGpus | None:
    """The GPUs that torch computes on, or will once it works; None where that is not known."""
    nvidia = not any(one is not None and one.hip for one in (runtime, build))
    if runtime is not None and runtime.devices:
        return UsedGpus(gpus=runtime.devices, nvidia=nvidia)
    without_gpu = build is not None and build.cuda is None and build.hip is None
    if without_gpu or environment.variables.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return UsedGpus(gpus=())
    if gpus is not None and nvidia:
        return UsedGpus(gpus=gpus.devices)
    return None if runtime is None else UsedGpus(gpus=())
