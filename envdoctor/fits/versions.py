"""Whether versions go together: torch, CUDA and what is pinned to them."""

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.fits.claims import Claim
from envdoctor.fits.verdict import Data, Part, Rule, Ruled, published, ruled, states, unknown
from envdoctor.fits.words import Build, has, listed, names_of, sources_of, subject_of, was
from envdoctor.knowledge import Companions, Knowledge, Variant
from envdoctor.versions import parse_version

NEWER = "newer than my data"


def _torch(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    kept = [one for one in builds if states(claim.value, one[0].version)]
    tag = claim.value.partition("+")[2]
    if tag:
        kept = [one for one in kept if one[1].tag == tag]
    beyond = "" if kept else _beyond(claim.value, data.knowledge)
    if beyond:
        return unknown(claim, beyond), builds
    if not kept and data.knowledge.release(claim.value) and (tag or data.machine == "aarch64"):
        name = f"torch {claim.value}" + (f" for {data.machine}" if data.machine else "")
        return _unconfirmed(claim, name, builds, data)
    versions = listed({one[0].version for one in kept}, key=Version)
    tags = listed({one[1].tag for one in kept})
    return ruled(
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
        return unknown(claim, f"no source in my data says whether {name} was published"), builds
    tags = listed({one[1].tag for one in same})
    reason = f"published builds of {release.version if release else ''}: {tags}"
    part = Part(
        name=claim.name, claimed=claim.value, ok=False, reason=reason, source=sources_of(same)
    )
    return part, builds


def _beyond(version: str, knowledge: Knowledge) -> str:
    """How a torch lies outside of the data; empty where it does not."""
    claimed = parse_version(version.removesuffix(".*").partition("+")[0].lstrip("<>=~!"))
    if claimed is None:
        return ""
    first = knowledge.releases[0].version
    if version.startswith("<") and claimed <= Version(first):
        return f"older than my data, which begins with {first}"
    if knowledge.is_newer_than_data(str(claimed)):
        newest = knowledge.newest_torch
        return f"{NEWER} ({knowledge.as_of}), which ends with {newest}"
    if claimed.is_prerelease:
        return "no stable release: nightlies, candidates and builds of vendors are not in my data"
    length = len(claimed.release)
    if claimed.release < Version(first).release[:length]:
        return f"older than my data, which begins with {first}"
    return ""


def _cuda(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    if claim.value == "cpu":
        kept = [one for one in builds if one[1].is_cpu]
        return ruled(claim, builds, kept, names_of(kept), "", sources_of(kept))
    kept = [one for one in builds if _has_cuda(claim.value, one[1])]
    unsure = _unsure_of_cuda(claim, builds, data)
    if not kept and unsure:
        return unknown(claim, unsure), builds
    offered = listed({one[1].cuda for one in builds if one[1].cuda}, key=Version)
    ever = [
        release for release, variant in published(data.knowledge) if _has_cuda(claim.value, variant)
    ]
    last = (
        f"; the last torch built for CUDA {claim.value} is {ever[-1].version}"
        if ever
        else f"; no torch in my data was built for CUDA {claim.value}"
    )
    return ruled(
        claim,
        builds,
        kept,
        f"built for CUDA {claim.value}: {names_of(kept)}",
        f"{subject_of(builds)} {was(builds)} built for CUDA {offered}{last}. "
        "A CUDA toolkit on the machine is not what torch runs with"
        if data.platform != "macos"
        else "there is no CUDA on macOS",
        sources_of(kept or builds),
    )


def _unsure_of_cuda(claim: Claim, builds: list[Build], data: Data) -> str:
    """Why it cannot be told whether there is such a build; empty where it can."""
    if data.torch and _beyond(data.torch, data.knowledge):
        return f"which CUDA torch {data.torch} was built for is not in my data"
    if data.machine == "aarch64" and data.platform != "macos":
        return "no source in my data says whether such a build was published for Arm"
    releases = {one[0].version for one in builds}
    others = [
        variant
        for release in data.knowledge.releases
        for variant in release.variants
        if release.version in releases and _has_cuda(claim.value, variant)
    ]
    if any(one.status == "unverified" for one in others) and len(releases) <= 2:
        return f"announced for {subject_of(builds)}, and no source confirms that it was published"
    if data.platform == "windows" and any(not one.is_for_windows for one in others):
        return f"{subject_of(builds)} has it for Linux, and no source says so of Windows"
    return ""


def _has_cuda(claimed: str, variant: Variant) -> bool:
    exact = variant.cuda_release or variant.cuda
    return states(claimed, exact) or (states(claimed, variant.cuda))


def _rocm(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    known = [one for one in builds if one[0].rocm]
    if not known:
        return unknown(claim, f"which ROCm {subject_of(builds)} was built for is not known"), builds
    kept = [one for one in known if any(states(claim.value, tag[4:]) for tag in one[0].rocm)]
    offered = listed({tag for one in known for tag in one[0].rocm})
    subject = subject_of(kept or known)
    return ruled(
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
            return unknown(claim, f"which {label} {subject_of(builds)} has is not known"), builds
        subject = f"{subject_of(kept or builds)} {has(kept or builds)} {label}"
        fitting = listed({_pin(one[1], field) for one in kept}, key=Version)
        stating = kept or [one for one in builds if _pin(one[1], field)]
        return ruled(
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
        if not kept:
            made_for = _made_for(name, claim.value, data.knowledge)
            if made_for is not None:
                return _admitted(claim, builds, made_for)
        if not kept and len({one[0].version for one in builds}) == 1:
            pair = data.knowledge.companions(builds[0][0].version)
            source = pair.source if pair and offered else ""
        offers = f"{name} {listed(offered, key=Version)}" if offered else f"no {name}"
        return ruled(
            claim,
            builds,
            kept,
            f"{name} {claim.value} was made for {subject_of(kept or builds)}",
            f"for {subject_of(builds)}: {offers}",
            source,
        )

    return rule


def _made_for(name: str, version: str, knowledge: Knowledge) -> Companions | None:
    """The torch that a release came out with, where it does not pin it."""
    return next(
        (
            pair
            for pair in knowledge.companions_file.pairs
            if name in pair.admits and any(states(version, one) for one in getattr(pair, name))
        ),
        None,
    )


def _admitted(claim: Claim, builds: list[Build], made_for: Companions) -> Ruled:
    """Right where its own requirement admits that torch; not to be told where it states none."""
    stated = made_for.admits[claim.name]
    kept = [one for one in builds if one[0].version in SpecifierSet(stated or f">{made_for.torch}")]
    name = f"{claim.name} {claim.value}"
    if kept and not stated:
        reason = f"{name} came out with torch {made_for.torch}, and requires no particular torch"
        return unknown(claim, reason), builds
    wanted = f"torch{stated}" if stated else f"torch {made_for.torch}"
    good = f"{name} requires {wanted}"
    bad = good if stated else f"{name} came out with {wanted}"
    return ruled(claim, builds, kept, good, bad, made_for.source)


def _extension(name: str) -> Rule:
    def rule(claim: Claim, builds: list[Build], data: Data) -> Ruled:
        known = data.knowledge.extension(name, claim.value)
        stated = (known.requires_torch or known.pairs_with_torch) if known else None
        if known is None or stated is None:
            return unknown(
                claim, f"which torch {name} {claim.value} needs is not in my data"
            ), builds
        kept = [one for one in builds if Version(one[0].version) in SpecifierSet(stated)]
        links = data.knowledge.links(name, claim.value)
        linked = [one for one in kept if not links or _linked(one[1], links.cuda_majors)]
        wanted = f"{name} {claim.value} needs torch{stated}"
        if kept and not linked and links:
            wanted = f"{name} {claim.value} from PyPI is for CUDA {', '.join(links.cuda_majors)}"
        return ruled(
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
    numpy_1 = states(claim.value, "1.26.4") or claim.value.split(".")[0] == "1"
    fits = {
        one[0].version: True
        if numpy_1
        else data.knowledge.fits_numpy_2(one[0].version, data.platform)
        for one in builds
    }
    kept = [one for one in builds if fits[one[0].version]]
    if not kept and None in fits.values():
        reason = f"whether {subject_of(builds)} works with numpy 2 there is not in my data"
        return unknown(claim, reason), builds
    return ruled(
        claim,
        builds,
        kept,
        f"numpy {claim.value} goes with {subject_of(kept or builds)}",
        f"{subject_of(builds)} {was(builds)} compiled for numpy 1: numpy<2",
        data.knowledge.companions_file.numpy[0].source,
    )


def _gcc(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    ranges = [
        (one, known)
        for one in builds
        if (known := data.knowledge.host_compilers(one[1].cuda or "0"))
    ]
    if not ranges:
        return unknown(claim, "which gcc that CUDA accepts is not in my data"), builds
    major = int(claim.value.split(".", maxsplit=1)[0])
    kept = [one for one, known in ranges if known.gcc_min <= major <= known.gcc_max]
    known = ranges[-1][1]
    limits = f"nvcc {known.cuda} accepts gcc {known.gcc_min} to {known.gcc_max}"
    only = "; it matters only to those who build extensions"
    return ruled(claim, builds, kept, limits + only, limits + only, known.source)


def _framework(claim: Claim, builds: list[Build], data: Data) -> Ruled:
    return unknown(claim, "only torch and what goes with it is in my data"), builds


RULES: dict[str, Rule] = {
    "torch": _torch,
    "cuda": _cuda,
    "rocm": _rocm,
    "cudnn": _pinned("cudnn", "cuDNN"),
    "nccl": _pinned("nccl", "NCCL"),
    "triton": _pinned("triton", "triton"),
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
    "gcc": _gcc,
    "framework": _framework,
}
"""The rule of each part."""
