"""Whether builds fit a host: its processor, system, Python, GPU and driver."""

from packaging.version import Version

from envdoctor.fits.claims import Claim
from envdoctor.fits.verdict import Data, Part, Rule, Ruled, ruled, states, unknown
from envdoctor.fits.words import Build, has, listed, names_of, sources_of, subject_of, was
from envdoctor.knowledge import Knowledge, WheelTarget
from envdoctor.knowledge.arch import covers
from envdoctor.knowledge.drivers import driver_knows, driver_runs, driver_serves

_OWN_BUILDS = ("5.3", "6.2", "7.2", "8.7")
"""Jetsons whose torch comes with NVIDIA's JetPack."""


def _arch(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    kept = [one for one in builds if one[1].machine == claim.value]
    if not kept and claim.value == "aarch64":
        reason = f"no source in my data says whether {subject_of(builds)} was published for Arm"
        return unknown(claim, reason), builds
    return ruled(
        claim,
        builds,
        kept,
        f"builds for {claim.value}: {names_of(kept)}",
        f"{subject_of(builds)} {was(builds)} not built for {claim.value}",
        sources_of(kept or builds),
    )


def _platform(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    target = WheelTarget(os=data.platform, arch=data.machine or _usual_arch(data.platform))
    if (target.os, target.arch) == ("windows", "aarch64"):
        reason = "builds for Windows on Arm are on PyTorch's own index alone, and not in my data"
        return unknown(claim, reason), builds
    kept = [one for one in builds if _has_platform(one, target, data.knowledge)]
    place = {"windows": "Windows", "macos": "macOS", "linux": "Linux"}[data.platform]
    return ruled(
        claim,
        builds,
        kept,
        f"{subject_of(kept or builds)} {has(kept or builds)} wheels for {place}",
        f"{subject_of(builds)} {has(builds)} no such wheels for {place}"
        + ("; there is no CUDA on macOS" if claim.value == "macos" else ""),
        data.knowledge.wheels.source("torch"),
    )


def _usual_arch(platform: str) -> str:
    return "arm64" if platform == "macos" else "x86_64"


def _has_platform(build: Build, target: WheelTarget, knowledge: Knowledge) -> bool:
    release, variant = build
    if target.os == "linux":
        return True
    if target.os == "macos" and variant.cuda:
        return False
    published_there = knowledge.wheels.admits("torch", release.version, target)
    return bool(published_there) and (target.os == "macos" or variant.is_for_windows)


def _python(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    minor = ".".join(claim.value.removesuffix("t").split(".")[:2])
    free = claim.value.endswith("t")
    label = f"Python {minor}" + (" (free-threaded)" if free else "")
    pythons_of = {_key(one): _pythons(*_key(one), data, free_threaded=free) for one in builds}
    kept = [one for one in builds if minor in pythons_of[_key(one)]]
    offered = {name for names in pythons_of.values() for name in names}
    pythons = listed(offered, key=Version, most=3)
    only = f"wheels for Python {pythons} only" if offered else f"no wheels for {label}"
    return ruled(
        claim,
        builds,
        kept,
        f"{subject_of(kept or builds)} {has(kept or builds)} wheels for {label}",
        f"{subject_of(builds)} {has(builds)} {only}",
        data.knowledge.wheels.source("torch"),
    )


def _key(build: Build) -> tuple[str, str]:
    return build[0].version, build[1].machine


def _pythons(version: str, machine: str, data: Data, *, free_threaded: bool) -> tuple[str, ...]:
    arch = _usual_arch(data.platform) if data.platform != "linux" else machine
    target = WheelTarget(os=data.platform, arch=arch, free_threaded=free_threaded)
    return data.knowledge.wheels.pythons("torch", version, target)


def _glibc(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    return _by_glibc(claim, claim.value, f"glibc {claim.value}", builds)


def _os(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    words = claim.value.lower().replace("linux", " ").split()
    system = next(
        (
            one
            for one in data.knowledge.systems
            if one.name in words and any(states(one.release, word) for word in words)
        ),
        None,
    )
    if system is None:
        reason = (
            "PyTorch publishes no list of verified systems, only the glibc that its wheels need; "
            f"that of `{claim.value}` is not in my data"
        )
        return unknown(claim, reason), builds
    part, kept = _by_glibc(claim, system.glibc, f"{claim.value} (glibc {system.glibc})", builds)
    reason = f"{part.reason}; PyTorch publishes no list of verified systems"
    return Part(
        name="os", claimed=claim.value, ok=part.ok, reason=reason, source=system.source
    ), kept


def _by_glibc(claim: Claim, glibc: str, label: str, builds: list[Build]) -> Ruled:
    kept = [one for one in builds if one[1].glibc and Version(glibc) >= Version(one[1].glibc)]
    needed = listed({one[1].glibc for one in builds if one[1].glibc}, key=Version)
    return ruled(
        claim,
        builds,
        kept,
        f"{label} is enough for {subject_of(kept or builds)}",
        f"glibc {needed} is needed by {subject_of(builds)}, and {label} is older",
        "platform tags of the wheels (PEP 600)",
    )


def _gpu(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    if data.vendor:
        reason = f"a GPU of {data.vendor}: which builds serve it is not in my data"
        return unknown(claim, reason), builds
    capability = data.capability
    if capability is None:
        reason = "this GPU is not in my data, or the name fits several of different architectures"
        return unknown(claim, reason), builds
    if capability in _OWN_BUILDS:
        reason = "a Jetson: its torch comes with NVIDIA's JetPack, whose builds are not in my data"
        return unknown(claim, reason), builds
    told = [one for one in builds if one[1].arch_flags]
    kept = [
        one
        for one in told
        if covers(one[1].arch_flags or (), capability, torch=one[0].version, cuda=one[1].cuda)
    ]
    name = f"sm_{capability.replace('.', '')}"
    unsure = [one for one in builds if one[1].arch_flags is None]
    if not kept and (unsure or not told):
        reason = f"no source in my data lists the GPUs of {names_of(unsure or builds)}"
        return unknown(claim, reason), builds
    return ruled(
        claim,
        builds,
        kept,
        f"code for {name} is in {names_of(kept)}",
        f"{subject_of(told)} {has(told)} no code for {name}",
        sources_of(kept or told, arch=True),
    )


def _driver(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    by_card = _driver_of_card(claim, data)
    if by_card is not None:
        return by_card, builds
    os = data.driver_os
    kept = [
        one
        for one in builds
        if one[1].cuda and driver_runs(claim.value, one[1].cuda, data.knowledge, os=os)
    ]
    cudas = listed({one[1].cuda for one in builds if one[1].cuda}, key=Version)
    floors = {
        (floor.min_release_windows if os == "windows" else floor.min_release_linux): floor
        for one in builds
        if one[1].cuda and (floor := data.knowledge.driver_floor(one[1].cuda))
    }
    if not floors:
        return unknown(claim, "a build without CUDA needs no driver"), builds
    return ruled(
        claim,
        builds,
        kept,
        f"driver {claim.value} runs {names_of(kept)}",
        f"builds for CUDA {cudas} need driver {listed(floors)} or later",
        "; ".join(dict.fromkeys(floor.source for floor in floors.values())),
    )


def _driver_of_card(claim: Claim, data: Data) -> Part | None:
    """The verdict where the driver is too old or too new for the claimed card."""
    if data.capability is None:
        return None
    limit = data.knowledge.max_driver_branch(data.capability)
    start = data.knowledge.min_driver_branch(data.capability)
    reason, source = "", ""
    if limit and driver_serves(claim.value, data.capability, data.knowledge) is False:
        reason = f"the last driver branch for {limit.architecture} GPUs is {limit.branch}"
        source = limit.source
    if start and driver_knows(claim.value, data.capability, data.knowledge) is False:
        reason = f"the first driver branch for {start.architecture} GPUs is {start.branch}"
        source = start.source
    if not reason:
        return None
    return Part(name="driver", claimed=claim.value, ok=False, reason=reason, source=source)


RULES: dict[str, Rule] = {
    "arch": _arch,
    "platform": _platform,
    "python": _python,
    "glibc": _glibc,
    "os": _os,
    "gpu": _gpu,
    "driver": _driver,
}
"""The rule of each part."""
