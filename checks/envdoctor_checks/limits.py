"""What keeps the CPU from its speed: thread limits and quotas."""

from envdoctor.api import (
    Code,
    Environment,
    Evidence,
    Findings,
    Fix,
    Gpus,
    Host,
    Layer,
    Limits,
    Place,
    Severity,
    TorchBuild,
    TorchRuntime,
    check,
    parse_number,
    surroundings,
)
from envdoctor_checks.used_gpus import used_gpus, with_a_gpu

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
