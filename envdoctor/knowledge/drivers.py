"""Which builds a driver runs, and which drivers a GPU can have.

Source: NVIDIA CUDA 13.2 release notes, tables 2 and 3 (minor-version compatibility), the CUDA
compatibility guide, and NVIDIA's page of supported drivers; each record carries its own.
"""

import re

from envdoctor.knowledge.base import Knowledge

ReleaseKey = tuple[int, ...]


def release_key(release: str) -> ReleaseKey | None:
    """A driver release as numbers that can be compared: 535.183.01 is (535, 183, 1)."""
    if re.fullmatch(r"\d+(\.\d+)*", release) is None:
        return None
    return tuple(int(part) for part in release.split("."))


def driver_runs(release: str, cuda: str, knowledge: Knowledge, *, os: str = "linux") -> bool | None:
    """Whether that driver runs torch builds made with that CUDA, by minor-version compatibility.

    A newer driver runs every older CUDA. None where the release cannot be read or no floor is
    known for that CUDA. Forward compatibility (cuda-compat) is not looked at here.
    """
    floor = knowledge.driver_floor(cuda)
    have = release_key(release)
    if floor is None or have is None:
        return None
    minimum = floor.min_release_windows if os == "windows" else floor.min_release_linux
    need = release_key(minimum)
    return None if need is None else have >= need


def driver_serves(release: str, compute_capability: str, knowledge: Knowledge) -> bool | None:
    """Whether that driver branch still supports GPUs of that compute capability.

    False from branch 590 on for Maxwell, Pascal and Volta. None where the release cannot be read.
    """
    have = release_key(release)
    if have is None:
        return None
    limit = knowledge.max_driver_branch(compute_capability)
    return limit is None or have[0] < _first_without(limit.branch, knowledge)


def _first_without(last_branch: str, knowledge: Knowledge) -> int:
    """The first branch after `last_branch` that names a lowest compute capability."""
    later = [
        int(branch.branch)
        for branch in knowledge.drivers.branches
        if branch.min_compute_capability and int(branch.branch) > int(last_branch)
    ]
    return min(later, default=int(last_branch) + 1)
