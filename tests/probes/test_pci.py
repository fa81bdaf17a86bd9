"""What lies between GPUs on the bus: bridges, their ACS, the IOMMU; from trees like sysfs."""

import os
import struct
from pathlib import Path

import pytest

from envdoctor.facts.machine import PciDevice
from envdoctor.probes.pci import read_pci

ROOT, UPSTREAM = "0000:00:01.0", "0000:01:00.0"
PORTS = ("0000:02:08.0", "0000:02:09.0")
GPUS = ("0000:07:00.0", "0000:08:00.0")
REDIRECTS = 0x001D
"""SrcValid+ ReqRedir+ CmpltRedir+ UpstreamFwd+, what Linux sets for an IOMMU."""


def configuration(control: int, *, before: int = 1) -> bytes:
    """4 KB with a chain of extended capabilities, ACS (13) the last of them."""
    space = bytearray(4096)
    at = 0x100
    for _ in range(before):
        struct.pack_into("<I", space, at, 0x0001 | 1 << 16 | (at + 0x40) << 20)
        at += 0x40
    struct.pack_into("<IHH", space, at, 0x000D | 1 << 16, 0x001F, control)
    return bytes(space)


class Bus:
    """Two GPUs below one switch."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/bus/pci/devices").mkdir(parents=True)
        for port, gpu in zip(PORTS, GPUS, strict=True):
            self.device(ROOT, UPSTREAM, port, gpu, kind="0x030200")
            self.acs(port, REDIRECTS)

    def device(self, *path: str, kind: str, vendor: str = "0x10de") -> Path:
        folder = self.root / "sys/devices/pci0000:00"
        for address in path:
            folder = folder / address
            folder.mkdir(parents=True, exist_ok=True)
            link = self.root / "sys/bus/pci/devices" / address
            if not link.is_symlink():
                link.symlink_to(os.path.relpath(folder, link.parent))
        (folder / "class").write_text(f"{kind}\n")
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "device").write_text("0x20b5\n")
        return folder

    def acs(self, port: str, control: int) -> None:
        path = self.root / "sys/bus/pci/devices" / port / "config"
        path.write_bytes(configuration(control))

    @property
    def gpus(self) -> tuple[PciDevice, ...]:
        found = read_pci(self.root)
        assert found is not None
        return found.nvidia


@pytest.fixture
def bus(tmp_path: Path) -> Bus:
    bus = Bus(tmp_path)
    (bus.root / "sys/bus/pci/devices" / UPSTREAM / "config").write_bytes(bytes(4096))
    return bus


def test_the_bridges_above_a_gpu(bus: Bus) -> None:
    assert [gpu.bridges for gpu in bus.gpus] == [(ROOT, UPSTREAM, port) for port in PORTS]
    assert [gpu.redirecting for gpu in bus.gpus] == [(port,) for port in PORTS]


@pytest.mark.parametrize(
    ("control", "redirects"), [(0x0000, False), (0x0001, False), (0x0004, True), (0x001D, True)]
)
def test_what_redirects_is_request_redirect(bus: Bus, control: int, redirects: bool) -> None:
    """Source Validation alone (bit 0) sends nothing another way."""
    bus.acs(PORTS[0], control)
    assert bus.gpus[0].redirecting == ((PORTS[0],) if redirects else ())


def test_a_port_without_acs_redirects_nothing(bus: Bus) -> None:
    (bus.root / "sys/bus/pci/devices" / PORTS[0] / "config").write_bytes(bytes(4096))
    assert bus.gpus[0].redirecting == ()


def test_a_chain_that_leads_in_a_circle_ends(bus: Bus) -> None:
    space = bytearray(4096)
    struct.pack_into("<I", space, 0x100, 0x0001 | 0x100 << 20)
    (bus.root / "sys/bus/pci/devices" / PORTS[0] / "config").write_bytes(bytes(space))
    assert bus.gpus[0].redirecting == ()


def test_what_only_root_may_read_is_unknown_to_others(bus: Bus) -> None:
    """Others get the first 64 bytes."""
    (bus.root / "sys/bus/pci/devices" / PORTS[0] / "config").write_bytes(bytes(64))
    assert [gpu.redirecting for gpu in bus.gpus] == [None, (PORTS[1],)]


def test_one_gpu_has_nobody_to_exchange_with(tmp_path: Path) -> None:
    (tmp_path / "sys/bus/pci/devices").mkdir(parents=True)
    bus = Bus.__new__(Bus)
    bus.root = tmp_path
    bus.device(ROOT, GPUS[0], kind="0x030000")
    bus.device(ROOT, "0000:09:00.0", kind="0x030000", vendor="0x1002")
    (gpu,) = bus.gpus
    assert (gpu.bridges, gpu.redirecting, gpu.iommu) == ((ROOT,), None, None)


@pytest.mark.parametrize("word", ["DMA", "DMA-FQ", "identity"])
def test_the_type_of_the_iommu_group_is_the_kernels_word(bus: Bus, word: str) -> None:
    group = bus.root / "sys/kernel/iommu_groups/17"
    group.mkdir(parents=True)
    (group / "type").write_text(f"{word}\n")
    device = bus.root / "sys/bus/pci/devices" / GPUS[0]
    (device / "iommu_group").symlink_to(os.path.relpath(group, device.resolve()))
    assert [gpu.iommu for gpu in bus.gpus] == [word, None]
