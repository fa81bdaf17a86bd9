"""Whether a claimed combination was ever published, part by part."""

import re
from collections.abc import Callable, Iterable

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envdoctor.fits.claims import Claim
from envdoctor.fits.words import Build, has, listed, names_of, sources_of, subject_of, was
from envdoctor.knowledge import Knowledge, Variant, WheelTarget
from envdoctor.knowledge.arch import covers
from envdoctor.knowledge.drivers import driver_knows, driver_runs, driver_serves
from envdoctor.record import Record

NEWER = "newer than my data"
_ARM_HOSTS = re.compile(r"\b(GH200|GB10|GB200|GB300|Jetson|Orin|Thor|Xavier|DGX Spark)\b", re.I)
"""GPUs that are built into Arm machines alone (NVIDIA's own pages of these products)."""
_OWN_BUILDS = ("5.3", "6.2", "7.2", "8.7")
"""Jetsons whose torch comes with NVIDIA's JetPack."""


class Part(Record):
    """The verdict on one claimed part; `ok` is null where the data cannot tell."""

    name: str
    claimed: str
    ok: bool | None
    reason: str
    source: str


class Data(Record):
    """What the rules decide from.

    `capability` and `vendor` are those of the claimed GPU, `machine` and `platform` the host that
    is claimed or that the GPU is built into, `torch` what is claimed, `rocm` whether that is.
    """

    knowledge: Knowledge
    capability: str | None = None
    vendor: str | None = None
    machine: str | None = None
    platform: str = "linux"
    torch: str | None = None
    rocm: bool = False


def published(knowledge: Knowledge) -> list[Build]:
    """All builds that a source confirms."""
    return [
        (release, variant)
        for release in knowledge.releases
        for variant in (*release.variants, *release.aarch64)
        if variant.status != "unverified"
    ]


def data_for(claims: Iterable[Claim], knowledge: Knowledge) -> Data:
    """What the rules need beside the claims."""
    values = {claim.name: claim.value for claim in claims}
    gpu = values.get("gpu")
    named = knowledge.named(gpu) if gpu else None
    arm = "aarch64" if gpu and _ARM_HOSTS.search(gpu) else None
    return Data(
        knowledge=knowledge,
        capability=named.capability if named else None,
        vendor=named.vendor if named else None,
        machine=values.get("arch") or arm,
        platform=values.get("platform", "linux"),
        torch=values.get("torch"),
        rocm="rocm" in values,
    )


def possible(data: Data) -> list[Build]:
    """The builds that are for the claimed host."""
    builds = published(data.knowledge)
    if data.machine is None:
        return builds
    return [one for one in builds if one[1].machine == data.machine]


def judge(claims: Iterable[Claim], data: Data, builds: list[Build]) -> tuple[Part, ...]:
    """Judge each part against those of the builds that the parts before it left."""
    parts = []
    claims = tuple(claims)
    other = next((claim for claim in claims if claim.name == "framework"), None)
    foreign = other is not None and all(claim.name != "torch" for claim in claims)
    for claim in claims:
        if foreign and other is not None and claim.name != "framework":
            parts.append(_unknown(claim, f"what {other.value} was built for is not in my data"))
            continue
        part, builds = _RULES[claim.name](claim, builds, data)
        parts.append(part)
    return tuple(parts)


def states(claimed: str, actual: str | None) -> bool:
    """Whether a version has the claimed one as its beginning: 8.9 states 8.9.2.26."""
    if actual is None:
        return False
    wanted = claimed.partition("+")[0].removesuffix(".*").split(".")
    return actual.split(".")[: len(wanted)] == wanted


Ruled = tuple[Part, list[Build]]
Rule = Callable[[Claim, list[Build], Data], Ruled]


def _ruled(
    claim: Claim, builds: list[Build], kept: list[Build], good: str, bad: str, source: str
) -> Ruled:
    ok = bool(kept)
    part = Part(
        name=claim.name,
        claimed=claim.value,
        ok=ok,
        reason=good if ok else bad,
        source=source,
    )
    return part, kept if ok else builds


def _unknown(claim: Claim, reason: str) -> Part:
    return Part(name=claim.name, claimed=claim.value, ok=None, reason=reason, source="")


def _torch(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    kept = [one for one in builds if states(claim.value, one[0].version)]
    tag = claim.value.partition("+")[2]
    if tag:
        kept = [one for one in kept if one[1].tag == tag]
    beyond = "" if kept else _beyond(claim.value, data.knowledge)
    if beyond:
        return _unknown(claim, beyond), builds
    if not kept and data.knowledge.release(claim.value) and (tag or data.machine == "aarch64"):
        name = f"torch {claim.value}" + (f" for {data.machine}" if data.machine else "")
        return _unconfirmed(claim, name, builds, data)
    versions = listed({one[0].version for one in kept}, key=Version)
    tags = listed({one[1].tag for one in kept})
    return _ruled(
        claim,
        builds,
        kept,
        f"published builds of {versions}: {tags}",
        f"no stable torch {claim.value} was published",
        sources_of(kept) if kept else data.knowledge.wheels.source("torch"),
    )


def _unconfirmed(claim: Claim, name: str, builds: list[Build], data: Data) -> Ruled:
    """A known release in a build that is not in the data: no where the list is complete, else not
    to be told."""
    release = data.knowledge.release(claim.value)
    same = [one for one in published(data.knowledge) if release and one[0] == release]
    announced = release and any(
        one.status == "unverified" and f"+{one.tag}" in claim.value for one in release.variants
    )
    if data.machine == "aarch64" or announced:
        return _unknown(claim, f"no source in my data says whether {name} was published"), builds
    tags = listed({one[1].tag for one in same})
    reason = f"published builds of {release.version if release else ''}: {tags}"
    part = Part(
        name=claim.name, claimed=claim.value, ok=False, reason=reason, source=sources_of(same)
    )
    return part, builds


def _beyond(version: str, knowledge: Knowledge) -> str:
    """How a torch lies outside of the data; empty where it does not."""
    try:
        claimed = Version(version.removesuffix(".*").partition("+")[0])
    except InvalidVersion:
        return ""
    first = knowledge.releases[0].version
    if knowledge.is_newer_than_data(str(claimed)):
        newest = knowledge.newest_torch
        return f"{NEWER} ({knowledge.as_of}), which ends with {newest}"
    length = len(claimed.release)
    if claimed.release < Version(first).release[:length]:
        return f"older than my data, which begins with {first}"
    return ""


def _arch(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    kept = [one for one in builds if one[1].machine == claim.value]
    if not kept and claim.value == "aarch64":
        reason = f"no source in my data says whether {subject_of(builds)} was published for Arm"
        return _unknown(claim, reason), builds
    return _ruled(
        claim,
        builds,
        kept,
        f"builds for {claim.value}: {names_of(kept)}",
        f"{subject_of(builds)} {was(builds)} not built for {claim.value}",
        sources_of(kept or builds),
    )


def _platform(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    target = WheelTarget(os=claim.value, arch=data.machine or _usual_arch(claim.value))
    kept = [one for one in builds if _has_platform(one, target, data.knowledge)]
    place = {"windows": "Windows", "macos": "macOS", "linux": "Linux"}[claim.value]
    return _ruled(
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
    return bool(published_there) and variant.status in (None, "stable")


def _cuda(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    if claim.value == "cpu":
        kept = [one for one in builds if one[1].is_cpu]
        return _ruled(claim, builds, kept, names_of(kept), "", sources_of(kept))
    kept = [one for one in builds if _has_cuda(claim.value, one[1])]
    unsure = _unsure_of_cuda(claim, builds, data)
    if not kept and unsure:
        return _unknown(claim, unsure), builds
    offered = listed({one[1].cuda for one in builds if one[1].cuda}, key=Version)
    ever = [
        release for release, variant in published(data.knowledge) if _has_cuda(claim.value, variant)
    ]
    last = (
        f"; the last torch built for CUDA {claim.value} is {ever[-1].version}"
        if ever
        else f"; no torch in my data was built for CUDA {claim.value}"
    )
    return _ruled(
        claim,
        builds,
        kept,
        f"built for CUDA {claim.value}: {names_of(kept)}",
        f"{subject_of(builds)} {was(builds)} built for CUDA {offered}{last}. "
        "A CUDA toolkit on the machine is not what torch runs with",
        sources_of(kept or builds),
    )


def _unsure_of_cuda(claim: Claim, builds: list[Build], data: Data) -> str:
    """Why it cannot be told whether there is such a build; empty where it can."""
    if data.torch and _beyond(data.torch, data.knowledge):
        return f"which CUDA torch {data.torch} was built for is not in my data"
    if data.machine == "aarch64":
        return "no source in my data says whether such a build was published for Arm"
    releases = {one[0].version for one in builds}
    announced = [
        variant
        for release in data.knowledge.releases
        for variant in release.variants
        if release.version in releases
        and variant.status == "unverified"
        and _has_cuda(claim.value, variant)
    ]
    if announced and len(releases) <= 2:
        return f"announced for {subject_of(builds)}, and no source confirms that it was published"
    return ""


def _has_cuda(claimed: str, variant: Variant) -> bool:
    exact = variant.cuda_release or variant.cuda
    return states(claimed, exact) or (states(claimed, variant.cuda))


def _rocm(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    known = [one for one in builds if one[0].rocm]
    if not known:
        return _unknown(
            claim, f"which ROCm {subject_of(builds)} was built for is not known"
        ), builds
    kept = [one for one in known if any(states(claim.value, tag[4:]) for tag in one[0].rocm)]
    offered = listed({tag for one in known for tag in one[0].rocm})
    subject = subject_of(kept or known)
    return _ruled(
        claim,
        builds,
        kept,
        f"built for ROCm {claim.value}: {subject}",
        f"{subject} {was(known)} built for {offered}",
        (kept or known)[-1][0].rocm_source or "",
    )


def _pinned(field: str, label: str) -> Rule:
    def rule(claim: Claim, builds: list[Build], data: Data) -> Ruled:
        kept = [one for one in builds if states(claim.value, _pin(one[1], field))]
        pins = {_pin(one[1], field) for one in builds} - {None}
        if not pins:
            return _unknown(claim, f"which {label} {subject_of(builds)} has is not known"), builds
        subject = f"{subject_of(kept or builds)} {has(kept or builds)} {label}"
        fitting = listed({_pin(one[1], field) for one in kept}, key=Version)
        stating = kept or [one for one in builds if _pin(one[1], field)]
        return _ruled(
            claim,
            builds,
            kept,
            f"{subject} {fitting}",
            f"{subject} {listed(pins, key=Version)}, not {claim.value}",
            sources_of(stating),
        )

    return rule


def _pin(variant: Variant, field: str) -> str | None:
    value: str | None = getattr(variant, field)
    return value.lstrip("~=<>") if value else None


def _python(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    minor = ".".join(claim.value.split(".")[:2])
    pythons_of = {_key(one): _pythons(*_key(one), data) for one in builds}
    kept = [one for one in builds if minor in pythons_of[_key(one)]]
    offered = {name for names in pythons_of.values() for name in names}
    pythons = listed(offered, key=Version, most=3)
    return _ruled(
        claim,
        builds,
        kept,
        f"{subject_of(kept or builds)} {has(kept or builds)} wheels for Python {minor}",
        f"{subject_of(builds)} {has(builds)} wheels for Python {pythons} only",
        data.knowledge.wheels.source("torch"),
    )


def _key(build: Build) -> tuple[str, str]:
    return build[0].version, build[1].machine


def _pythons(version: str, machine: str, data: Data) -> tuple[str, ...]:
    arch = _usual_arch(data.platform) if data.platform != "linux" else machine
    target = WheelTarget(os=data.platform, arch=arch)
    return data.knowledge.wheels.pythons("torch", version, target)


def _companion(name: str) -> Rule:
    def rule(claim: Claim, builds: list[Build], data: Data) -> Ruled:
        kept: list[Build] = []
        offered: set[str] = set()
        source = ""
        for one in builds:
            pair = data.knowledge.companions(one[0].version)
            versions: tuple[str, ...] = getattr(pair, name) if pair else ()
            offered.update(versions)
            if any(states(claim.value, version) for version in versions):
                kept.append(one)
                source = pair.source if pair else ""
        if not kept and len({one[0].version for one in builds}) == 1:
            pair = data.knowledge.companions(builds[0][0].version)
            source = pair.source if pair and offered else ""
        offers = f"{name} {listed(offered, key=Version)}" if offered else f"no {name}"
        return _ruled(
            claim,
            builds,
            kept,
            f"{name} {claim.value} was made for {subject_of(kept or builds)}",
            f"for {subject_of(builds)}: {offers}",
            source,
        )

    return rule


def _extension(name: str) -> Rule:
    def rule(claim: Claim, builds: list[Build], data: Data) -> Ruled:
        known = data.knowledge.extension(name, claim.value)
        stated = (known.requires_torch or known.pairs_with_torch) if known else None
        if known is None or stated is None:
            return _unknown(
                claim, f"which torch {name} {claim.value} needs is not in my data"
            ), builds
        kept = [one for one in builds if Version(one[0].version) in SpecifierSet(stated)]
        links = data.knowledge.links(name, claim.value)
        linked = [one for one in kept if not links or _linked(one[1], links.cuda_majors)]
        wanted = f"{name} {claim.value} needs torch{stated}"
        if kept and not linked and links:
            wanted = f"{name} {claim.value} from PyPI is for CUDA {', '.join(links.cuda_majors)}"
        return _ruled(
            claim,
            builds,
            linked,
            f"{name} {claim.value} goes with {subject_of(linked or builds)}",
            wanted,
            links.source if kept and not linked and links else known.source,
        )

    return rule


def _linked(variant: Variant, majors: tuple[str, ...]) -> bool:
    return not majors or (variant.cuda or "").partition(".")[0] in majors


def _numpy(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    major = claim.value.split(".", maxsplit=1)[0]
    kept = [
        one for one in builds if major == "1" or data.knowledge.fits_numpy_2(one[0].version) is True
    ]
    return _ruled(
        claim,
        builds,
        kept,
        f"numpy {claim.value} goes with {subject_of(kept or builds)}",
        f"{subject_of(builds)} {was(builds)} compiled for numpy 1: numpy<2",
        data.knowledge.companions_file.numpy[0].source,
    )


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
        return _unknown(claim, reason), builds
    part, kept = _by_glibc(claim, system.glibc, f"{claim.value} (glibc {system.glibc})", builds)
    reason = f"{part.reason}; PyTorch publishes no list of verified systems"
    return Part(
        name="os", claimed=claim.value, ok=part.ok, reason=reason, source=system.source
    ), kept


def _by_glibc(claim: Claim, glibc: str, label: str, builds: list[Build]) -> Ruled:
    kept = [one for one in builds if one[1].glibc and Version(glibc) >= Version(one[1].glibc)]
    needed = listed({one[1].glibc for one in builds if one[1].glibc}, key=Version)
    return _ruled(
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
        return _unknown(claim, reason), builds
    capability = data.capability
    if capability is None:
        reason = "this GPU is not in my data, or the name fits several of different architectures"
        return _unknown(claim, reason), builds
    if capability in _OWN_BUILDS:
        reason = "a Jetson: its torch comes with NVIDIA's JetPack, whose builds are not in my data"
        return _unknown(claim, reason), builds
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
        return _unknown(claim, reason), builds
    return _ruled(
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
    os = "windows" if data.platform == "windows" else "linux"
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
        return _unknown(claim, "a build without CUDA needs no driver"), builds
    return _ruled(
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


def _gcc(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    ranges = [
        (one, known)
        for one in builds
        if (known := data.knowledge.host_compilers(one[1].cuda or "0"))
    ]
    if not ranges:
        return _unknown(claim, "which gcc that CUDA accepts is not in my data"), builds
    major = int(claim.value.split(".", maxsplit=1)[0])
    kept = [one for one, known in ranges if known.gcc_min <= major <= known.gcc_max]
    known = ranges[-1][1]
    limits = f"nvcc {known.cuda} accepts gcc {known.gcc_min} to {known.gcc_max}"
    only = "; it matters only to those who build extensions"
    return _ruled(claim, builds, kept, limits + only, limits + only, known.source)


def _framework(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    return _unknown(claim, "only torch and what goes with it is in my data"), builds


_RULES: dict[str, Rule] = {
    "torch": _torch,
    "arch": _arch,
    "platform": _platform,
    "cuda": _cuda,
    "rocm": _rocm,
    "cudnn": _pinned("cudnn", "cuDNN"),
    "nccl": _pinned("nccl", "NCCL"),
    "triton": _pinned("triton", "triton"),
    "python": _python,
    "torchvision": _companion("torchvision"),
    "torchaudio": _companion("torchaudio"),
    "torchtext": _companion("torchtext"),
    "vllm": _extension("vllm"),
    "xformers": _extension("xformers"),
    "flash-attn": _extension("flash-attn"),
    "bitsandbytes": _extension("bitsandbytes"),
    "torchao": _extension("torchao"),
    "torchcodec": _extension("torchcodec"),
    "numpy": _numpy,
    "glibc": _glibc,
    "os": _os,
    "gpu": _gpu,
    "driver": _driver,
    "gcc": _gcc,
    "framework": _framework,
}
