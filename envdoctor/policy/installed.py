"""Whether versions and packages are those that a policy asks for. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from envdoctor.facts import Snapshot, Unknown
from envdoctor.facts.machine import Driver, Host
from envdoctor.facts.python import Distributions, Interpreter, Target
from envdoctor.facts.torch import TorchBuild, TorchRuntime
from envdoctor.findings import Code
from envdoctor.policy.codes import (
    POLICY_DRIVER,
    POLICY_PACKAGE_FORBIDDEN,
    POLICY_PACKAGE_MISSING,
    POLICY_VERSION,
)
from envdoctor.policy.judged import UNTOLD, Judged, Unseen, is_none, violation
from envdoctor.policy.records import PolicyFile


def _unknown_driver(snapshot: Snapshot) -> Unknown | None:
    fact = snapshot.get(Driver)
    if isinstance(fact, Unknown):
        return fact
    return UNTOLD if fact.value.loaded else None


def _unknown_torch(snapshot: Snapshot) -> Unknown | None:
    fact, target = snapshot.get(TorchBuild), snapshot.value(Target)
    usable = target is None or target.problem is None
    if isinstance(fact, Unknown) and is_none(fact) and usable:
        return None
    return fact if isinstance(fact, Unknown) else UNTOLD


def _unknown_cuda(snapshot: Snapshot) -> Unknown | None:
    """A build without CUDA has none of its libraries; where one has, they were not found."""
    build, runtime = snapshot.value(TorchBuild), snapshot.get(TorchRuntime)
    if build is None:
        return _unknown_torch(snapshot)
    if build.cuda is None:
        return None
    return runtime if isinstance(runtime, Unknown) else UNTOLD


def _unknown_python(snapshot: Snapshot) -> Unknown | None:
    fact = snapshot.get(Interpreter)
    return fact if isinstance(fact, Unknown) else UNTOLD


def _unknown_glibc(snapshot: Snapshot) -> Unknown | None:
    fact = snapshot.get(Host)
    return fact if isinstance(fact, Unknown) else None


if TYPE_CHECKING:
    from packaging.requirements import Requirement

_WhyUnknown = Callable[[Snapshot], Unknown | None]

_OF_VERSION: Mapping[str, tuple[str, str, Code, _WhyUnknown]] = {
    "torch": ("torch_version", "torch", POLICY_VERSION, _unknown_torch),
    "cuda": ("torch_cuda", "the CUDA of torch", POLICY_VERSION, _unknown_cuda),
    "cudnn": ("cudnn", "cuDNN", POLICY_VERSION, _unknown_cuda),
    "nccl": ("nccl", "NCCL", POLICY_VERSION, _unknown_cuda),
    "python": ("python", "Python", POLICY_VERSION, _unknown_python),
    "glibc": ("glibc", "glibc", POLICY_VERSION, _unknown_glibc),
    "driver": ("driver_release", "the NVIDIA driver", POLICY_DRIVER, _unknown_driver),
    "driver-cuda": ("driver_cuda", "the CUDA of the driver", POLICY_DRIVER, _unknown_driver),
}
"""By the key: the field of the stack, its name, the disease, and why there is no version: null
where there is nothing that could have one."""


def judge_versions(
    held: PolicyFile, snapshot: Snapshot, versions: Mapping[str, str | None]
) -> Iterator[Judged]:
    """Versions of the stack against their ranges."""
    for field in msgspec.structs.fields(held.policy.versions):
        wanted = getattr(held.policy.versions, field.name)
        if wanted is None:
            continue
        name, what, code, why_unknown = _OF_VERSION[field.encode_name]
        found = versions.get(name)
        unknown = why_unknown(snapshot) if found is None else None
        if unknown is not None:
            yield Unseen(what=what, why=unknown)
        elif found is None or not holds(found, wanted):
            yield violation(held, code, f"versions.{field.encode_name}", what, found, wanted)


def holds(version: str, wanted: str) -> bool:
    """Whether a version lies in a range; what is no version lies in none."""
    from packaging.specifiers import SpecifierSet

    from envdoctor.versions import parse_version

    parsed = parse_version(version)
    return parsed is not None and SpecifierSet(wanted).contains(parsed, prereleases=True)


def _meets(version: str, requirement: "Requirement") -> bool:
    """Whether a version is asked for; without a range every one is, also what is no version."""
    return not requirement.specifier or holds(version, str(requirement.specifier))


def judge_packages(held: PolicyFile, snapshot: Snapshot) -> Iterator[Judged]:
    """Installed distributions against requirements."""
    asked = held.policy.packages
    if not asked.required and not asked.forbidden:
        return
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    fact = snapshot.get(Distributions)
    if isinstance(fact, Unknown):
        yield Unseen(what="packages", why=fact)
        return
    for text in asked.required:
        requirement = Requirement(text)
        found = fact.value.first(canonicalize_name(requirement.name))
        version = found.version if found else None
        if version is None or not _meets(version, requirement):
            yield violation(
                held, POLICY_PACKAGE_MISSING, "packages.required", requirement.name, version, text
            )
    for text in asked.forbidden:
        requirement = Requirement(text)
        found = fact.value.first(canonicalize_name(requirement.name))
        if found is not None and _meets(found.version, requirement):
            yield violation(
                held,
                POLICY_PACKAGE_FORBIDDEN,
                "packages.forbidden",
                requirement.name,
                found.version,
                text,
            )
