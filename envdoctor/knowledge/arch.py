"""Which GPUs the compiled code of a torch build runs on.

Source of the rules: `torch.cuda.DEVICE_REQUIREMENT` and `_CompatInterval` in torch/cuda/__init__.py
of the PyPI wheels of torch 2.11 to 2.15, and the CUDA programming guide (binary and PTX
compatibility): a cubin for X.Y runs on X.Z with Z >= Y; one with an `a` suffix on X.Y alone, one
with an `f` suffix within its family; PTX runs on every newer compute capability by compilation.
"""

import re
from collections.abc import Iterable
from functools import cache

from packaging.version import Version

from envdoctor.versions import parse_version

_FLAG = re.compile(r"(sm|compute)_(\d{2,4})([af]?)")
_ONLY = {
    (5, 3): {(5, 3)},
    (6, 2): {(6, 2)},
    (7, 2): {(7, 2)},
    (8, 7): {(8, 7)},
    (10, 1): {(10, 1), (11, 0)},
}
"""Targets for systems on a chip: they run there and nowhere else (10.1 was renamed 11.0)."""
_ON_CHIP = {(5, 3), (6, 2), (7, 2), (8, 7), (10, 1)}
"""Devices whose majors' other cubins torch does not count as running on them."""
_UNIFIED_FROM = (Version("2.14"), Version("13.2"))
"""Torch and CUDA from which 7.2 and 8.7 run the code of their majors (Jetson unification)."""
_UNIFIED = {(7, 2), (8, 7)}
_THOR_ALIAS_FROM = Version("2.14")


def covers(
    arch_flags: Iterable[str],
    compute_capability: str,
    *,
    torch: str | None = None,
    cuda: str | None = None,
) -> bool:
    """Whether code compiled for these targets ("sm_80", "compute_90") runs on that GPU ("8.6").

    `torch` and `cuda` are the versions of the build: Jetson GPUs run more code from torch 2.14
    with CUDA 13.2 on. Raises ValueError for a compute capability that is not major.minor.
    """
    device = parsed_capability(compute_capability)
    unified, thor = _unified(torch, cuda), _thor_alias(torch)
    return any(_runs(flag, device, unified=unified, thor=thor) for flag in arch_flags)


def parsed_capability(compute_capability: str) -> tuple[int, int]:
    """(8, 6) for "8.6". Raises ValueError for what is not major.minor."""
    match = re.fullmatch(r"(\d{1,3})\.(\d)", compute_capability)
    if match is None:
        raise ValueError(f"`{compute_capability}` is no compute capability such as 8.6")
    return int(match[1]), int(match[2])


def capability_of(flag: str) -> tuple[int, int] | None:
    """The compute capability in a target's name: sm_86 is (8, 6), sm_120a is (12, 0)."""
    match = _FLAG.fullmatch(flag)
    return None if match is None else divmod(int(match[2]), 10)


def cubins(arch_flags: Iterable[str]) -> tuple[str, ...]:
    """The targets that are machine code; those left out are PTX, which the driver compiles."""
    return tuple(flag for flag in arch_flags if flag.startswith("sm_"))


def _runs(flag: str, device: tuple[int, int], *, unified: bool, thor: bool) -> bool:
    match = _FLAG.fullmatch(flag)
    if match is None:
        return False
    kind, suffix = match[1], match[3]
    target = divmod(int(match[2]), 10)
    if suffix == "a":
        return device == target
    if kind == "compute":
        return device >= target and (suffix != "f" or device[0] == target[0])
    if target == (11, 0) and thor and device == (10, 1):
        return True
    if target in _ONLY:
        return device in _ONLY[target]
    if device in _ON_CHIP and not (unified and device in _UNIFIED):
        return False
    return device[0] == target[0] and device[1] >= target[1]


def _unified(torch: str | None, cuda: str | None) -> bool:
    first_torch, first_cuda = _UNIFIED_FROM
    return _at_least(torch, first_torch) and _at_least(cuda, first_cuda)


def _thor_alias(torch: str | None) -> bool:
    return _at_least(torch, _THOR_ALIAS_FROM)


@cache
def _at_least(version: str | None, first: Version) -> bool:
    """Whether that is a version, and not an older one; a build may call itself anything."""
    parsed = parse_version(version)
    return parsed is not None and parsed >= first
