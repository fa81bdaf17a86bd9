"""Which chip a PCI device of NVIDIA is, and what CUDA calls its compute capability."""

from bisect import bisect_right
from collections.abc import Sequence

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


def _range_of(number: int, ranges: Sequence[ChipRange], firsts: Sequence[int]) -> ChipRange | None:
    at = bisect_right(firsts, number) - 1
    if at < 0 or number > int(ranges[at].last, 16):
        return None
    return ranges[at]
