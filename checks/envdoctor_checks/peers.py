"""Whether GPUs reach each other's memory, and the network's cards, by the shortest way on the bus.

Sources: NCCL documentation, GPU troubleshooting (PCI Access Control Services); CUDA C++ Programming
Guide, Peer-to-Peer Memory Access (IOMMU on Linux); GPUDirect RDMA, Supported Systems.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

from envdoctor.api import (
    Code,
    Collective,
    Confidence,
    Environment,
    Evidence,
    Findings,
    Fix,
    Gpu,
    Gpus,
    GpuTrace,
    Host,
    Layer,
    Network,
    PciDevice,
    PciGpus,
    Record,
    Severity,
    Site,
    check,
    surroundings,
    system,
)
from envdoctor_checks.job import Job, job_of

PEER_TRAFFIC_REDIRECTED = Code(
    id="ED707",
    name="peer-traffic-redirected",
    family="nccl-p2p-hang",
    severity=Severity.WARNING,
    topic="network",
    layer=Layer.FIRST_USE,
    message="the IOMMU or PCIe ACS sends through the CPU what GPUs exchange with each other",
    detailed="{what} sends through the CPU what the GPUs exchange with {whom}",
    explains=("ED710", "ED718", "ED719"),
)
NO_PEER_ACCESS = Code(
    id="ED708",
    name="no-peer-access",
    family="p2p-not-supported",
    severity=Severity.INFO,
    topic="network",
    layer=Layer.SPEED,
    message="GPUs of this machine do not reach each other's memory",
    detailed="{pairs} do not reach each other's memory, so that NCCL sends through the CPU's",
)

_TRANSLATES = ("DMA", "DMA-FQ")
"""Types of an IOMMU group's domain (Documentation/ABI/testing/sysfs-kernel-iommu_groups);
`identity` is what iommu=pt gives."""

_SWITCHED_OFF = ("LOC", "NVL", "0")
"""Values of NCCL_P2P_LEVEL with which NCCL uses no peer access over PCIe (NCCL, Environment
Variables)."""


class Peers(Record):
    """The GPUs that this process uses, of NVML and of the bus."""

    gpus: tuple[Gpu, ...]
    devices: tuple[PciDevice, ...]

    @property
    def over_pcie(self) -> tuple[tuple[Gpu, Gpu], ...]:
        """The pairs that exchange data over PCIe."""
        return tuple(pair for pair in combinations(self.gpus, 2) if _over_pcie(*pair))


def peers_of(trace: GpuTrace, gpus: Gpus, pci: PciGpus) -> Peers:
    visible = [gpu for gpu in trace.visible if gpu.nvml_index is not None]
    indices = {gpu.nvml_index for gpu in visible}
    addresses = {gpu.pci_address for gpu in visible}
    return Peers(
        gpus=tuple(gpu for gpu in gpus.devices if gpu.index in indices),
        devices=tuple(device for device in pci.nvidia if device.address in addresses),
    )


def _over_pcie(one: Gpu, other: Gpu) -> bool:
    """By NVML; where it does not say, by what NVIDIA sells: GeForce cards have no peer access but
    over a bridge of NVLink, and modules (SXM) always have NVLink."""
    if one.peers is not None and one.nvlink_peers is not None:
        return other.index in one.peers and other.index not in one.nvlink_peers
    return not any("GeForce" in gpu.name or "SXM" in gpu.name for gpu in (one, other))


def _is_bare_metal(host: Host, gpus: Iterable[Gpu], site: Site) -> bool:
    """A virtual machine needs ACS, and its IOMMU is the host's. Boards with Grace, where the CPU
    translates for the GPU, are no machines of the kind that NVIDIA's pages speak of."""
    if site.wsl or site.jetson or host.machine == "aarch64" or host.hypervisor:
        return False
    return all(gpu.virtualization in (None, "none") for gpu in gpus)


@check(PEER_TRAFFIC_REDIRECTED)
def peer_traffic_redirected(
    trace: GpuTrace,
    gpus: Gpus,
    pci: PciGpus,
    host: Host,
    site: Site,
    environment: Environment,
    network: Network | None,
    tried: Collective | None,
) -> Findings:
    """Several GPUs on the metal, behind an IOMMU that translates or switches that redirect."""
    variables = environment.variables
    peers = peers_of(trace, gpus, pci)
    job = job_of(variables, network)
    whom = _whom(peers, job, network, variables)
    if not whom or not _is_bare_metal(host, peers.gpus, site):
        return
    translated = [one for one in peers.devices if one.iommu in _TRANSLATES]
    ports = tuple(dict.fromkeys(_redirecting_between(peers.devices)))
    if not translated and not ports:
        return
    severity = _severity(job, tried)
    yield PEER_TRAFFIC_REDIRECTED.finding(
        severity=severity,
        breaks=("distributed",) if severity is Severity.ERROR else (),
        confidence=Confidence.CERTAIN if ports else Confidence.LIKELY,
        what="the IOMMU" if translated else "PCIe ACS",
        whom=whom,
        evidence=(
            *(_iommu(one) for one in translated[:1]),
            *(
                Evidence(label="ACS", value="P2P request redirect", source=f"PCI bridge {port}")
                for port in ports[:4]
            ),
        ),
        fixes=tuple(_ways_round(site, ports, tried, translated=bool(translated))),
        notes=(
            "it is slower, and NCCL can hang (NCCL documentation, GPU troubleshooting); CUDA does "
            "not support peer access over PCIe on the metal behind an IOMMU that translates",
        ),
    )


def _severity(job: Job, tried: Collective | None) -> Severity:
    """An error where a collective fails with peer access and works without."""
    if tried is not None and tried.fails and tried.proved("NCCL_P2P_DISABLE"):
        return Severity.ERROR
    works = tried is not None and tried.works
    return Severity.WARNING if job.several and not works else Severity.INFO


def _whom(peers: Peers, job: Job, network: Network | None, variables: dict[str, str]) -> str:
    """What goes over PCIe to or from the GPUs; empty where nothing does."""
    avoided = (
        variables.get("NCCL_P2P_DISABLE") == "1"
        or variables.get("NCCL_P2P_LEVEL", "").upper() in _SWITCHED_OFF
    )
    between = bool(peers.over_pcie) and not avoided
    cards = (
        bool(job.nodes)
        and network is not None
        and bool(network.active_ports)
        and not any("GeForce" in gpu.name for gpu in peers.gpus)
        and bool(peers.gpus)
    )
    named = ("each other",) if between else ()
    return " and with ".join((*named, *(("the network's cards",) if cards else ())))


def _redirecting_between(devices: tuple[PciDevice, ...]) -> Iterator[str]:
    """The ports of switches above two GPUs that share the switch."""
    for one, other in combinations(devices, 2):
        if len(one.bridges) > 1 and one.bridges[:2] == other.bridges[:2]:
            yield from (*(one.redirecting or ()), *(other.redirecting or ()))


def _iommu(device: PciDevice) -> Evidence:
    source = f"/sys/bus/pci/devices/{device.address}/iommu_group/type"
    return Evidence(label="IOMMU", value=f"{device.iommu}: it translates", source=source)


def _ways_round(
    site: Site, ports: tuple[str, ...], tried: Collective | None, *, translated: bool
) -> Iterator[Fix]:
    without_peers = surroundings.set_variable(
        "NCCL_P2P_DISABLE",
        "1",
        summary="until then, where NCCL hangs: let it send through the CPU's memory",
        proof=tried.proved("NCCL_P2P_DISABLE") if tried else "",
    )
    if translated:
        yield system.pass_through_iommu(site)
    if ports:
        yield system.switch_acs_off(site, ports)
    yield without_peers


@check(NO_PEER_ACCESS)
def no_peer_access(
    trace: GpuTrace, gpus: Gpus, pci: PciGpus, host: Host, site: Site, environment: Environment
) -> Findings:
    """GPUs of servers and workstations that could reach each other, and do not on this board."""
    peers = peers_of(trace, gpus, pci)
    apart = [
        (one, other)
        for one, other in combinations(peers.gpus, 2)
        if one.peers is not None and other.index not in one.peers
    ]
    consumer = any("GeForce" in gpu.name or gpu.mig_mode for gpu in peers.gpus)
    if not apart or consumer or not _is_bare_metal(host, peers.gpus, site):
        return
    named = [f"{one.index} and {other.index}" for one, other in apart]
    more = f" and {len(named) - 3} more pairs" if len(named) > 3 else ""
    yield NO_PEER_ACCESS.finding(
        pairs=f"GPUs {', '.join(named[:3])}{more}",
        evidence=(
            Evidence(
                label="peer access",
                value=f"{len(apart)} pairs without",
                source="NVML, nvmlDeviceGetP2PStatus",
            ),
        ),
        fixes=(system.look_at_topology(),),
    )
