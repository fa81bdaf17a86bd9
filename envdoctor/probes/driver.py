"""The NVIDIA driver as the kernel shows it: PCI bus, modules, device nodes, libraries, toolkits."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import Driver, PciDevice, PciGpus, Toolkit, Toolkits
from envdoctor.probes.files import read_text

ROOT = Path("/")

_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")
"""PCI class codes: VGA controller, 3D controller, other display controller (pci.ids)."""

_RELEASE = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+\.\d+(?:\.\d+)?)")
_NODE = re.compile(r"nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset)$")
_LIBCUDA_FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/wsl/lib",
    "usr/local/nvidia/lib64",
    "usr/local/cuda/compat",
    "run/opengl-driver/lib",
)


def read_pci(root: Path = ROOT) -> PciGpus | None:
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
    driver = folder / "driver"
    return PciDevice(
        address=folder.name,
        vendor_id=_hexadecimal(folder / "vendor"),
        device_id=_hexadecimal(folder / "device"),
        driver=driver.resolve().name if driver.exists() else None,
        link_speed_gt_s=_speed(folder / "current_link_speed"),
        link_width=_width(folder / "current_link_width"),
        max_link_speed_gt_s=_speed(folder / "max_link_speed"),
        max_link_width=_width(folder / "max_link_width"),
        numa_node=_numa_node(folder / "numa_node"),
    )


def _hexadecimal(path: Path) -> str:
    return (read_text(path) or "").strip().removeprefix("0x")


def _speed(path: Path) -> float | None:
    match = re.match(r"([\d.]+) GT/s", (read_text(path) or "").strip())
    return float(match[1]) if match else None


def _width(path: Path) -> int | None:
    text = (read_text(path) or "").strip()
    return int(text) if text.isdigit() and int(text) > 0 else None


def _numa_node(path: Path) -> int | None:
    """The node, which is -1 where the firmware names none (sysfs-bus-pci)."""
    text = (read_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def read_driver(root: Path = ROOT) -> Driver:
    """The kernel driver and its user-space parts. Nothing of it is run."""
    text = read_text(root / "proc/driver/nvidia/version") or ""
    match = _RELEASE.search(text)
    module = (read_text(root / "sys/module/nvidia/version") or "").strip()
    modules = _modules(root)
    nodes = _device_nodes(root)
    return Driver(
        loaded=bool(text) or "nvidia" in modules,
        release=match[1] if match else module or None,
        release_source="/proc/driver/nvidia/version" if match else "/sys/module/nvidia/version",
        flavor=_flavor(text),
        modules=tuple(name for name in modules if name.startswith("nvidia")),
        device_nodes=tuple(f"/dev/{node.name}" for node in nodes),
        unusable_nodes=tuple(
            f"/dev/{node.name}" for node in nodes if not os.access(node, os.R_OK | os.W_OK)
        ),
        libcuda_files=tuple(_libcuda_files(root)),
        nouveau_loaded="nouveau" in modules,
    )


def _flavor(version: str) -> str | None:
    if not version:
        return None
    return "open" if "Open Kernel Module" in version else "proprietary"


def _modules(root: Path) -> tuple[str, ...]:
    lines = (read_text(root / "proc/modules") or "").splitlines()
    names = {line.split(" ", 1)[0] for line in lines}
    return tuple(sorted(name for name in names if name.startswith(("nvidia", "nouveau"))))


def _device_nodes(root: Path) -> list[Path]:
    try:
        entries = sorted((root / "dev").iterdir())
    except OSError:
        return []
    return [entry for entry in entries if _NODE.match(entry.name) or entry.name == "dxg"]


def _libcuda_files(root: Path) -> Iterator[str]:
    for folder in _LIBCUDA_FOLDERS:
        path = root / folder / "libcuda.so.1"
        if path.is_symlink() or path.exists():
            yield f"/{folder}/libcuda.so.1"


def read_toolkits(root: Path = ROOT, env: Mapping[str, str] = os.environ) -> Toolkits:
    """The CUDA toolkits in the order that builds use: CUDA_HOME, nvcc on PATH, /usr/local/cuda*."""
    home = env.get("CUDA_HOME") or env.get("CUDA_PATH")
    nvcc = shutil.which("nvcc", path=env.get("PATH"))
    folders: dict[Path, str] = {}
    if home:
        folders[Path(home).resolve()] = "CUDA_HOME" if env.get("CUDA_HOME") else "CUDA_PATH"
    if nvcc:
        folders.setdefault(Path(nvcc).resolve().parent.parent, "nvcc on PATH")
    for path in sorted((root / "usr/local").glob("cuda*")):
        folders.setdefault(path.resolve(), str(path))
    items = (_toolkit(folder, source) for folder, source in folders.items())
    found = tuple(item for item in items if item.version)
    return Toolkits(items=found, cuda_home=home, nvcc=nvcc)


class _Component(msgspec.Struct):
    version: str = ""


class _VersionFile(msgspec.Struct):
    cuda: _Component | None = None
    cuda_nvcc: _Component | None = None


def _toolkit(folder: Path, source: str) -> Toolkit:
    return Toolkit(path=str(folder), version=_toolkit_version(folder), source=source)


def _toolkit_version(folder: Path) -> str | None:
    """From version.json (CUDA 11.1 and later), version.txt (before), or cuda.h."""
    try:
        data = msgspec.json.decode(read_text(folder / "version.json") or "{}", type=_VersionFile)
    except msgspec.MsgspecError:
        data = _VersionFile()
    for component in (data.cuda, data.cuda_nvcc):
        if component and component.version:
            return component.version
    match = re.search(r"CUDA Version ([\d.]+)", read_text(folder / "version.txt") or "")
    if match:
        return match[1]
    match = re.search(r"#define CUDA_VERSION (\d+)", read_text(folder / "include/cuda.h") or "")
    return f"{int(match[1]) // 1000}.{int(match[1]) % 1000 // 10}" if match else None


def decode_driver() -> dict[type[Fact], Known]:
    """The driver, the PCI bus and the toolkits."""
    pci = read_pci()
    return {
        PciGpus: Observed(value=pci, source="/sys/bus/pci/devices")
        if pci is not None
        else Unknown(reason=Reason.NOT_APPLICABLE, detail="/sys/bus/pci/devices is not there"),
        Driver: Observed(value=read_driver(), source="/proc/driver/nvidia, /proc/modules, /dev"),
        Toolkits: Observed(value=read_toolkits(), source="CUDA_HOME, PATH, /usr/local"),
    }
