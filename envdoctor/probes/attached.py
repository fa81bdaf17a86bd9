"""Thunderbolt devices, CDI specifications and render nodes, from sysfs and files."""

import os
import re
from pathlib import Path

from envdoctor.facts import Fact, Known, Observed
from envdoctor.facts.attached import (
    CdiSpec,
    CdiSpecs,
    RenderNodes,
    Thunderbolt,
    ThunderboltDevice,
)
from envdoctor.probes.context import Context
from envdoctor.probes.files import matching, read_text

_THUNDERBOLT = "/sys/bus/thunderbolt/devices"
_DEVICE = r"\d+-[1-9a-f][0-9a-f]*"
"""DOMAIN-ROUTE; route 0 is the machine itself (Documentation/admin-guide/thunderbolt)."""

_MOST_DEVICES = 32
_MOST_CHARACTERS = 64

_CDI_FOLDERS = ("/var/run/cdi", "/run/cdi", "/etc/cdi")
"""Where engines look; a device of the first goes before the same one of the last (CDI, SPEC.md,
"CDI JSON Specification"; cdi.DefaultSpecDirs)."""

_VERSION = re.compile(r"""["']?cdiVersion["']?:\s*["']?(\d+\.\d+\.\d+)""")
_KIND = re.compile(r"""["']?kind["']?:\s*["']?nvidia\.com/gpu\b""")
_LIBRARY = re.compile(r"/libcuda\.so\.(\d{3,4}(?:\.\d{1,4}){1,2})\b")


def read_thunderbolt(context: Context) -> Thunderbolt:
    """The devices below the machine's own controllers; none where the kernel has no Thunderbolt."""
    folder = context.path(_THUNDERBOLT)
    try:
        names = sorted(os.listdir(folder))[:_MOST_DEVICES]
    except OSError:
        return Thunderbolt()
    found = []
    for name in names:
        authorized = read_text(folder / name / "authorized", 16)
        if not re.fullmatch(_DEVICE, name) or authorized is None:
            continue
        texts = (read_text(folder / name / one, 256) for one in ("vendor_name", "device_name"))
        words = " ".join(" ".join(text.split()) for text in texts if text)
        label = words[:_MOST_CHARACTERS] or name
        # 0 is not, 1 is, 2 is with a key.
        is_let_in = authorized.strip() not in ("", "0")
        found.append(ThunderboltDevice(name=label, authorized=is_let_in))
    return Thunderbolt(devices=tuple(found))


def read_cdi_specs(context: Context) -> CdiSpecs:
    """The specifications for nvidia.com/gpu, in the order in which engines prefer them."""
    found: dict[Path, CdiSpec] = {}
    for folder in _CDI_FOLDERS:
        for pattern in ("*.yaml", "*.json"):
            for file in sorted(matching(context.path(folder), pattern)):
                # /var/run is a link to /run.
                own = context.real_path(context.name(file))
                text = read_text(own) or ""
                if own in found or not _KIND.search(text):
                    continue
                version, library = _VERSION.search(text), _LIBRARY.search(text)
                found[own] = CdiSpec(
                    path=context.name(file),
                    version=version[1] if version else None,
                    release=library[1] if library else None,
                )
    items = tuple(found.values())
    return CdiSpecs(items=items, podman=_podman(context) if items else None)


_DPKG = "/var/lib/dpkg/status"
_PACMAN = "/var/lib/pacman/local"
_MOST_DPKG_BYTES = 16 << 20
"""A desktop with 5000 packages has some 6 MB (dpkg(1), FILES)."""


_OF_PODMAN = r"^Package: podman\n(?:.+\n)*?Version: (?:\d+:)?([\d.]+)"


def _podman(context: Context) -> str | None:
    """Its version, as dpkg or pacman has noted it: nothing is started."""
    if not os.path.exists(context.path("/usr/bin/podman")):
        return None
    status = read_text(context.path(_DPKG), _MOST_DPKG_BYTES) or ""
    noted = re.search(_OF_PODMAN, status, re.MULTILINE)
    if noted:
        return noted[1]
    folders = matching(context.path(_PACMAN), "podman-[0-9]*")
    return next((one.name.split("-")[1] for one in folders), None)


_RENDER = r"renderD\d{1,4}"


def read_render_nodes(context: Context) -> RenderNodes:
    """Whether a node can be used is asked only of a running system."""
    try:
        names = sorted(os.listdir(context.path("/dev/dri")))
    except OSError:
        names = []
    of_gpus = (f"/dev/dri/{name}" for name in names if re.fullmatch(_RENDER, name))
    kfd = ("/dev/kfd",) if os.path.exists(context.path("/dev/kfd")) else ()
    nodes = (*kfd, *of_gpus)[:_MOST_DEVICES]
    return RenderNodes(
        nodes=nodes,
        unusable=tuple(
            node
            for node in nodes
            if context.is_live and not os.access(context.path(node), os.R_OK | os.W_OK)
        ),
    )


def observe_attached(context: Context) -> dict[type[Fact], Known]:
    """What hangs on Thunderbolt, what containers are given, and the nodes of other vendors."""
    return {
        Thunderbolt: Observed(value=read_thunderbolt(context), source=_THUNDERBOLT),
        CdiSpecs: Observed(value=read_cdi_specs(context), source=", ".join(_CDI_FOLDERS)),
        RenderNodes: Observed(value=read_render_nodes(context), source="/dev/dri, /dev/kfd"),
    }
