"""For which systems and Pythons a release has wheels, by the file list of the package index.

Sources of the rules: PEP 425 (tags), PEP 384 (abi3), PEP 600 and 513, 571, 599 (manylinux), the
macOS part of `packaging.tags`.
"""

import re
from collections.abc import Mapping
from functools import cache, cached_property

from packaging.version import Version

from envdoctor.record import Record
from envdoctor.versions import parse_version

_LEGACY_GLIBC = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}
_MANYLINUX = re.compile(r"(manylinux(?:\d+(?=_[a-z])|_(\d+)_(\d+)))_(\w+)")
_MACOS = re.compile(r"macosx_(\d+)_(\d+)_(\w+)")
_PYTHON = re.compile(r"(?P<kind>cp|py)3(?P<minor>\d*)(?P<free>t?)(?:-(?P<abi>abi3|none))?")
_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
SOURCE_ONLY = "sdist"
"""The platform of a release without wheels: it is compiled where it is installed."""


class WheelTarget(Record):
    """What a wheel has to fit: a system, its processor and a Python; None is not judged.

    `os` is linux, windows or macos; `arch` as `uname -m` says; `glibc` and `macos` are versions.
    """

    os: str = "linux"
    arch: str = "x86_64"
    python: str | None = None
    free_threaded: bool = False
    glibc: str | None = None
    macos: str | None = None


class ProjectWheels(Record):
    """The file list of a project: for each release its platform tags with their Python tags.

    Python tags are separated by blanks: cp312, cp313t (free-threaded), cp38-abi3 (that Python and
    later), py3 (any).
    """

    name: str
    releases: dict[str, dict[str, str]]
    source: str
    retrieved: str


class WheelsFile(Record):
    """wheels.json, which the refresh writes."""

    as_of: str
    projects: tuple[ProjectWheels, ...]


class WheelTable:
    """wheels.json, ready to be looked up."""

    def __init__(self, file: WheelsFile) -> None:
        self._projects = {project.name: project for project in file.projects}

    @cached_property
    def _releases(self) -> dict[str, dict[Version, Mapping[str, str]]]:
        return {
            name: {Version(version): files for version, files in project.releases.items()}
            for name, project in self._projects.items()
        }

    def files(self, name: str, version: str) -> Mapping[str, str] | None:
        """The Python tags of a release by platform tag; None for one that is not in the data."""
        parsed = parse_version(version)
        if parsed is None:
            return None
        return self._releases.get(name, {}).get(Version(parsed.public))

    def releases(self, name: str) -> tuple[str, ...]:
        """The releases of a project that are in the data, oldest first."""
        return tuple(map(str, sorted(self._releases.get(name, {}))))

    def source(self, name: str) -> str:
        """Where the file list of a project was read; empty for a project that is not in it."""
        project = self._projects.get(name)
        return project.source if project else ""

    def admits(self, name: str, version: str, target: WheelTarget) -> bool | None:
        """Whether a release has a wheel for that system and Python.

        None for a release that is not in the data, and for one that is compiled from its source.
        """
        files = self.files(name, version)
        if files is None or SOURCE_ONLY in files:
            return None
        return any(
            _platform_fits(platform, target) and _python_fits(tag, target)
            for platform, tags in files.items()
            for tag in tags.split()
        )

    def pythons(self, name: str, version: str, target: WheelTarget) -> tuple[str, ...]:
        """The Pythons (3.12) that a release has wheels of their own for, on that system."""
        files = self.files(name, version) or {}
        found = {
            int(match["minor"])
            for platform, tags in files.items()
            if _platform_fits(platform, target)
            for tag in tags.split()
            if (match := _PYTHON.fullmatch(tag))
            and match["minor"]
            and bool(match["free"]) == target.free_threaded
        }
        return tuple(f"3.{minor}" for minor in sorted(found))

    def macos_floor(self, name: str, version: str, target: WheelTarget) -> str | None:
        """The oldest macOS that the wheels of a release for that processor and Python need."""
        floors = [
            f"{match[1]}.{match[2]}"
            for platform, tags in (self.files(name, version) or {}).items()
            for one in platform.split(".")
            if (match := _MACOS.fullmatch(one)) and _same_machine(match[3], target.arch)
            for tag in tags.split()
            if _python_fits(tag, target)
        ]
        return min(floors, key=Version, default=None)


@cache
def _platform_fits(tags: str, target: WheelTarget) -> bool:
    """Whether one of the platform tags, which are joined by dots, is for that system."""
    return any(_one_platform_fits(tag, target) for tag in tags.split("."))


def _one_platform_fits(tag: str, target: WheelTarget) -> bool:
    if tag == "any":
        return True
    if target.os == "windows":
        machine = {"win_amd64": "x86_64", "win_arm64": "aarch64"}.get(tag)
        return machine is not None and _same_machine(machine, target.arch)
    if target.os == "macos":
        return _macos_fits(tag, target)
    match = _MANYLINUX.fullmatch(tag)
    if match is None:
        return tag.startswith("linux_") and _same_machine(tag.removeprefix("linux_"), target.arch)
    floor = f"{match[2]}.{match[3]}" if match[2] else _LEGACY_GLIBC[match[1]]
    enough = target.glibc is None or Version(target.glibc) >= Version(floor)
    return enough and _same_machine(match[4], target.arch)


def _macos_fits(tag: str, target: WheelTarget) -> bool:
    match = _MACOS.fullmatch(tag)
    if match is None or not (match[3] == "universal2" or _same_machine(match[3], target.arch)):
        return False
    return target.macos is None or Version(target.macos) >= Version(f"{match[1]}.{match[2]}")


def _same_machine(one: str, other: str) -> bool:
    return _machine(one) == _machine(other)


def _machine(name: str) -> str:
    return _MACHINES.get(name.lower(), name.lower())


def _python_fits(tag: str, target: WheelTarget) -> bool:
    match = _PYTHON.fullmatch(tag)
    if match is None:
        return False
    if target.python is None:
        return True
    major, minor = map(int, target.python.split(".")[:2])
    if major != 3:
        return False
    if not match["minor"]:
        return True
    if match["abi"] == "abi3":
        return minor >= int(match["minor"]) and not target.free_threaded
    if match["kind"] == "py":
        return minor >= int(match["minor"])
    return minor == int(match["minor"]) and bool(match["free"]) == target.free_threaded
