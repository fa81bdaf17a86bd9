"""What drivers, toolkits, systems and GPUs are.

Every record says where it was read and when; `None` means that no source was found, and is never to
be read as "no".
"""

from typing import Literal

import msgspec

from envdoctor.record import Record

# --- drivers ---


class DriverFloor(Record):
    """The oldest driver that runs builds of a CUDA major (or of one CUDA before 11.1)."""

    cuda_major: str
    min_release_linux: str
    min_release_windows: str
    source: str
    retrieved: str


class DriverBranch(Record):
    """A driver branch. `kind`: LTSB, PB, NFB. `cuda` is the CUDA that its nvidia-smi prints."""

    branch: str
    cuda: str | None
    source: str
    retrieved: str
    kind: str | None = None
    status: str | None = None
    end_of_life: str | None = None
    min_compute_capability: str | None = None
    note: str | None = None


class DriverStart(Record):
    """The first driver branch that supports an architecture."""

    architecture: str
    compute_capabilities: tuple[str, ...]
    branch: str
    source: str
    retrieved: str


class DriverLimit(Record):
    """The last driver branch that supports an architecture, and the first one that does not.

    Windows numbers releases of branch 580 up to 582, so the two need not be neighbours.
    """

    architecture: str
    compute_capabilities: tuple[str, ...]
    branch: str
    first_without: str
    source: str
    retrieved: str


class ToolkitDriver(Record):
    """The driver bundled with a toolkit: for all its features, not for running its programs."""

    name: str
    min_release_linux: str | None
    min_release_windows: str | None
    source: str
    retrieved: str


class ForwardCompatibility(Record):
    """A rule of the cuda-compat packages."""

    rule: str
    source: str
    retrieved: str
    applies_to: str | None = None


class HostCompilers(Record):
    """The major versions of gcc that the nvcc of a toolkit accepts."""

    cuda: str
    gcc_min: int
    gcc_max: int
    source: str
    retrieved: str


class CudnnLimit(Record):
    """The last cuDNN for older GPUs: later ones need `min_compute_capability_after`."""

    last_version: str
    min_compute_capability_after: str
    source: str
    retrieved: str


class LibraryFloor(Record):
    """The oldest driver for cuDNN of a CUDA major."""

    cuda_major: str
    min_release_linux: str
    source: str
    retrieved: str


class DriversFile(Record):
    """drivers.json."""

    as_of: str
    floors: tuple[DriverFloor, ...]
    branches: tuple[DriverBranch, ...]
    starts: tuple[DriverStart, ...]
    limits: tuple[DriverLimit, ...]
    toolkits: tuple[ToolkitDriver, ...]
    forward_compat: tuple[ForwardCompatibility, ...]
    host_compilers: tuple[HostCompilers, ...]
    cudnn_limits: tuple[CudnnLimit, ...]
    cudnn_floors: tuple[LibraryFloor, ...]


class System(Record):
    """A Linux distribution's release and its glibc."""

    name: str
    release: str
    glibc: str
    source: str
    retrieved: str


class SystemsFile(Record):
    """systems.json."""

    as_of: str
    systems: tuple[System, ...]


XidAction = Literal["none", "restart-application", "reset-gpu", "restart-machine", "check-cables"]


class Xid(Record):
    """An error that the driver logs by number. `action` is the immediate one of NVIDIA's catalogue;
    that of 48 and 74, which have procedures of their own, is what their description asks for."""

    code: int
    meaning: str
    concerns: Literal["application", "memory", "link", "firmware", "power", "hardware"]
    action: XidAction
    source: str
    retrieved: str


class XidsFile(Record):
    """xids.json."""

    as_of: str
    xids: tuple[Xid, ...]


# --- GPUs ---


class GpuModel(Record):
    """A GPU model: GB, GB/s, TFLOPS (tensor rates dense, without sparsity), W, MHz.

    `provenance` names the source of each field; `memory_type` is HBM2e, GDDR6X, ... or null. `kind`
    is `other` where no more than the name and the chip is known.
    """

    model: str
    match: tuple[str, ...]
    kind: str
    compute_capability: str | None
    architecture: str | None
    memory_gb: float | None
    memory_bandwidth_gb_s: float | None
    fp32_tflops: float | None
    tf32_tensor_tflops: float | None
    bf16_tensor_tflops: float | None
    fp16_tensor_tflops: float | None
    fp16_accumulate: str | None
    tdp_w: float | None
    source: str
    retrieved: str
    sm_count: int | None = None
    boost_mhz: float | None = None
    has_tensor_cores: bool | None = None
    tf32: bool | None = None
    bf16: bool | None = None
    fp8: bool | None = None
    memory_type: str | None = None
    notes: tuple[str, ...] = ()
    provenance: dict[str, str] = msgspec.field(default_factory=dict)


class LaptopGpu(Record):
    """A GPU whose power its laptop's maker chooses between two limits in W, with the boost clock in
    MHz at either."""

    model: str
    cuda_cores: int
    power_w: tuple[float, float]
    boost_mhz: tuple[float, float]
    source: str
    retrieved: str

    def clock_mhz(self, limit_w: float) -> float:
        """The boost clock at a power limit, on the line between the two; beyond them that of the
        nearer one."""
        (least, most), (slow, fast) = self.power_w, self.boost_mhz
        share = (min(max(limit_w, least), most) - least) / (most - least)
        return slow + share * (fast - slow)

    def fp32_tflops(self, limit_w: float) -> float:
        """The peak at that clock: a multiply-add of every core in a cycle."""
        return 2 * self.cuda_cores * self.clock_mhz(limit_w) / 1e6


class LaptopsFile(Record):
    """laptops.json."""

    as_of: str
    laptops: tuple[LaptopGpu, ...]


class GpuName(Record):
    """A name that several models share ("Orin"): `what` it stands for, and what it can run.
    `models` are words that all of these models have in their names, empty where none is known."""

    name: str
    compute_capability: str
    what: str
    source: str
    retrieved: str
    models: str = ""


class OtherVendor(Record):
    """How GPUs of another vendor are called: a regular expression on the name in lower case."""

    vendor: str
    pattern: str
    source: str
    retrieved: str


class GpusFile(Record):
    """gpus.json."""

    as_of: str
    gpus: tuple[GpuModel, ...]
    names: tuple[GpuName, ...]
    vendors: tuple[OtherVendor, ...]
