"""Which chip a PCI device of NVIDIA is, and what CUDA calls its compute capability."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from envdoctor.knowledge.hardware import GpuModel
from envdoctor.knowledge.names import names_alike
from envdoctor.record import Record


class PciChip(Record):
    """The chip behind a PCI device id of vendor 10de.

    `chip` is NVIDIA's code name (GF117), `name` the models that are sold with that id, None for an
    id that pci.ids lacks. `cuda` is False for chips from before CUDA. `cuda`, `architecture` and
    `compute_capability` are None where no source was found.
    """

    chip: str
    name: str | None
    architecture: str | None
    compute_capability: str | None
    cuda: bool | None


class ChipFamily(Record):
    """Chips of one compute capability."""

    chips: tuple[str, ...]
    architecture: str | None
    compute_capability: str | None
    cuda: bool
    source: str
    retrieved: str


class ChipRange(Record):
    """The device ids of a chip, four hexadecimal digits each, both ends included.

    NVIDIA gives its ids to chips in blocks: an id that pci.ids lacks is taken for the chip whose
    ids lie on both sides of it.
    """

    first: str
    last: str
    chip: str


class ChipDevices(Record):
    """What pci.ids lists for vendor 10de: GPUs alone, no audio, USB or chipset devices."""

    ranges: tuple[ChipRange, ...]
    names: dict[str, str]
    source: str
    retrieved: str


class ChipsFile(Record):
    """pci_chips.json. `families` are kept by hand, `devices` is made again from pci.ids."""

    as_of: str
    families: tuple[ChipFamily, ...]
    devices: ChipDevices


class ChipTable:
    """pci_chips.json, ready to be looked up."""

    def __init__(self, file: ChipsFile) -> None:
        self._ranges = file.devices.ranges
        self._firsts = [int(one.first, 16) for one in self._ranges]
        self._names = file.devices.names
        self._devices = file.devices
        self._families = {chip: family for family in file.families for chip in family.chips}

    def chip(self, device_id: str) -> PciChip | None:
        """The chip of a device id ("1140", "0x1140"); None for one in no range."""
        try:
            number = int(device_id, 16)
        except ValueError:
            return None
        found = _range_of(number, self._ranges, self._firsts)
        if found is None:
            return None
        family = self._families.get(found.chip)
        return PciChip(
            chip=found.chip,
            name=self._names.get(f"{number:04x}"),
            architecture=family.architecture if family else None,
            compute_capability=family.compute_capability if family else None,
            cuda=family.cuda if family else None,
        )

    def model(self, words: str) -> GpuModel | None:
        """The GPU that is called so, of which no more is known than its chip; None where none is,
        or where GPUs of several compute capabilities are."""
        for name in names_alike(words):
            chips = [chip for one in self._called.get(name, ()) if (chip := self.chip(one))]
            capabilities = {chip.compute_capability for chip in chips}
            if len(capabilities) == 1 and None not in capabilities:
                return self._model(min(chips, key=lambda chip: chip.name or ""))
        return None

    @cached_property
    def _called(self) -> dict[str, list[str]]:
        """Device ids by every form of the names that pci.ids has for them."""
        found: dict[str, list[str]] = defaultdict(list)
        for device_id, names in self._names.items():
            for name in _each(names):
                for form in names_alike(name):
                    found[form].append(device_id)
        return found

    def _model(self, chip: PciChip) -> GpuModel:
        return GpuModel(
            model=chip.name or chip.chip,
            match=(),
            kind="other",
            compute_capability=chip.compute_capability,
            architecture=chip.architecture,
            memory_gb=None,
            memory_bandwidth_gb_s=None,
            fp32_tflops=None,
            tf32_tensor_tflops=None,
            bf16_tensor_tflops=None,
            fp16_tensor_tflops=None,
            fp16_accumulate=None,
            tdp_w=None,
            source=self._devices.source,
            retrieved=self._devices.retrieved,
        )


def _each(names: str) -> Iterator[str]:
    """The names of one device, which pci.ids parts by ` / `: `Quadro K620M / Quadro M500M`; what
    leaves out the brand is none (`GeForce GTX 960 OEM / 970M`)."""
    for name in names.split(" / "):
        if " " in name or "/" not in names:
            yield name


def _range_of(number: int, ranges: Sequence[ChipRange], firsts: Sequence[int]) -> ChipRange | None:
    at = bisect_right(firsts, number) - 1
    if at < 0 or number > int(ranges[at].last, 16):
        return None
    return ranges[at]
