"""Whether a claimed combination was ever published, part by part."""

from collections.abc import Callable, Iterable

from packaging.version import Version

from envdoctor.fits.claims import Claim
from envdoctor.fits.words import Build, best_source, has, listed, names_of, subject_of, was
from envdoctor.knowledge import Knowledge, Variant, WheelTarget
from envdoctor.knowledge.arch import covers
from envdoctor.knowledge.drivers import driver_runs, driver_serves
from envdoctor.record import Record

NEWER = "newer than my data"


class Part(Record):
    """The verdict on one claimed part; `ok` is null where the data cannot tell."""

    name: str
    claimed: str
    ok: bool | None
    reason: str
    source: str


class Data(Record):
    """What the rules decide from; `capability` is that of the claimed GPU."""

    knowledge: Knowledge
    capability: str | None


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
    gpu = next((claim.value for claim in claims if claim.name == "gpu"), None)
    return Data(knowledge=knowledge, capability=knowledge.capability_named(gpu) if gpu else None)


def judge(claims: Iterable[Claim], data: Data, builds: list[Build]) -> tuple[Part, ...]:
    """Judge each part against those of the builds that the parts before it left."""
    parts = []
    for claim in claims:
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


def _torch(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    kept = [one for one in builds if states(claim.value, one[0].version)]
    tag = claim.value.partition("+")[2]
    if tag:
        kept = [one for one in kept if one[1].tag == tag]
    if not kept and data.knowledge.is_newer_than_data(claim.value):
        reason = f"{NEWER} ({data.knowledge.as_of}), which ends with {data.knowledge.newest_torch}"
        unknown = Part(name="torch", claimed=claim.value, ok=None, reason=reason, source="")
        return unknown, builds
    tags = listed({one[1].tag for one in kept})
    versions = listed({one[0].version for one in kept})
    return _ruled(
        claim,
        builds,
        kept,
        f"published builds of {versions}: {tags}",
        f"no stable torch {claim.value} was published",
        kept[0][0].source if kept else "file list of torch on PyPI",
    )


def _cuda(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    kept = [one for one in builds if _has_cuda(claim.value, one[1])]
    offered = listed({one[1].cuda for one in builds if one[1].cuda}, key=Version)
    ever = [
        release
        for release in data.knowledge.releases
        if any(_has_cuda(claim.value, variant) for variant in release.variants)
    ]
    last = (
        f"; the last torch built for CUDA {claim.value} is {ever[-1].version}"
        if ever
        else f"; no torch was ever built for CUDA {claim.value}"
    )
    return _ruled(
        claim,
        builds,
        kept,
        f"built for CUDA {claim.value}: {names_of(kept)}",
        f"{subject_of(builds)} {was(builds)} built for CUDA {offered}{last}. "
        "A CUDA toolkit on the machine is not what torch runs with",
        best_source(kept or builds),
    )


def _has_cuda(claimed: str, variant: Variant) -> bool:
    exact = variant.cuda_release or variant.cuda
    return states(claimed, exact) or (states(claimed, variant.cuda))


def _pinned(field: str, label: str) -> Rule:
    def rule(claim: Claim, builds: list[Build], data: Data) -> Ruled:
        kept = [one for one in builds if states(claim.value, _pin(one[1], field))]
        pins = {_pin(one[1], field) for one in builds} - {None}
        if not pins:
            reason = f"which {label} {subject_of(builds)} has is not known"
            part = Part(name=claim.name, claimed=claim.value, ok=None, reason=reason, source="")
            return part, builds
        subject = f"{subject_of(kept or builds)} {has(kept or builds)} {label}"
        fitting = listed({_pin(one[1], field) for one in kept}, key=Version)
        return _ruled(
            claim,
            builds,
            kept,
            f"{subject} {fitting}",
            f"{subject} {listed(pins, key=Version)}, not {claim.value}",
            best_source(kept or [one for one in builds if _pin(one[1], field)]),
        )

    return rule


def _pin(variant: Variant, field: str) -> str | None:
    value: str | None = getattr(variant, field)
    return value.lstrip("~=<>") if value else None


def _python(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    minor = ".".join(claim.value.split(".")[:2])
    pythons_of = {one: _pythons(*one, data.knowledge) for one in map(_key, builds)}
    kept = [one for one in builds if minor in pythons_of[_key(one)]]
    offered = {name for names in pythons_of.values() for name in names}
    pythons = listed(offered, key=Version, most=3)
    return _ruled(
        claim,
        builds,
        kept,
        f"{subject_of(kept or builds)} {has(kept or builds)} wheels for Python {minor}",
        f"{subject_of(builds)} {has(builds)} wheels for Python {pythons} only",
        "python tags of the wheels on PyPI",
    )


def _key(build: Build) -> tuple[str, str]:
    return build[0].version, build[1].machine


def _pythons(version: str, machine: str, knowledge: Knowledge) -> tuple[str, ...]:
    return knowledge.wheels.pythons("torch", version, WheelTarget(arch=machine))


def _companion(name: str) -> Rule:
    def rule(claim: Claim, builds: list[Build], data: Data) -> Ruled:
        kept: list[Build] = []
        offered: set[str] = set()
        for one in builds:
            pair = data.knowledge.companions(one[0].version)
            versions: tuple[str, ...] = getattr(pair, name) if pair else ()
            offered.update(versions)
            if any(states(claim.value, version) for version in versions):
                kept.append(one)
        offers = f"{name} {listed(offered, key=Version)}" if offered else f"no {name}"
        return _ruled(
            claim,
            builds,
            kept,
            f"{name} {claim.value} was made for {subject_of(kept or builds)}",
            f"for {subject_of(builds)}: {offers}",
            f"requirements of {name} on PyPI",
        )

    return rule


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
        return Part(name="os", claimed=claim.value, ok=None, reason=reason, source=""), builds
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
    capability = data.capability
    if capability is None:
        reason = "this GPU is not in my data, or the name fits several of different architectures"
        return Part(name="gpu", claimed=claim.value, ok=None, reason=reason, source=""), builds
    kept = [
        one
        for one in builds
        if one[1].arch_flags
        and covers(one[1].arch_flags, capability, torch=one[0].version, cuda=one[1].cuda)
    ]
    return _ruled(
        claim,
        builds,
        kept,
        f"code for sm_{capability.replace('.', '')} is in {names_of(kept)}",
        f"{subject_of(builds)} {has(builds)} no code for sm_{capability.replace('.', '')}",
        next((one[1].arch_source for one in (kept or builds) if one[1].arch_source), ""),
    )


def _driver(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    serves = data.capability is None or driver_serves(claim.value, data.capability, data.knowledge)
    limit = data.knowledge.max_driver_branch(data.capability) if data.capability else None
    if limit and serves is False:
        reason = f"the last driver branch for {limit.architecture} GPUs is {limit.branch}"
        part = Part(
            name="driver", claimed=claim.value, ok=False, reason=reason, source=limit.source
        )
        return part, builds
    kept = [
        one
        for one in builds
        if one[1].cuda and driver_runs(claim.value, one[1].cuda, data.knowledge)
    ]
    cudas = listed({one[1].cuda for one in builds if one[1].cuda}, key=Version)
    floors = {
        floor.min_release_linux: floor
        for one in builds
        if one[1].cuda and (floor := data.knowledge.driver_floor(one[1].cuda))
    }
    return _ruled(
        claim,
        builds,
        kept,
        f"driver {claim.value} runs {names_of(kept)}",
        f"builds for CUDA {cudas} need driver {listed(floors)} or later",
        next(iter(floors.values())).source if floors else "",
    )


def _gcc(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    ranges = [
        (one, known)
        for one in builds
        if (known := data.knowledge.host_compilers(one[1].cuda or "0"))
    ]
    if not ranges:
        reason = "which gcc that CUDA accepts is not in my data"
        return Part(name="gcc", claimed=claim.value, ok=None, reason=reason, source=""), builds
    major = int(claim.value.split(".", maxsplit=1)[0])
    kept = [one for one, known in ranges if known.gcc_min <= major <= known.gcc_max]
    known = ranges[-1][1]
    limits = f"nvcc {known.cuda} accepts gcc {known.gcc_min} to {known.gcc_max}"
    only = "; it matters only to those who build extensions"
    return _ruled(claim, builds, kept, limits + only, limits + only, known.source)


_RULES: dict[str, Rule] = {
    "torch": _torch,
    "cuda": _cuda,
    "cudnn": _pinned("cudnn", "cuDNN"),
    "nccl": _pinned("nccl", "NCCL"),
    "triton": _pinned("triton", "triton"),
    "python": _python,
    "torchvision": _companion("torchvision"),
    "torchaudio": _companion("torchaudio"),
    "torchtext": _companion("torchtext"),
    "numpy": _numpy,
    "glibc": _glibc,
    "os": _os,
    "gpu": _gpu,
    "driver": _driver,
    "gcc": _gcc,
}
