"""The knowledge base: typed JSON files, each read when it is first asked for."""

from functools import cached_property
from pathlib import Path
from typing import TypeVar

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.knowledge.arch import covers, parsed_capability
from envdoctor.knowledge.builds import (
    Companions,
    CompanionsFile,
    CudaBinaries,
    CudaLinks,
    ExtensionRelease,
    IndexBuilds,
    TorchFile,
    TorchRelease,
    Variant,
)
from envdoctor.knowledge.chips import ChipsFile, ChipTable, PciChip
from envdoctor.knowledge.hardware import (
    DriverBranch,
    DriverFloor,
    DriverLimit,
    DriversFile,
    DriverStart,
    GpuModel,
    GpusFile,
    HostCompilers,
    LaptopGpu,
    LaptopsFile,
    System,
    SystemsFile,
    Xid,
    XidsFile,
)
from envdoctor.knowledge.libraries import LibrariesFile, LibraryCatalogue
from envdoctor.knowledge.names import Named, best_match, identify
from envdoctor.knowledge.rates import (
    ReferencesFile,
    ResnetModel,
    ResnetReference,
)
from envdoctor.knowledge.wheels import WheelsFile, WheelTable
from envdoctor.versions import parse_version

FOLDER = Path(__file__).parent
_File = TypeVar("_File")


class Knowledge:
    """What vendors publish, as dated data. Nothing here was observed on this machine."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def _read(self, name: str, kind: type[_File]) -> _File:
        return msgspec.json.decode((self.folder / name).read_bytes(), type=kind)

    # --- torch ---

    @cached_property
    def torch(self) -> TorchFile:
        """All that is known of torch builds."""
        return self._read("torch.json", TorchFile)

    @cached_property
    def _releases(self) -> dict[Version, TorchRelease]:
        return {Version(release.version): release for release in self.torch.releases}

    @property
    def as_of(self) -> str:
        """When the data was gathered: an ISO 8601 month or day."""
        return self.torch.as_of

    @property
    def releases(self) -> tuple[TorchRelease, ...]:
        """All stable releases of torch, oldest first."""
        return self.torch.releases

    @cached_property
    def minor_lines(self) -> tuple[int, ...]:
        """For each release, which minor line it is of: 0 for the oldest."""
        minors = [Version(release.version).release[:2] for release in self.releases]
        order = {minor: at for at, minor in enumerate(sorted(set(minors)))}
        return tuple(order[minor] for minor in minors)

    def release(self, version: str) -> TorchRelease | None:
        """The release of that version; its local part (`+cu124`) is left out of account.

        None for a version that is not in the data, and for nightlies and source builds.
        """
        parsed = parse_version(version)
        return None if parsed is None else self._releases.get(Version(parsed.public))

    def variant(self, version: str, tag: str, machine: str = "x86_64") -> Variant | None:
        """That Linux build of that release, if it was ever published."""
        release = self.release(version)
        if release is None:
            return None
        return next((one for one in release.builds(machine) if one.tag == tag), None)

    @property
    def newest_torch(self) -> str:
        """The newest release in the data."""
        return str(max(self._releases))

    def is_newer_than_data(self, version: str) -> bool:
        """Whether that torch is newer than the data, so that nothing about it is known here."""
        parsed = parse_version(version)
        return parsed is not None and Version(parsed.public) > Version(self.newest_torch)

    def served_by_some_torch(self, compute_capability: str) -> bool | None:
        """Whether an official build of torch, for a Python that the doctor can look into, has code
        for GPUs of that compute capability ("2.1").

        False below what every such build was compiled for. None where none in the data has code
        and others may: those that NVIDIA publishes for Jetsons, or newer ones. Raises ValueError
        for a compute capability that is not major.minor.
        """
        floor = self.torch.capability_floor.compute_capability
        if parsed_capability(compute_capability) < parsed_capability(floor):
            return False
        served = any(
            covers(one.arch_flags or (), compute_capability, torch=release.version, cuda=one.cuda)
            for release in self.releases
            for one in (*release.variants, *release.aarch64)
        )
        return served or None

    # --- wheels ---

    @cached_property
    def wheels_file(self) -> WheelsFile:
        """The file lists of torch and its companions on the package index."""
        return self._read("wheels.json", WheelsFile)

    @cached_property
    def wheels(self) -> WheelTable:
        """For which systems and Pythons torch and its companions have wheels."""
        return WheelTable(self.wheels_file)

    # --- libraries ---

    @cached_property
    def libraries_file(self) -> LibrariesFile:
        """All that is known of the libraries of CUDA and torch."""
        return self._read("libraries.json", LibrariesFile)

    @cached_property
    def libraries(self) -> LibraryCatalogue:
        """The libraries of CUDA and torch."""
        return LibraryCatalogue(self.libraries_file.libraries)

    # --- drivers ---

    @cached_property
    def drivers(self) -> DriversFile:
        """All that is known of drivers."""
        return self._read("drivers.json", DriversFile)

    def driver_floor(self, cuda: str) -> DriverFloor | None:
        """The oldest driver that runs builds made with that CUDA ("12.6").

        From CUDA 11.1 on it is that of the major (minor-version compatibility), before that each
        CUDA has its own. None for a CUDA that is not in the data.
        """
        floors = {floor.cuda_major: floor for floor in self.drivers.floors}
        major_minor = ".".join(cuda.split(".")[:2])
        return floors.get(major_minor) or floors.get(cuda.split(".", maxsplit=1)[0])

    def driver_branch(self, release: str) -> DriverBranch | None:
        """The branch of a driver release ("535.183.01" is of branch 535)."""
        number = release.split(".", maxsplit=1)[0]
        return next((one for one in self.drivers.branches if one.branch == number), None)

    def max_driver_branch(self, compute_capability: str) -> DriverLimit | None:
        """The last driver branch for GPUs of that compute capability; None if no end is known."""
        return next(
            (one for one in self.drivers.limits if compute_capability in one.compute_capabilities),
            None,
        )

    def min_driver_branch(self, compute_capability: str) -> DriverStart | None:
        """The first driver branch for GPUs of that compute capability; None if none is known."""
        return next(
            (one for one in self.drivers.starts if compute_capability in one.compute_capabilities),
            None,
        )

    def host_compilers(self, cuda: str) -> HostCompilers | None:
        """Which gcc the nvcc of that CUDA accepts; None where no source was found."""
        major_minor = ".".join(cuda.split(".")[:2])
        return next((one for one in self.drivers.host_compilers if one.cuda == major_minor), None)

    @cached_property
    def systems(self) -> tuple[System, ...]:
        """Linux distributions with their glibc."""
        return self._read("systems.json", SystemsFile).systems

    @cached_property
    def _xids(self) -> dict[int, Xid]:
        return {one.code: one for one in self._read("xids.json", XidsFile).xids}

    def xid(self, code: int) -> Xid | None:
        """What that Xid of the driver means; None for one that is not in the data."""
        return self._xids.get(code)

    # --- GPUs ---

    @cached_property
    def gpus_file(self) -> GpusFile:
        """All that is known of GPUs."""
        return self._read("gpus.json", GpusFile)

    @property
    def gpus(self) -> tuple[GpuModel, ...]:
        """All GPU models in the data."""
        return self.gpus_file.gpus

    @cached_property
    def _laptops(self) -> dict[str, LaptopGpu]:
        return {one.model: one for one in self._read("laptops.json", LaptopsFile).laptops}

    def laptop(self, model: str) -> LaptopGpu | None:
        """What is known of the power of that GPU model in laptops; None where nothing is."""
        return self._laptops.get(model)

    def gpu(self, name: str, memory_bytes: int | None = None) -> GpuModel | None:
        """The model behind a name as nvidia-smi prints it ("NVIDIA A100-SXM4-40GB").

        `memory_bytes` tells models of one name apart. None where the name is unknown or ambiguous:
        a laptop GPU or a MIG slice is never taken for the card of the same number.
        """
        return best_match(name, memory_bytes, self.gpus)

    def capability_named(self, words: str) -> str | None:
        """The compute capability of the GPUs that are called so ("A100", "rtx3090", "sm_90", the
        name of a MIG slice or a vGPU).

        None where no model is, or models of several compute capabilities are.
        """
        found = self.named(words)
        return None if found.vendor else found.capability

    def named(self, words: str) -> Named:
        """All that a GPU's name may mean: models, a part of one, or another vendor's GPU."""
        return identify(words, self.gpus_file, lambda name: self._chips.model(name))  # noqa: PLW0108 - read when asked for

    @cached_property
    def chips_file(self) -> ChipsFile:
        """The chips of NVIDIA's PCI devices."""
        return self._read("pci_chips.json", ChipsFile)

    @cached_property
    def _chips(self) -> ChipTable:
        return ChipTable(self.chips_file)

    def chip(self, device_id: str) -> PciChip | None:
        """The chip of a PCI device of NVIDIA ("1140"); None for an id that is not in the data."""
        return self._chips.chip(device_id)

    # --- companions ---

    @cached_property
    def companions_file(self) -> CompanionsFile:
        """All that is known of packages that go with torch."""
        return self._read("companions.json", CompanionsFile)

    def companions(self, torch_version: str) -> Companions | None:
        """What pairs with that torch; None for a version that is not in the data."""
        release = self.release(torch_version)
        if release is None:
            return None
        pairs = self.companions_file.pairs
        return next((one for one in pairs if one.torch == release.version), None)

    def fits_numpy_2(self, torch_version: str, os: str = "linux") -> bool | None:
        """Whether that torch works with numpy 2; None where no rule covers it."""
        parsed = parse_version(torch_version)
        if parsed is None:
            return None
        for rule in self.companions_file.numpy:
            if rule.os in (None, os) and Version(parsed.public) in SpecifierSet(rule.torch):
                return rule.fits_numpy_2
        return None

    def binaries(self, name: str, version: str) -> CudaBinaries | None:
        """For which CUDA versions that release of a package has compiled code, where known."""
        parsed = parse_version(version)
        if parsed is None:
            return None
        for one in self.companions_file.binaries:
            if one.name == name and Version(parsed.public) in SpecifierSet(one.version):
                return one
        return None

    def links(self, name: str, version: str) -> CudaLinks | None:
        """The CUDA that the PyPI wheels of that release are linked against, where known."""
        parsed = parse_version(version)
        if parsed is None:
            return None
        for one in self.companions_file.links:
            if one.name == name and Version(parsed.public) in SpecifierSet(one.version):
                return one
        return None

    def index_builds(self, name: str, version: str) -> IndexBuilds | None:
        """The variants of a release on PyTorch's own index, where it pairs with no single torch."""
        public = version.partition("+")[0]
        for one in self.companions_file.indexes:
            if one.name == name and one.version == public:
                return one
        return None

    def extensions(self, name: str) -> tuple[ExtensionRelease, ...]:
        """The known releases of a package that extends torch, oldest first."""
        return tuple(one for one in self.companions_file.extensions if one.name == name)

    def extension(self, name: str, version: str) -> ExtensionRelease | None:
        """That release of a package that extends torch (xformers, vllm ...)."""
        parsed = parse_version(version)
        if parsed is None:
            return None
        return next(
            (
                one
                for one in self.companions_file.extensions
                if one.name == name and Version(one.version) == Version(parsed.public)
            ),
            None,
        )

    # --- ResNet-50 ---

    @cached_property
    def references(self) -> ReferencesFile:
        """All published rates."""
        return self._read("references.json", ReferencesFile)

    @property
    def resnet50(self) -> ResnetModel:
        """What ResNet-50 costs."""
        return self.references.resnet50

    @property
    def resnet50_references(self) -> tuple[ResnetReference, ...]:
        """Published training rates of single GPUs with PyTorch."""
        return self.references.training


def load(folder: Path = FOLDER) -> Knowledge:
    """The knowledge base in a folder, by default the one that ships with the doctor."""
    return Knowledge(folder)
