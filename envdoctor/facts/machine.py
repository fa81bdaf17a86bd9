"""Facts about the machine: hardware, driver, container, environment. Units are in the names."""

from typing import Literal

import msgspec

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = [
    "Clock",
    "Container",
    "CudaInit",
    "Driver",
    "Environment",
    "Expectation",
    "Gpu",
    "Gpus",
    "Host",
    "HostCompiler",
    "HostIdentity",
    "HugePagePool",
    "Limits",
    "Nvml",
    "PciDevice",
    "PciGpus",
    "TemporaryFolder",
    "TemporaryFolders",
    "Toolkit",
    "Toolkits",
    "UnansweredGpu",
    "WorkingFolder",
]


class HugePagePool(Record):
    """Memory that Linux sets aside as huge pages of one size, for programs that ask for such pages
    by name (hugetlbpage.rst). The figures are numbers of pages: `total` are in the pool, `free` of
    them given to nobody, `reserved` of the free ones promised to somebody."""

    volatile = frozenset({"free", "reserved"})

    page_bytes: int
    total: int
    free: int
    reserved: int

    @property
    def idle(self) -> int:
        """The pages that nobody has and nobody was promised."""
        return max(0, self.free - self.reserved)

    @property
    def idle_bytes(self) -> int:
        """The memory that lies idle in it."""
        return self.idle * self.page_bytes


class Host(Fact):
    """Operating system and hardware. Sizes are bytes.

    `glibc` is null where there is none; what only a running system can tell is null where files
    alone were read. `hypervisor` says whether the CPU tells of one that it runs under, null where
    its kind cannot (no x86). `frequency_driver` and `frequency_governor` set
    the clock of the first CPU, null where nothing in Linux does, as in most virtual machines.
    `clock_behind_s` says by how many seconds the clock lies before what is certain to be past, null
    where it does not. `huge_pages` are the pools that hold some. `transparent_huge_pages` says
    where Linux makes huge pages by itself (always, madvise, never), and
    `transparent_huge_page_defrag` how hard it tries; null where it does not tell.
    """

    volatile = frozenset({"memory_available_bytes", "clock_behind_s"})

    os: str
    os_id: str
    os_version: str
    kernel: str | None
    machine: str | None
    glibc: str | None
    cpu_name: str
    cpu_flags: tuple[str, ...]
    logical_cpus: int | None
    physical_cpus: int | None
    memory_bytes: int | None
    memory_available_bytes: int | None
    hypervisor: bool | None = None
    frequency_driver: str | None = None
    frequency_governor: str | None = None
    clock_behind_s: float | None = None
    huge_pages: tuple[HugePagePool, ...] = ()
    transparent_huge_pages: str | None = None
    transparent_huge_page_defrag: str | None = None


class Clock(Fact):
    """How this machine keeps the time.

    `source` is the counter that Linux reads it from, `sources` all that it would take, as the
    kernel calls them; null and empty where it tells none. In WSL `rtc_ahead_s` says by how many
    seconds the clock of Windows, shown as a hardware clock, is ahead of the clock. `stepped_s` says
    by how many seconds the clock was set forward (or back, below zero) while this was examined;
    null where it was not.
    """

    volatile = frozenset({"rtc_ahead_s", "stepped_s"})

    source: str | None = None
    sources: tuple[str, ...] = ()
    rtc_ahead_s: float | None = None
    stepped_s: float | None = None


class HostIdentity(Fact):
    """Which machine this is. `id` is 16 hexadecimal digits that the machine's own id and name give,
    always the same; neither can be read from them."""

    id: str


class Limits(Fact):
    """What this process may really use. A null quota or limit means none was found.

    `open_files` is how many files, sockets and pipes it may have open at once, `open_files_hard`
    how far it may raise that itself. `numa_nodes` are those of the CPUs that it may use, empty
    where Linux shows none.
    `locked_memory_bytes` is what it may keep from being swapped (network cards read only that),
    null where it may lock all. `tasks` is how many processes and threads its control group or its
    user may have, null without a limit; `tasks_running` how many of them there are, null where only
    the user's are limited, which nothing counts.
    """

    volatile = frozenset({"shm_free_bytes", "tasks_running"})

    usable_cpus: float
    affinity_cpus: int
    cgroup_cpu_quota: float | None
    cgroup_memory_bytes: int | None
    shm_bytes: int | None
    shm_free_bytes: int | None
    open_files: int | None = None
    numa_nodes: tuple[int, ...] = ()
    address_space_bytes: int | None = None
    locked_memory_bytes: int | None = None
    tasks: int | None = None
    tasks_running: int | None = None
    open_files_hard: int | None = None


class WorkingFolder(Fact):
    """The folder in which the doctor was started. It may lie on a file server that does not answer.

    `free_bytes` is what this user may still write there.
    """

    volatile = frozenset({"free_bytes"})

    path: str
    free_bytes: int


class TemporaryFolder(Record):
    """A folder for temporary files. `free_bytes` and `free_files` are what this user may still
    make there, null where the folder is missing or closed to this user."""

    volatile = frozenset({"free_bytes", "free_files"})

    path: str
    free_bytes: int | None = None
    free_files: int | None = None


class TemporaryFolders(Fact):
    """Where Python puts temporary files, torch.compile its kernels and pip what it unpacks: in the
    first of these that takes a file."""

    items: tuple[TemporaryFolder, ...]


class Container(Fact):
    """Whether this is a container or WSL. `kind`: none, docker, podman, kubernetes, lxc ...

    `service` is who runs it for others, where that decides over its GPUs: colab, kaggle ...
    """

    kind: str
    evidence: str = ""
    wsl: int | None = None
    nvidia_runtime: bool | None = None
    nvidia_visible_devices: str | None = None
    service: str = ""


class PciDevice(Record):
    """A display or 3D controller on the PCI bus. `vendor_id` and `device_id` are hexadecimal;
    `numa_node` is null where the firmware names none.

    Of NVIDIA's is known besides: `iommu`, the kernel's word for how the IOMMU treats it (DMA and
    DMA-FQ translate, identity passes through; null without an IOMMU, or where it is not told);
    `bridges` above it, from the root port down; and of these `redirecting`, the ports of PCIe
    switches whose ACS sends requests between devices up to the root (null where this user may not
    read that, or there is one GPU alone).
    """

    volatile = frozenset({"link_speed_gt_s"})

    address: str
    vendor_id: str
    device_id: str
    driver: str | None
    link_speed_gt_s: float | None = None
    link_width: int | None = None
    max_link_speed_gt_s: float | None = None
    max_link_width: int | None = None
    numa_node: int | None = None
    iommu: str | None = None
    bridges: tuple[str, ...] = ()
    redirecting: tuple[str, ...] | None = None


class PciGpus(Fact):
    """The display and 3D controllers that the PCI bus shows, from sysfs."""

    devices: tuple[PciDevice, ...]

    @property
    def nvidia(self) -> tuple[PciDevice, ...]:
        """Those of NVIDIA (vendor 10de)."""
        return tuple(device for device in self.devices if device.vendor_id == "10de")


class Driver(Fact):
    """The NVIDIA kernel driver and its user-space parts.

    `release` is the driver release (535.183.01). `cuda` is the newest CUDA driver API that it
    offers (12.2), never a toolkit. `loaded` says whether the kernel module is loaded;
    `device_nodes` are the /dev/nvidia* that exist.
    """

    loaded: bool
    release: str | None
    release_source: str = ""
    cuda: str | None = None
    flavor: Literal["open", "proprietary"] | None = None
    modules: tuple[str, ...] = ()
    device_nodes: tuple[str, ...] = ()
    unusable_nodes: tuple[str, ...] = ()
    libcuda_files: tuple[str, ...] = ()
    nouveau_loaded: bool = False

    @property
    def of_containers(self) -> str | None:
        """The libcuda of a driver that a node has for its containers alone: that of NVIDIA's GPU
        Operator, and of Google's Container-Optimized OS."""
        roots = ("/run/nvidia/driver/", "/home/kubernetes/bin/nvidia/")
        return next((file for file in self.libcuda_files if file.startswith(roots)), None)


class UnansweredGpu(Record):
    """A GPU that NVML counts and gives no handle for; `error` is its name of the reason."""

    index: int
    error: str


class Nvml(Fact):
    """What NVML says. `status` is `ok` or the name of its error (`NVML_ERROR_...`).

    `device_count` is how many GPUs it counts, and `unanswered` those of them that it cannot show.
    `unloadable` is a libnvidia-ml that was found and that the loader refuses; `message` says why.
    """

    status: str
    message: str = ""
    driver_release: str | None = None
    driver_cuda: str | None = None
    library: str | None = None
    device_count: int | None = None
    unanswered: tuple[UnansweredGpu, ...] = ()
    unloadable: str | None = None


class CudaInit(Fact):
    """What cuInit does, tried without torch. `status` is `ok`, the name of the CUDA error, or
    `libcuda-missing`; `library` is the libcuda that was loaded. `refused_nodes` are, where
    it failed, the device nodes of the driver that open(2) refuses and access(2) does not: AppArmor
    does that, and a file system that is mounted with `nodev`. `log` is what the driver itself wrote
    of the failure, from CUDA 12.9 on (CUDA_LOG_FILE), without the time and the thread."""

    status: str
    code: int | None = None
    message: str = ""
    driver_cuda: str | None = None
    device_count: int | None = None
    library: str | None = None
    refused_nodes: tuple[str, ...] = ()
    log: str = ""


ComputeMode = Literal["default", "exclusive-thread", "prohibited", "exclusive-process"]
Virtualization = Literal["none", "passthrough", "vgpu", "host-vgpu", "host-vsga"]


class Gpu(Record):
    """One NVIDIA GPU. Fields are null where the driver does not say.

    `ecc_uncorrected` counts errors of memory since the driver was loaded. `rows_pending` and
    `pages_pending` say that memory is repaired at the next reset, `rows_failed` that a repair has
    failed. `mig_pending` is the MIG mode after the next reset. `fabric_state` is that of the
    NVSwitch fabric, `fabric_error` NVML's error where its start has failed, `bar1_bytes` the part
    of the memory that the bus can address. `peers` are the indices of the GPUs whose memory it may
    read by itself, `nvlink_peers` those of them over NVLink; null where NVML does not say or there
    is one GPU alone. `refused` are fields that NVML refused to tell although
    the GPU has them, with its error.
    """

    volatile = frozenset(
        {
            "memory_used_bytes",
            "power_w",
            "temperature_c",
            "sm_clock_mhz",
            "throttle_reasons",
            "pcie_generation",
            "utilization_pct",
            "process_pids",
            "ecc_uncorrected",
        }
    )

    index: int
    name: str
    uuid: str | None = None
    compute_capability: str | None = None
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    pci_address: str | None = None
    mig_mode: bool | None = None
    ecc_mode: bool | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    power_default_limit_w: float | None = None
    temperature_c: int | None = None
    sm_clock_mhz: int | None = None
    max_sm_clock_mhz: int | None = None
    throttle_reasons: tuple[str, ...] = ()
    pcie_generation: int | None = None
    pcie_max_generation: int | None = None
    pcie_width: int | None = None
    pcie_max_width: int | None = None
    utilization_pct: int | None = None
    process_pids: tuple[int, ...] = ()
    compute_mode: ComputeMode | None = None
    persistence_mode: bool | None = None
    ecc_uncorrected: int | None = None
    pages_pending: bool | None = None
    rows_pending: bool | None = None
    rows_failed: bool | None = None
    mig_pending: bool | None = None
    virtualization: Virtualization | None = None
    licensed: bool | None = None
    fabric_state: Literal["not-started", "in-progress", "completed"] | None = None
    fabric_error: str | None = None
    bar1_bytes: int | None = None
    peers: tuple[int, ...] | None = None
    nvlink_peers: tuple[int, ...] | None = None
    refused: dict[str, str] = msgspec.field(default_factory=dict)


class Gpus(Fact):
    """The NVIDIA GPUs that the driver shows, whatever CUDA_VISIBLE_DEVICES says."""

    devices: tuple[Gpu, ...]


class Toolkit(Record):
    """A CUDA toolkit on the machine; it matters for building extensions, not for running torch."""

    path: str
    version: str | None
    source: str


class Toolkits(Fact):
    """The CUDA toolkits found, the one that builds would use first."""

    items: tuple[Toolkit, ...]
    cuda_home: str | None = None
    nvcc: str | None = None


class HostCompiler(Fact):
    """The gcc that nvcc would call; asked for only where there is an nvcc. `version` is its own."""

    path: str
    version: str


class Environment(Fact):
    """Environment variables that change how torch, CUDA, NCCL or the loader behave.

    Only names on a fixed list are read, so that secrets never are.
    """

    variables: dict[str, str]


class Expectation(Fact):
    """Which device the user expects torch to use, null for none in particular; and who says so."""

    device: Literal["gpu", "cpu"] | None
    evidence: str = ""
