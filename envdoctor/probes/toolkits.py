"""The CUDA toolkits on the machine."""

import os
import re
import shutil
from pathlib import Path

import msgspec

from envdoctor.facts import Fact, Known, Observed
from envdoctor.facts.machine import Toolkit, Toolkits
from envdoctor.probes.context import Context
from envdoctor.probes.files import read_text
from envdoctor.record import from_json


def read_toolkits(context: Context) -> Toolkits:
    """The CUDA toolkits in the order that builds use: CUDA_HOME, nvcc on PATH, /usr/local/cuda*."""
    env = context.env
    variable = next((name for name in ("CUDA_HOME", "CUDA_PATH") if env.get(name)), None)
    home = env[variable] if variable else None
    nvcc = find_program("nvcc", context)
    folders: dict[Path, str] = {}
    if home and variable:
        folders[context.real_path(home)] = variable
    if nvcc:
        folders.setdefault(context.real_path(nvcc).parent.parent, "nvcc on PATH")
    for path in sorted(context.path("/usr/local").glob("cuda*")):
        name = context.name(path)
        folders.setdefault(context.real_path(name), name)
    items = (_toolkit(context, folder, source) for folder, source in folders.items())
    found = tuple(item for item in items if item.version)
    return Toolkits(items=found, cuda_home=home, nvcc=nvcc)


def find_program(name: str, context: Context) -> str | None:
    """The program of that name on PATH; what may be executed can only be asked of a live system."""
    path = context.env.get("PATH")
    if context.is_live:
        return shutil.which(name, path=path)
    places = (f"{folder}/{name}" for folder in (path or "").split(":") if folder)
    return next((place for place in places if os.path.isfile(context.real_path(place))), None)


class _Component(msgspec.Struct):
    version: str = ""


class _VersionFile(msgspec.Struct):
    cuda: _Component | None = None
    cuda_nvcc: _Component | None = None


def _toolkit(context: Context, folder: Path, source: str) -> Toolkit:
    return Toolkit(path=context.name(folder), version=_toolkit_version(folder), source=source)


def _toolkit_version(folder: Path) -> str | None:
    """From version.json (CUDA 11.1 and later), version.txt (before), or cuda.h."""
    data = from_json(read_text(folder / "version.json") or "", _VersionFile) or _VersionFile()
    for component in (data.cuda, data.cuda_nvcc):
        if component and component.version:
            return component.version
    match = re.search(r"CUDA Version ([\d.]+)", read_text(folder / "version.txt") or "")
    if match:
        return match[1]
    match = re.search(
        r"#define CUDA_VERSION (\d{4,6})\b", read_text(folder / "include/cuda.h") or ""
    )
    return f"{int(match[1]) // 1000}.{int(match[1]) % 1000 // 10}" if match else None


def observe_toolkits(context: Context) -> dict[type[Fact], Known]:
    """The CUDA toolkits."""
    return {Toolkits: Observed(value=read_toolkits(context), source="CUDA_HOME, PATH, /usr/local")}
