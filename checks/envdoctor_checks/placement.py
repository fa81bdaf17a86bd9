"""Where the process runs: on the CPUs that are near its GPUs, on all of them, on one NUMA node."""

from envdoctor.api import (
    Calibration,
    Code,
    Confidence,
    Evidence,
    Findings,
    Fix,
    Gpus,
    Host,
    Layer,
    Limits,
    PciGpus,
    Safety,
    Severity,
    check,
)

REMOTE_NUMA_NODE = Code(
    id="ED617",
    name="remote-numa-node",
    family="remote-numa-node",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="the GPUs of this process hang on another NUMA node than its CPUs",
    detailed="the GPU{plural} of this process hang{verb} on NUMA node {gpus}, and it may only use "
    "CPUs of node {cpus}",
    explains=("ED600", "ED612"),
)
THREADS_ACROSS_NODES = Code(
    id="ED618",
    name="threads-across-numa-nodes",
    family="threads-across-numa-nodes",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    message="the threads that were measured on the CPU spread over NUMA nodes",
    detailed="the {threads} threads that were measured on the CPU spread over {nodes} NUMA nodes",
)
CPU_AFFINITY = Code(
    id="ED619",
    name="cpu-affinity",
    family="threads-limited",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    message="this process may use only a part of the machine's CPUs",
    detailed="{usable} of the {cpus} CPUs of this machine may be used by this process",
)


@check(REMOTE_NUMA_NODE)
def remote_numa_node(pci: PciGpus, gpus: Gpus, limits: Limits) -> Findings:
    """No GPU of this process hangs on a NUMA node whose CPUs it may use."""
    own = {_sysfs_address(gpu.pci_address) for gpu in gpus.devices if gpu.pci_address}
    nodes = {one.numa_node for one in pci.nvidia if one.address.lower() in own}
    known = sorted(node for node in nodes if node is not None)
    # One GPU nearby is enough: a job of one socket may see all GPUs of the machine.
    if not known or not limits.numa_nodes or not nodes.isdisjoint({None, *limits.numa_nodes}):
        return
    plural = len(own) > 1
    yield REMOTE_NUMA_NODE.finding(
        plural="s" if plural else "",
        verb="" if plural else "s",
        gpus=_listed(known),
        cpus=_listed(limits.numa_nodes),
        evidence=(
            Evidence(
                label="NUMA nodes of the GPUs",
                value=_listed(known),
                source="/sys/bus/pci/devices/*/numa_node",
            ),
            _nodes_of_cpus(limits),
        ),
        fixes=(
            Fix(
                summary="run on the CPUs and the memory of the GPU's node; where a scheduler or a "
                "container chose the CPUs, ask it for those",
                commands=(
                    f"numactl --cpunodebind={known[0]} --membind={known[0]} python train.py",
                ),
                safety=Safety.SAFE,
            ),
        ),
    )


@check(THREADS_ACROSS_NODES)
def threads_across_numa_nodes(limits: Limits, calibration: Calibration) -> Findings:
    """A measurement on the CPU alone whose threads spread over several NUMA nodes."""
    threads = calibration.conditions.threads
    on_the_cpu = any(run.device == "cpu" for run in calibration.runs)
    trains_on_a_gpu = any(run.device != "cpu" for run in calibration.runs)
    if len(limits.numa_nodes) < 2 or not on_the_cpu or trains_on_a_gpu or threads is None:
        return
    yield THREADS_ACROSS_NODES.finding(
        confidence=Confidence.POSSIBLE,
        threads=threads,
        nodes=len(limits.numa_nodes),
        evidence=(_nodes_of_cpus(limits),),
        fixes=(
            Fix(
                summary="measure with the threads of one node; where that is as fast, train so, "
                "one process a node",
                commands=("numactl --cpunodebind=0 --membind=0 envdoctor calibrate",),
                safety=Safety.SAFE,
            ),
        ),
        notes=("memory of another node is farther away, and torch does not place it",),
    )


@check(CPU_AFFINITY)
def cpu_affinity(host: Host, limits: Limits) -> Findings:
    """An affinity that leaves this process a part of the machine's CPUs."""
    if host.logical_cpus is None or limits.affinity_cpus >= host.logical_cpus:
        return
    yield CPU_AFFINITY.finding(
        usable=limits.affinity_cpus,
        cpus=host.logical_cpus,
        evidence=(
            Evidence(
                label="usable CPUs", value=str(limits.affinity_cpus), source="sched_getaffinity"
            ),
        ),
        fixes=(
            Fix(
                summary="if that is not on purpose, ask the scheduler or the container for more "
                "CPUs, or look who set the affinity",
                commands=("taskset -cp $$", "cat /sys/fs/cgroup/cpuset.cpus.effective"),
                safety=Safety.SAFE,
            ),
        ),
        notes=("DataLoader workers and the threads of torch share these CPUs",),
    )


def _sysfs_address(pci_address: str) -> str:
    """NVML writes the PCI domain with eight digits, sysfs with four."""
    return pci_address.lower()[-len("0000:00:00.0") :]


def _nodes_of_cpus(limits: Limits) -> Evidence:
    return Evidence(
        label="NUMA nodes of the usable CPUs",
        value=_listed(limits.numa_nodes),
        source="sched_getaffinity, /sys/devices/system/node",
    )


def _listed(nodes: tuple[int, ...] | list[int]) -> str:
    return ", ".join(map(str, nodes))
