"""What keeps a machine from its speed: thread limits, CPU quotas, variables for debugging."""

from envdoctor.api import (
    Code,
    Environment,
    Evidence,
    Findings,
    Fix,
    Layer,
    Limits,
    Place,
    Severity,
    check,
    surroundings,
)

THREADS_LIMITED = Code(
    id="ED607",
    name="threads-limited",
    family="threads-limited",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
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
    message="a variable for debugging is set, which slows training down",
    detailed="{variable}={value} is set, which {effect}",
    explains=("ED600",),
)

_SLOWING_VARIABLES = {
    "CUDA_LAUNCH_BLOCKING": ({"1"}, "makes the CPU wait for every kernel"),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": ({"1"}, "asks the driver for every tensor's memory anew"),
    "CUDA_CACHE_DISABLE": ({"1"}, "compiles PTX anew in every process"),
    "NVIDIA_TF32_OVERRIDE": ({"0"}, "switches TF32 off in all NVIDIA libraries"),
    "NCCL_P2P_DISABLE": ({"1"}, "sends data between GPUs through the memory of the CPU"),
    "NCCL_IB_DISABLE": ({"1"}, "keeps NCCL off InfiniBand and RoCE"),
    "NCCL_DEBUG": ({"INFO", "TRACE"}, "makes NCCL write a log"),
    "TORCH_DISTRIBUTED_DEBUG": ({"INFO", "DETAIL"}, "adds collective checks to every step"),
}


@check(THREADS_LIMITED)
def threads_limited(environment: Environment, limits: Limits) -> Findings:
    cpus = int(limits.usable_cpus)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        value = environment.variables.get(variable, "").split(",")[0].strip()
        if not value.isdigit() or not 0 < int(value) < cpus:
            continue
        yield THREADS_LIMITED.finding(
            subjects=(variable,),
            severity=None if 2 * int(value) <= cpus else Severity.INFO,
            variable=variable,
            value=int(value),
            cpus=cpus,
            evidence=(Evidence(label=variable, value=value, source="environment"),),
            fixes=(
                surroundings.unset(
                    variable, summary="let torch choose, or set the number of physical cores"
                ),
            ),
            notes=("torchrun sets OMP_NUM_THREADS=1 for each of its processes",),
        )


@check(CPU_QUOTA)
def cpu_quota(limits: Limits) -> Findings:
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
def debug_environment(environment: Environment) -> Findings:
    for variable, (values, effect) in _SLOWING_VARIABLES.items():
        value = environment.variables.get(variable)
        if value in values:
            yield DEBUG_ENVIRONMENT.finding(
                subjects=(variable,),
                variable=variable,
                value=value,
                effect=effect,
                evidence=(Evidence(label=variable, value=value, source="environment"),),
                fixes=(
                    surroundings.unset(
                        variable, summary="unset it, unless a bug is being looked for"
                    ),
                ),
            )
