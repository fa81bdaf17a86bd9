"""What is published: builds of torch, and the packages that go with them.

Every record says where it was read and when; `None` means that no source was found, and is never to
be read as "no".
"""

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


class CompanionsFile(Record):
    """companions.json."""

    as_of: str
    pairs: tuple[Companions, ...]
    extensions: tuple[ExtensionRelease, ...]
    binaries: tuple[CudaBinaries, ...]
    links: tuple[CudaLinks, ...]
    indexes: tuple[IndexBuilds, ...]
    numpy: tuple[NumpyRule, ...]
