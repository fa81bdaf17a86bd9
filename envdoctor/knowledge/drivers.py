"""Which builds a driver runs, and which drivers a GPU can have.

Source: NVIDIA CUDA 13.2 release notes, tables 2 and 3 (minor-version compatibility), the CUDA
compatibility guide, and NVIDIA's page of supported drivers; each record carries its own.
"""

from collections.abc import Iterable
from functools import cache
from typing import Literal

from envdoctor.knowledge.base import Knowledge
from envdoctor.knowledge.hardware import DriverBranch
from envdoctor.versions import parse_number

ReleaseKey = tuple[int, ...]
_LAST = 10**6
"""Above every second number of a release: the newest release of a branch."""


@cache
def release_key(release: str) -> ReleaseKey | None:
    """A driver release as numbers that can be compared: 535.183.01 is (535, 183, 1)."""
    parts = release.split(".")
    numbers = tuple(number for part in parts if (number := parse_number(part)) is not None)
    return numbers if len(numbers) == len(parts) else None


def driver_runs(release: str, cuda: str, knowledge: Knowledge, *, os: str = "linux") -> bool | None:
    """Whether that driver runs torch builds made with that CUDA, by minor-version compatibility.

    A newer driver runs every older CUDA. None where the release cannot be read or no floor is
    known for that CUDA. A branch ("535") stands for its newest release. Forward compatibility
    (cuda-compat) is not looked at here.
    """
    floor = knowledge.driver_floor(cuda)
    have = release_key(release)
    if floor is None or have is None:
        return None
    minimum = floor.min_release_windows if os == "windows" else floor.min_release_linux
    need = release_key(minimum)
    if len(have) == 1:
        have = (*have, _LAST)
    return None if need is None else have >= need


def driver_serves(release: str, compute_capability: str, knowledge: Knowledge) -> bool | None:
    """Whether that driver still supports GPUs of that compute capability.

    False from branch 590 on for Maxwell, Pascal and Volta. None where the release cannot be read.
    """
    have = release_key(release)
    if have is None:
        return None
    limit = knowledge.max_driver_branch(compute_capability)
    return limit is None or have[0] < int(limit.first_without)


def driver_knows(release: str, compute_capability: str, knowledge: Knowledge) -> bool | None:
    """Whether that driver is new enough for GPUs of that compute capability.

    None where the release cannot be read or the first branch of the architecture is not known.
    """
    have = release_key(release)
    start = knowledge.min_driver_branch(compute_capability)
    if have is None or start is None:
        return None
    return have[0] >= int(start.branch)


Flavor = Literal["open", "proprietary"]
"""The kinds of NVIDIA's kernel modules."""

OPEN_FROM = (7, 5)
"""The open kernel modules serve GPUs with a GPU System Processor, from Turing on (NVIDIA
open-gpu-kernel-modules, README, "Compatible GPUs")."""

OPEN_ONLY = 10
"""GPUs of compute capability 10.0 and later (Blackwell) have no proprietary module (NVIDIA Driver
Installation Guide, "Choosing between open and proprietary kernel modules")."""


def why_unserved(
    release: str | None, flavor: Flavor | None, compute_capability: str, knowledge: Knowledge
) -> str:
    """Why that driver does not list a GPU that is in order; empty where nothing says so."""
    if release and driver_serves(release, compute_capability, knowledge) is False:
        return f"driver {release} no longer serves it"
    if release and driver_knows(release, compute_capability, knowledge) is False:
        return f"driver {release} does not know it yet"
    number = release_key(compute_capability) or ()
    if flavor == "open" and number < OPEN_FROM:
        return "the open kernel modules do not serve it"
    if flavor == "proprietary" and number >= (OPEN_ONLY,):
        return "the proprietary kernel module does not serve it"
    return ""


def advised_branch(
    floors: Iterable[str], capabilities: Iterable[str], knowledge: Knowledge
) -> DriverBranch | None:
    """The driver branch to install: supported by NVIDIA for longest, at or above one of the
    `floors` (releases), and serving GPUs of all those compute capabilities.

    Where no supported branch serves them, the newest one that does; None if none reaches a floor.
    """
    needed = min((release_key(floor) or () for floor in floors), default=())
    wanted = tuple(capabilities)
    fitting = [
        branch
        for branch in knowledge.drivers.branches
        if (int(branch.branch), _LAST) >= needed
        and all(driver_serves(branch.branch, one, knowledge) for one in wanted)
        and not any(driver_knows(branch.branch, one, knowledge) is False for one in wanted)
    ]
    supported = [branch for branch in fitting if branch.status == "supported"]
    long_term = [branch for branch in supported if branch.kind == "LTSB"]
    return next((group[-1] for group in (long_term, supported, fitting) if group), None)


def may_use_forward_compat(gpu: str, knowledge: Knowledge) -> bool | None:
    """Whether a GPU may run a newer CUDA major by NVIDIA's cuda-compat package (Linux only).

    Data-center GPUs may; on GeForce it ends with error 804. None for workstation cards, of which
    only some may, and for GPUs that are not in the data. Source: CUDA compatibility guide, forward
    compatibility (`forward_compat` in drivers.json).
    """
    model = knowledge.gpu(gpu)
    if model is None:
        return None
    return {"datacenter": True, "consumer": False}.get(model.kind)


def cudnn_serves(version: str, compute_capability: str, knowledge: Knowledge) -> bool | None:
    """Whether that cuDNN still has code for GPUs of that compute capability.

    False for cuDNN after 9.10.2 below 7.5 and for cuDNN 9 below 5.0. None where a version cannot be
    read.
    """
    have, gpu = release_key(version), release_key(compute_capability)
    if have is None or gpu is None:
        return None
    for limit in knowledge.drivers.cudnn_limits:
        last = release_key(limit.last_version) or ()
        oldest = release_key(limit.min_compute_capability_after) or ()
        if have[: len(last)] > last and gpu < oldest:
            return False
    return True
