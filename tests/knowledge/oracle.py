"""Which builds work on a machine, computed from the raw JSON by rules written down once more.

Nothing of the prescriber or of the rule functions is used, so that a mistake there is seen here.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import envdoctor.knowledge
from tests.knowledge.world import World

FLOORS = {"13": (580,), "12": (525, 60, 13), "11": (450, 80, 2)}
OLD_FLOORS = {"10.2": (440, 33), "10.1": (418, 39), "11.0": (450, 36, 6)}
"""CUDA release notes, minor-version compatibility; before CUDA 11.1 each has its own."""
FIRST_BRANCHES = {
    (7, 0): 384, (7, 5): 410, (8, 0): 450, (8, 6): 450, (8, 9): 520, (9, 0): 520,
    (10, 0): 570, (10, 3): 570, (12, 0): 570, (12, 1): 570,
}  # fmt: skip
"""CUDA toolkit, driver and architecture matrix of NVIDIA's data center drivers."""


@cache
def _releases() -> list[dict[str, Any]]:
    path = Path(envdoctor.knowledge.__file__).with_name("torch.json")
    found: list[dict[str, Any]] = json.loads(path.read_text())["releases"]
    return found


@cache
def _pythons(version: str, arch: str) -> set[str]:
    """Those of PyPI's wheels for Linux on that processor."""
    path = Path(envdoctor.knowledge.__file__).with_name("wheels.json")
    projects = json.loads(path.read_text())["projects"]
    releases = next(one["releases"] for one in projects if one["name"] == "torch")
    tags = " ".join(
        names for platform, names in releases[version].items() if platform.endswith(arch)
    )
    linux = [tag for tag in tags.split() if tag.startswith("cp3") and not tag.endswith("t")]
    return {f"3.{tag[3:]}" for tag in linux}


@cache
def _driver_cuda() -> dict[str, tuple[int, ...]]:
    path = Path(envdoctor.knowledge.__file__).with_name("drivers.json")
    rows = json.loads(path.read_text())["branches"]
    return {row["branch"]: _numbers(row["cuda"]) for row in rows}


def works(world: World) -> set[tuple[str, str]]:
    """The (release, variant) pairs that run there; builds without CUDA where there is no GPU."""
    found: set[tuple[str, str]] = set()
    if any("Jetson" in name and capability != "11.0" for name, capability in world.gpus):
        return found  # their builds are NVIDIA's own
    for release in _releases():
        if world.python not in _pythons(release["version"], world.arch):
            continue
        builds = release["variants"] if world.arch == "x86_64" else release["aarch64"]
        for build in builds:
            if _runs(build, world):
                found.add((release["version"], build["tag"]))
    return found


def _runs(build: dict[str, Any], world: World) -> bool:
    if build.get("status") in ("unverified", "derived"):
        return False
    if build["glibc"] and _numbers(world.glibc) < _numbers(build["glibc"]):
        return False
    if not any(_numbers(capability) >= (3, 7) for _, capability in world.gpus):
        return build["cuda"] is None
    if build["cuda"] is None or world.driver is None or build["arch_flags"] is None:
        return False
    driver = _numbers(world.driver)
    floor = OLD_FLOORS.get(build["cuda"]) or FLOORS[build["cuda"].split(".")[0]]
    if driver < floor:
        return False
    served = [capability for _, capability in world.gpus if _numbers(capability) >= (3, 7)]
    return all(
        _serves(build, capability, world.driver) and _has_cudnn(build, capability)
        for capability in served
    )


def _has_cudnn(build: dict[str, Any], capability: str) -> bool:
    """cuDNN's support matrices: 9 from 5.0 on, after 9.10.2 from 7.5 on."""
    if not build["cudnn"]:
        return True
    version, gpu = _numbers(build["cudnn"])[:3], _numbers(capability)
    return not (version >= (9,) and gpu < (5, 0)) and not (version > (9, 10, 2) and gpu < (7, 5))


def _serves(build: dict[str, Any], capability: str, driver: str) -> bool:
    major, minor = _numbers(capability)
    branch = int(driver.split(".", maxsplit=1)[0])
    if branch >= 590 and (major, minor) < (7, 5):
        return False
    if branch >= 495 and major == 3:
        return False
    if branch < FIRST_BRANCHES.get((major, minor), 0):
        return False
    if _machine_code(build["arch_flags"], major, minor):
        return True
    jit = _driver_cuda().get(str(branch), (0,)) >= _numbers(build["cuda"])
    ptx = [_numbers_of(flag) for flag in build["arch_flags"] if flag.startswith("compute_")]
    return jit and any((major, minor) >= target for target in ptx)


def _machine_code(flags: list[str], major: int, minor: int) -> bool:
    """Jetson's 5.3, 6.2, 7.2, 8.7, 10.1 need code of their own, which these builds have only for
    11.0; from CUDA 13.2 on 7.2 and 8.7 run the others' (no such machine is generated)."""
    targets = {_numbers_of(flag) for flag in flags if flag.startswith("sm_")}
    if (major, minor) in {(5, 3), (6, 2), (7, 2), (8, 7), (10, 1)}:
        return (major, minor) in targets
    return any(target[0] == major and target[1] <= minor for target in targets)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _numbers_of(flag: str) -> tuple[int, int]:
    digits = flag.partition("_")[2]
    return int(digits[:-1]), int(digits[-1])
