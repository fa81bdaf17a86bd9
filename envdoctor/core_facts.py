"""The facts that the built-in probes observe. Field names carry their units."""

from envdoctor.facts import Fact
from envdoctor.record import Record

__all__ = [
    "Candidate",
    "Companion",
    "ComponentVersion",
    "Container",
    "CudaComponents",
    "CudaInit",
    "DamagedDistribution",
    "DamagedFile",
    "Distribution",
    "Distributions",
    "Driver",
    "Environment",
    "Expectation",
    "FirstUse",
    "Frame",
    "Gpu",
    "Gpus",
    "Host",
    "HostCompiler",
    "InstalledFiles",
    "Installer",
    "Interpreter",
    "Limits",
    "LoadedLibraries",
    "Nvml",
    "PciDevice",
    "PciGpus",
    "Target",
    "Toolkit",
    "Toolkits",
    "TorchAbsent",
    "TorchBuild",
    "TorchDevice",
    "TorchFirstUse",
    "TorchImport",
    "TorchRuntime",
]

# --- the target ---


class Candidate(Record):
    """An interpreter that was considered as the target."""

    path: str
    origin: str
    torch_on_disk: bool | None
    problem: str | None = None


class Target(Fact):
    """Which interpreter is examined, and why that one.

    `problem` is null for a usable one, else one of `not-found`, `not-executable`, `not-python`,
    `base-missing`, `too-old`, `failed`.
    """

    path: str
    chosen_because: str
    passed_over: tuple[Candidate, ...] = ()
    problem: str | None = None
    detail: str = ""
    version: str | None = None
    site_packages: tuple[str, ...] = ()


class Interpreter(Fact):
    """The target interpreter as it describes itself. Paths are as the interpreter gives them."""

    executable: str
    version: str
    version_info: tuple[int, int, int]
    implementation: str
    soabi: str | None
    machine: str
    prefix: str
    base_prefix: str
    sys_path: tuple[str, ...]
    site_packages: tuple[str, ...]
    user_site: str | None
    user_site_enabled: bool
    safe_path: bool
    stdlib: str
    cwd: str
    conda_prefix: str | None = None
    externally_managed: bool = False
    glibc: str | None = None


class Distribution(Record):
    """An installed distribution, read from its metadata folder."""

    name: str
    version: str
    location: str
    metadata_path: str
    installer: str | None = None
    tags: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    editable: bool = False
    has_record: bool = True


class Distributions(Fact):
    """All distributions on the target's path, in path order; `name` is normalised (PEP 503)."""

    items: tuple[Distribution, ...]
    unreadable: tuple[str, ...] = ()

    def named(self, name: str) -> tuple[Distribution, ...]:
        """The distributions of that normalised name, in path order."""
        return tuple(item for item in self.items if item.name == name)

    def first(self, name: str) -> Distribution | None:
        """The distribution of that name that an import would see."""
        return next(iter(self.named(name)), None)


class DamagedFile(Record):
    """A file that differs from the RECORD of its distribution. `kind`: missing, size, hash."""

    path: str
    kind: str
    expected: str = ""
    actual: str = ""


class DamagedDistribution(Record):
    """A distribution with files that differ from its RECORD. At most 50 files are named."""

    name: str
    version: str
    metadata_path: str
    files: tuple[DamagedFile, ...]
    damaged_count: int


class InstalledFiles(Fact):
    """Whether the files of the installed distributions are those that their RECORD lists."""

    damaged: tuple[DamagedDistribution, ...]
    checked_files: int
    hashed: bool = False


class Installer(Fact):
    """What manages the target environment: pip, uv, conda, pixi, poetry, pipenv, pdm ..."""

    name: str
    evidence: str
    in_conda: bool = False


# --- torch ---


class TorchBuild(Fact):
    """The torch on disk, read without importing it.

    `cuda` is the CUDA that torch was built with ("12.6"), null for a build without CUDA.
    `arch_flags` are the compiled targets, e.g. ("sm_80", "compute_90"), empty where they could
    not be read; `fatbin_arch_flags` are those in the headers of libtorch_cuda's fatbins.
    """

    version: str | None
    cuda: str | None
    hip: str | None
    path: str
    variant: str
    version_source: str
    arch_flags: tuple[str, ...] = ()
    arch_source: str = ""
    fatbin_arch_flags: tuple[str, ...] = ()
    git_version: str | None = None
    debug: bool = False
    cxx11_abi: bool | None = None
    missing_parts: tuple[str, ...] = ()


class TorchAbsent(Fact):
    """Whether torch is on the target's path at all. `searched` are the folders looked into."""

    absent: bool
    searched: tuple[str, ...]


class Frame(Record):
    """One line of a traceback."""

    file: str
    line: int
    function: str


class TorchImport(Fact):
    """What `import torch` does in the target, as the user would run it.

    `outcome`: ok, exception, signal, exit, hang. `isolated_outcome` is that of a second run with
    `-I` (no cwd, no PYTHONPATH, no user site), made when the first fails or surprises.
    """

    outcome: str
    seconds: float
    file: str | None = None
    version: str | None = None
    exception: str | None = None
    message: str = ""
    cause: str = ""
    frames: tuple[Frame, ...] = ()
    signal: str | None = None
    exit_code: int | None = None
    output_tail: str = ""
    isolated_outcome: str | None = None
    isolated_file: str | None = None
    isolated_message: str = ""
    shadowed: tuple[str, ...] = ()


class TorchDevice(Record):
    """A GPU as torch sees it."""

    index: int
    name: str
    compute_capability: str
    memory_bytes: int
    uuid: str | None = None


class TorchRuntime(Fact):
    """What the imported torch says of itself. Version integers are as the library returns them."""

    version: str
    cuda: str | None
    hip: str | None
    cuda_available: bool
    device_count: int
    devices: tuple[TorchDevice, ...] = ()
    cuda_error: str | None = None
    cudnn_version: int | None = None
    cudnn_error: str | None = None
    nccl_version: str | None = None
    cudart_version: int | None = None
    arch_list: tuple[str, ...] = ()
    cpu_capability: str | None = None
    threads: int | None = None
    numpy_version: str | None = None
    numpy_error: str | None = None
    mps_available: bool = False
    cxx11_abi: bool | None = None


class FirstUse(Record):
    """A first operation on a device; `error` is null if it gave the right result."""

    device: str
    operation: str
    error: str | None = None
    seconds: float = 0.0


class TorchFirstUse(Fact):
    """The first matmul and convolution on the CPU and on every visible GPU."""

    operations: tuple[FirstUse, ...]


class LoadedLibraries(Fact):
    """The shared libraries that are mapped into the target after torch was used."""

    paths: tuple[str, ...]


class ComponentVersion(Record):
    """One statement of a library's version: what says it, and for which file."""

    component: str
    version: str | None
    source: str
    path: str | None = None
    distribution: str | None = None


class CudaComponents(Fact):
    """cuDNN, NCCL, nvJitLink, cudart ... on disk: every statement of their versions, not run."""

    items: tuple[ComponentVersion, ...]

    def version(self, component: str) -> str | None:
        """The first version that is known for that component."""
        return next((i.version for i in self.items if i.component == component and i.version), None)


class Companion(Record):
    """A distribution that has to fit torch: torchvision, torchaudio ..."""

    name: str
    version: str
    requires_torch: str | None
    cuda_tag: str | None = None


# --- the machine ---


class Host(Fact):
    """Operating system and hardware. Sizes are bytes; `glibc` is null where there is none."""

    os: str
    os_id: str
    os_version: str
    kernel: str
    machine: str
    glibc: str | None
    cpu_name: str
    cpu_flags: tuple[str, ...]
    logical_cpus: int
    physical_cpus: int | None
    memory_bytes: int
    memory_available_bytes: int


class Limits(Fact):
    """What this process may really use. A null quota or limit means none was found.

    `numa_nodes` are those of the CPUs that it may use, empty where Linux shows none.
    """

    usable_cpus: float
    affinity_cpus: int
    cgroup_cpu_quota: float | None
    cgroup_memory_bytes: int | None
    shm_bytes: int | None
    shm_free_bytes: int | None
    disk_free_bytes: int | None
    open_files: int | None = None
    numa_nodes: tuple[int, ...] = ()


class Container(Fact):
    """Whether this is a container or WSL. `kind`: none, docker, podman, kubernetes, lxc ..."""

    kind: str
    evidence: str = ""
    wsl: int | None = None
    nvidia_runtime: bool | None = None
    nvidia_visible_devices: str | None = None


class PciDevice(Record):
    """A display or 3D controller on the PCI bus. `vendor_id` and `device_id` are hexadecimal;
    `numa_node` is null where the firmware names none."""

    address: str
    vendor_id: str
    device_id: str
    driver: str | None
    link_speed_gt_s: float | None = None
    link_width: int | None = None
    max_link_speed_gt_s: float | None = None
    max_link_width: int | None = None
    numa_node: int | None = None


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
    flavor: str | None = None
    modules: tuple[str, ...] = ()
    device_nodes: tuple[str, ...] = ()
    unusable_nodes: tuple[str, ...] = ()
    libcuda_files: tuple[str, ...] = ()
    nouveau_loaded: bool = False


class Nvml(Fact):
    """What NVML says. `status` is `ok` or the name of its error (`NVML_ERROR_...`)."""

    status: str
    message: str = ""
    driver_release: str | None = None
    driver_cuda: str | None = None
    library: str | None = None


class CudaInit(Fact):
    """What cuInit does, tried without torch. `status` is `ok`, the name of the CUDA error, or
    `libcuda-missing`; `library` is the libcuda that was loaded."""

    status: str
    code: int | None = None
    message: str = ""
    driver_cuda: str | None = None
    device_count: int | None = None
    library: str | None = None


class Gpu(Record):
    """One NVIDIA GPU. Fields are null where the driver does not say."""

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
    """Which device the user expects torch to use: `gpu`, `cpu`, or null; and who says so."""

    device: str | None
    evidence: str = ""
