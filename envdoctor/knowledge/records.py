"""The records of the knowledge base. Every one says where it was read and when.

`None` means that no source was found; it is never to be read as "no".
"""

from typing import Literal

import msgspec

from envdoctor.record import Record

# --- torch builds ---


class Variant(Record):
    """One official build of a torch release.

    `tag` is that of the index it is published on ("cu124", "cpu"); `cuda` the CUDA that it was
    built with. `status` is "stable" or "experimental" where the release matrix says so,
    "unverified" where no source confirms that it was published, "derived" where its targets were
    inferred from a build script. `requires` are version specifiers of wheels that it pins, by
    their names. `arch_flags` are the compiled targets ("sm_80", "compute_90"), None where no
    source lists them; `ptx_known` says whether the source would list PTX. `glibc` is the floor of
    the wheel's platform tag; 2.17 where the tag is manylinux1, whose libraries were found to need
    GLIBC_2.15 to 2.17 (ELF version needs of the PyPI wheels 1.8.0 to 2.6.0). `verified` marks
    facts read from the real wheel rather than from release documents.
    """

    tag: str
    cuda: str | None
    machine: str
    source: str
    verified: bool
    cuda_release: str | None = None
    status: str | None = None
    cudnn: str | None = None
    nccl: str | None = None
    nvjitlink: str | None = None
    triton: str | None = None
    glibc: str | None = None
    cxx11_abi: bool | None = None
    requires: dict[str, str] = msgspec.field(default_factory=dict)
    arch_flags: tuple[str, ...] | None = None
    arch_source: str = ""
    arch_verified: bool = False
    ptx_known: bool = True
    notes: tuple[str, ...] = ()

    @property
    def is_cpu(self) -> bool:
        """Whether this build has no GPU support."""
        return self.cuda is None

    @property
    def is_for_windows(self) -> bool:
        """Whether there is one for Windows beside this one for Linux.

        Those of the release matrix are for both, experimental ones too (pytorch.org, Previous
        Versions, 1.8 to 2.11; pytorch/test-infra@61a77570, CUDA_ARCHES_NO_WINDOWS: none up to CUDA
        13.2). Of extras that are in no matrix no source says so.
        """
        return self.machine == "x86_64" and self.status in (None, "stable", "experimental")


class TorchRelease(Record):
    """A stable release of torch. `variants` are the Linux x86_64 builds, `aarch64` those for Arm.

    `pypi_variant` is what `pip install torch` gives on Linux x86_64 and `pypi_variant_aarch64` on
    Arm; the PyPI wheels for Windows and macOS have no CUDA. For which Pythons and systems there are
    wheels is in wheels.json.
    """

    version: str
    date: str
    requires_python: str
    pypi_variant: str
    variants: tuple[Variant, ...]
    source: str
    retrieved: str
    aarch64: tuple[Variant, ...] = ()
    pypi_variant_aarch64: str | None = None
    rocm: tuple[str, ...] = ()
    rocm_source: str | None = None

    def builds(self, machine: str = "x86_64") -> tuple[Variant, ...]:
        """The Linux builds for a machine as `uname -m` names it; empty where there are none."""
        return {"x86_64": self.variants, "aarch64": self.aarch64}.get(machine, ())


class Milestone(Record):
    """A change in what torch builds contain."""

    event: str
    detail: str
    source: str
    retrieved: str


class CapabilityFloor(Record):
    """The lowest compute capability that any official build of torch from a release on has code
    for. That release is the first for Python 3.8, the oldest that the doctor looks into."""

    compute_capability: str
    from_release: str
    source: str
    retrieved: str


class TorchFile(Record):
    """torch.json."""

    as_of: str
    capability_floor: CapabilityFloor
    releases: tuple[TorchRelease, ...]
    milestones: tuple[Milestone, ...]


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


class Xid(Record):
    """An error that the driver logs by number. `action` is the immediate one of NVIDIA's catalogue;
    that of 48 and 74, which have procedures of their own, is what their description asks for."""

    code: int
    meaning: str
    concerns: Literal["application", "memory", "link", "firmware", "power", "hardware"]
    action: Literal["none", "restart-application", "reset-gpu", "restart-machine", "check-cables"]
    source: str
    retrieved: str


class XidsFile(Record):
    """xids.json."""

    as_of: str
    xids: tuple[Xid, ...]


# --- companions ---


class Companions(Record):
    """The releases that pair with one torch; empty where none was published for it.

    `triton` holds the requirement as torch states it: "3.2.0" is exact, "~=3.8.0" a range.
    `admits` are the requirements on torch of companions that do not pin it exactly; an empty one
    is of a companion that states none.
    """

    torch: str
    torchvision: tuple[str, ...]
    torchaudio: tuple[str, ...]
    torchtext: tuple[str, ...]
    triton: tuple[str, ...]
    notes: tuple[str, ...]
    source: str
    retrieved: str
    admits: dict[str, str] = msgspec.field(default_factory=dict)


class ExtensionRelease(Record):
    """A release of a package that extends torch.

    `requires_torch` is its own requirement; `built_for_torch` the torch that its binaries were
    made for, where it declares none, in its own words; `pairs_with_torch` a specifier from the
    project's own table of compatible versions. `date` is None where it was not read.
    """

    name: str
    version: str
    date: str | None
    source: str
    retrieved: str
    requires_torch: str | None = None
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    built_for_torch: str | None = None
    pairs_with_torch: str | None = None


class CudaLinks(Record):
    """The CUDA majors whose runtime the PyPI wheels of some releases are linked against; empty
    where they need no library of CUDA."""

    name: str
    version: str
    cuda_majors: tuple[str, ...]
    source: str
    retrieved: str


class IndexBuilds(Record):
    """The variants in which PyTorch's own index has a release that pairs with no single torch."""

    name: str
    version: str
    tags: tuple[str, ...]
    source: str
    retrieved: str


class CudaBinaries(Record):
    """The CUDA versions for which releases of a package carry compiled code."""

    name: str
    version: str
    cuda: tuple[str, ...]
    source: str
    retrieved: str


class NumpyRule(Record):
    """Whether torch releases work with numpy 2; `os` None means all systems."""

    torch: str
    os: str | None
    fits_numpy_2: bool
    source: str
    retrieved: str


class BrokenPin(Record):
    """A release whose own requirement cannot be met from PyPI."""

    name: str
    version: str
    requirement: str
    fixed_by: str
    source: str
    retrieved: str


class CompanionsFile(Record):
    """companions.json."""

    as_of: str
    pairs: tuple[Companions, ...]
    extensions: tuple[ExtensionRelease, ...]
    binaries: tuple[CudaBinaries, ...]
    links: tuple[CudaLinks, ...]
    indexes: tuple[IndexBuilds, ...]
    numpy: tuple[NumpyRule, ...]
    broken_pins: tuple[BrokenPin, ...]


# --- GPUs ---


class GpuModel(Record):
    """A GPU model: GB, GB/s, TFLOPS (tensor rates dense, without sparsity), W, MHz.

    `provenance` names the source of each field; `memory_type` is HBM2e, GDDR6X, ... or null.
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


# --- ResNet-50 ---


class ResnetModel(Record):
    """What ResNet-50 v1.5 costs at 224 x 224: parameters, 10^9 multiply-adds, 10^9 operations."""

    parameters: int
    forward_macs_g: float
    train_step_gflop_per_image: float
    source: str
    retrieved: str


class ResnetReference(Record):
    """A published ResNet-50 training rate of one GPU, images per second.

    `gpu` is the model in gpus.json where it is one of those, `system` what the source calls it.
    `tier` says how good a reference it is. `date` is that of the measurement, None where unsaid.
    """

    gpu: str
    system: str
    precision: str
    images_per_s_per_gpu: float
    tier: str
    source: str
    retrieved: str
    framework: str | None = None
    memory_format: str | None = None
    batch: str | None = None
    dataset: str | None = None
    date: str | None = None
    runs: tuple[float, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    notes: tuple[str, ...] = ()


class MlperfReference(Record):
    """A single-node MLPerf training submission, per GPU. Mostly MXNet, so an upper bound."""

    gpu: str
    system: str
    gpus: int
    images_per_s_per_gpu: float
    includes_evaluation: bool
    round: str
    framework: str
    source: str
    retrieved: str
    precision: str | None = None


class CpuReference(Record):
    """A published ResNet-50 rate of a CPU machine. `kind`: training or inference."""

    cpu: str
    kind: str
    precision: str | None
    images_per_s: float
    batch: int
    source: str
    retrieved: str
    notes: tuple[str, ...] = ()


class ReferencesFile(Record):
    """references.json."""

    as_of: str
    resnet50: ResnetModel
    training: tuple[ResnetReference, ...]
    mlperf: tuple[MlperfReference, ...]
    cpu: tuple[CpuReference, ...]
