"""The GPUs on the PCI bus, from sysfs."""

import os
import re
import struct
from pathlib import Path

from msgspec.structs import replace

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import PciDevice, PciGpus
from envdoctor.probes.context import Context
from envdoctor.probes.files import read_text
from envdoctor.regular_files import only_regular
from envdoctor.versions import parse_number

_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")
"""PCI class codes: VGA controller, 3D controller, other display controller (pci.ids)."""

_NVIDIA = "10de"
_ADDRESS = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"

_CONFIGURATION_BYTES = 4096
_EXTENDED = 0x100
_ACS = 0x000D
_ACS_CONTROL = 6
_REQUEST_REDIRECT = 0x0004
"""PCI Express: the space of a device, its extended capabilities (each header has its number, and
the place of the next in its upper 12 bits), Access Control Services with its control register
(linux/pci_regs.h: PCI_EXT_CAP_ID_ACS, PCI_ACS_CTRL, PCI_ACS_RR)."""

_MOST_CAPABILITIES = 64
"""Each has 8 bytes at least, and a chain may lead in a circle."""


def read_pci(root: Path) -> PciGpus | None:
    """The display and 3D controllers on the PCI bus; None where sysfs does not show the bus."""
    folder = root / "sys/bus/pci/devices"
    try:
        folders = sorted(folder.iterdir())
    except OSError:
        return None
    found = (_pci_device(one) for one in folders)
    devices = [device for device in found if device is not None]
    several = sum(device.vendor_id == _NVIDIA for device in devices) > 1
    return PciGpus(
        devices=tuple(
            _between(device, folder, read_ports=several) if device.vendor_id == _NVIDIA else device
            for device in devices
        )
    )


def _between(device: PciDevice, folder: Path, *, read_ports: bool) -> PciDevice:
    """What lies between a GPU and the others. Ports are asked only where there are several GPUs:
    to read of one wakes it."""
    own = folder / device.address
    bridges = _bridges(own)
    # A root port redirects nothing that would stay below it.
    acs = {port: _redirects(folder / port) for port in bridges[1:]} if read_ports else {}
    known = read_ports and all(one is not None for one in acs.values())
    return replace(
        device,
        iommu=(read_text(own / "iommu_group/type", 64) or "").strip() or None,
        bridges=bridges,
        redirecting=tuple(port for port, one in acs.items() if one) if known else None,
    )


def _bridges(device: Path) -> tuple[str, ...]:
    """sysfs holds a device in the folder of the bridge above it."""
    parts = os.path.realpath(device).split("/")
    return tuple(part for part in parts[:-1] if re.fullmatch(_ADDRESS, part))


def _redirects(port: Path) -> bool | None:
    """Whether the ACS of a port has P2P Request Redirect on; None where this user may not read it:
    beyond 64 bytes the configuration is root's."""
    try:
        with open(port / "config", "rb", opener=only_regular) as file:
            configuration = file.read(_CONFIGURATION_BYTES)
    except OSError:
        return None
    if len(configuration) < _CONFIGURATION_BYTES:
        return None
    at = _EXTENDED
    for _ in range(_MOST_CAPABILITIES):
        (header,) = struct.unpack_from("<I", configuration, at)
        if header & 0xFFFF == _ACS:
            (control,) = struct.unpack_from("<H", configuration, at + _ACS_CONTROL)
            return bool(control & _REQUEST_REDIRECT)
        at = header >> 20
        if not _EXTENDED <= at <= _CONFIGURATION_BYTES - 8:
            return False
    return False


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
