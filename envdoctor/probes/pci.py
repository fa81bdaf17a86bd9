"""The GPUs on the PCI bus, from sysfs."""

import os
import re
from pathlib import Path

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import PciDevice, PciGpus
from envdoctor.probes.context import Context
from envdoctor.probes.files import read_text
from envdoctor.versions import parse_number

_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")
"""PCI class codes: VGA controller, 3D controller, other display controller (pci.ids)."""


def read_pci(root: Path) -> PciGpus | None:
    """The display and 3D controllers on the PCI bus; None where sysfs does not show the bus."""
    folder = root / "sys/bus/pci/devices"
    try:
        devices = sorted(folder.iterdir())
    except OSError:
        return None
    found = (_pci_device(device) for device in devices)
    return PciGpus(devices=tuple(device for device in found if device is not None))


def _pci_device(folder: Path) -> PciDevice | None:
    kind = (read_text(folder / "class") or "").strip()
    if not kind.startswith(_DISPLAY_CLASSES):
        return None
    return PciDevice(
        address=folder.name,
        vendor_id=_hexadecimal(folder / "vendor"),
        device_id=_hexadecimal(folder / "device"),
        driver=_name_of_link(folder / "driver"),
        link_speed_gt_s=_speed(folder / "current_link_speed"),
        link_width=_width(folder / "current_link_width"),
        max_link_speed_gt_s=_speed(folder / "max_link_speed"),
        max_link_width=_width(folder / "max_link_width"),
        numa_node=_numa_node(folder / "numa_node"),
    )


def _hexadecimal(path: Path) -> str:
    return (read_text(path) or "").strip().removeprefix("0x")


def _speed(path: Path) -> float | None:
    match = re.match(r"(\d{1,4}(?:\.\d{1,4})?) GT/s", (read_text(path) or "").strip())
    return float(match[1]) if match else None


def _width(path: Path) -> int | None:
    return parse_number((read_text(path) or "").strip()) or None


def _numa_node(path: Path) -> int | None:
    """The node, which is -1 where the firmware names none (sysfs-bus-pci)."""
    return parse_number((read_text(path) or "").strip())


def _name_of_link(path: Path) -> str | None:
    """The last part of what a link names: sysfs links a device to the driver that holds it."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def observe_pci(context: Context) -> dict[type[Fact], Known]:
    """The display and 3D controllers on the PCI bus."""
    found = read_pci(context.root)
    if found is None:
        absent = "/sys/bus/pci/devices is not there"
        return {PciGpus: Unknown(reason=Reason.NOT_APPLICABLE, detail=absent)}
    return {PciGpus: Observed(value=found, source="/sys/bus/pci/devices")}
