"""The NVIDIA driver as the kernel shows it: modules, device nodes, libraries."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from envdoctor.facts import Fact, Known, Observed
from envdoctor.facts.machine import Driver
from envdoctor.probes.context import Context
from envdoctor.probes.files import read_text

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
    "usr/lib/aarch64-linux-gnu/tegra",
    "usr/lib/aarch64-linux-gnu/nvidia",
    "usr/lib64-nvidia",
    ".singularity.d/libs",
    "run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "run/nvidia/driver/usr/lib64",
    "home/kubernetes/bin/nvidia/lib64",
)
"""Where systems keep it: after the loader's own folders those of WSL, GKE's pods, cuda-compat,
NixOS, JetPack 5 and 6, Colab and Apptainer; last the drivers that a node has for its containers
alone (NVIDIA GPU Operator, Container-Optimized OS)."""


def read_driver(context: Context) -> Driver:
    """The kernel driver and its user-space parts. Nothing of it is run.

    Whether a node can be used is asked only of a running system.
    """
    root = context.root
    text = read_text(root / "proc/driver/nvidia/version") or ""
    match = _RELEASE.search(text)
    module = (read_text(root / "sys/module/nvidia/version") or "").strip()
    modules = _modules(root)
    nodes = device_nodes(root / "dev", live=context.is_live)
    return Driver(
        loaded=bool(text) or "nvidia" in modules,
        release=match[1] if match else module or None,
        release_source="/proc/driver/nvidia/version" if match else "/sys/module/nvidia/version",
        flavor=_flavor(text),
        modules=tuple(name for name in modules if name.startswith("nvidia")),
        device_nodes=tuple(f"/dev/{node.name}" for node in nodes),
        unusable_nodes=tuple(
            f"/dev/{node.name}"
            for node in nodes
            if context.is_live and not os.access(node, os.R_OK | os.W_OK)
        ),
        libcuda_files=tuple(_libcuda_files(root)),
        nouveau_loaded="nouveau" in modules,
    )


def _flavor(version: str) -> Literal["open", "proprietary"] | None:
    if not version:
        return None
    return "open" if "Open Kernel Module" in version else "proprietary"


def _modules(root: Path) -> tuple[str, ...]:
    lines = (read_text(root / "proc/modules") or "").splitlines()
    names = {line.split(" ", 1)[0] for line in lines}
    return tuple(sorted(name for name in names if name.startswith(("nvidia", "nouveau"))))


def device_nodes(folder: Path, *, live: bool) -> list[Path]:
    """The driver's nodes there. In a running system a file or folder of that name is none: that is
    what a container manager makes where it binds a node that its host does not have yet."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    named = (entry for entry in entries if _NODE.match(entry.name) or entry.name == "dxg")
    return [entry for entry in named if not live or entry.is_char_device()]


def _libcuda_files(root: Path) -> Iterator[str]:
    for folder in _LIBCUDA_FOLDERS:
        path = root / folder / "libcuda.so.1"
        if os.path.islink(path) or os.path.exists(path):
            yield f"/{folder}/libcuda.so.1"


def observe_driver(context: Context) -> dict[type[Fact], Known]:
    """The kernel driver."""
    source = "/proc/driver/nvidia, /proc/modules, /dev"
    return {Driver: Observed(value=read_driver(context), source=source)}
