"""From the published builds to a prescription. Pure."""

from collections.abc import Iterable, Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envdoctor.errors import BadInput
from envdoctor.knowledge import Knowledge, TorchRelease
from envdoctor.knowledge.drivers import release_key
from envdoctor.prescribe.candidates import (
    Candidate,
    candidates,
    floor_of,
    python_obstacle,
)
from envdoctor.prescribe.commands import commands_for, is_default, is_installed, removals
from envdoctor.prescribe.companions import Companionship, companionship, not_installed
from envdoctor.prescribe.none import beyond_the_data, nearest, none_because_of
from envdoctor.prescribe.records import Build, Machine, Prescription

_MAC_PLATFORMS = {"arm64": "macosx_arm64", "x86_64": "macosx_64"}


class UnknownTorch(BadInput):
    """A torch was asked for that is not in the data; the message names the newest that is."""


def prescribe(
    machine: Machine, knowledge: Knowledge, wish: str | None = None, limit: int | None = None
) -> Prescription:
    """The builds that work on the machine, the smallest change first; at most `limit`.

    `wish` is a torch version or the beginning of one ("2.6"). Raises UnknownTorch for one that is
    not in the data.
    """
    wanted = _wanted(machine, knowledge, wish)
    reason = beyond_the_data(machine, knowledge)
    if reason:
        return Prescription(builds=(), none_because=reason)
    if machine.os != "linux":
        return _from_pypi(machine, knowledge, wanted, limit)
    every = tuple(candidates(machine, knowledge))
    working = [one for one in every if not one.obstacles]
    if not working:
        return Prescription(builds=(), none_because=none_because_of(every, machine, knowledge))
    matched = [(companionship(machine, one.release, knowledge), one) for one in working]
    matched.sort(key=lambda pair: _order(pair[0], pair[1], machine, knowledge, wanted))
    reason = _instead_of(every, knowledge, wanted)
    return Prescription(
        builds=tuple(_build(one, fit, machine, knowledge, reason) for fit, one in matched[:limit]),
        knowledge_of=knowledge.as_of,
    )


def _instead_of(every: Iterable[Candidate], knowledge: Knowledge, wanted: tuple[int, ...]) -> str:
    """Why no build of the wanted release works here; empty where one does."""
    versions = {knowledge.releases[at].version for at in wanted}
    same = [one for one in every if one.release.version in versions]
    if not same or not all(one.obstacles for one in same):
        return ""
    closest = nearest(tuple(same))[0]
    texts = "; ".join(dict.fromkeys(one.text for one in closest.obstacles))
    build = f"{closest.release.version}+{closest.variant.tag}"
    return f"torch {closest.release.version} itself does not work here ({build}: {texts})"


def _wanted(machine: Machine, knowledge: Knowledge, wish: str | None) -> tuple[int, ...]:
    """Positions in the list of releases that the answer should be near to."""
    releases = knowledge.releases
    if wish is not None:
        return positions_of(wish, knowledge)
    if machine.torch is None or knowledge.is_newer_than_data(machine.torch):
        return (len(releases) - 1,)
    try:
        have = Version(Version(machine.torch).base_version)
    except InvalidVersion:
        return (len(releases) - 1,)
    older = [at for at, release in enumerate(releases) if Version(release.version) <= have]
    return (older[-1] if older else 0,)


def positions_of(wish: str, knowledge: Knowledge) -> tuple[int, ...]:
    """The places in the list of releases of those that a wish means. Raises UnknownTorch."""
    try:
        version = Version(wish.removeprefix("torch==").removeprefix("=="))
    except InvalidVersion as error:
        raise UnknownTorch(f"`{wish}` is no version of torch such as 2.6 or 2.6.0") from error
    matches = SpecifierSet(f"=={version.public}.*") if len(version.release) < 3 else None
    found = tuple(
        at
        for at, release in enumerate(knowledge.releases)
        if (Version(release.version) in matches if matches else release.version == version.public)
    )
    if found:
        return found
    if knowledge.is_newer_than_data(wish):
        raise UnknownTorch(
            f"torch {wish} is newer than my data ({knowledge.as_of}), which ends with "
            f"{knowledge.newest_torch}"
        )
    raise UnknownTorch(
        f"torch {wish} is not among the stable releases in my data, "
        f"{knowledge.releases[0].version} to {knowledge.newest_torch}"
    )


def _order(
    companions: Companionship,
    one: Candidate,
    machine: Machine,
    knowledge: Knowledge,
    wanted: tuple[int, ...],
) -> tuple[object, ...]:
    """The smallest change first: extensions, torch, its variant, then the default build."""
    at = knowledge.releases.index(one.release)
    branch = knowledge.driver_branch(machine.driver) if machine.driver else None
    offered = release_key(branch.cuda) if branch and branch.cuda else None
    cuda = release_key(one.variant.cuda or "0") or ()
    beyond = offered is not None and cuda > offered
    return (
        len(companions.misfits),
        min(abs(at - position) for position in wanted),
        -at,
        not is_installed(machine, one.release, one.variant),
        one.variant.status not in (None, "stable") and not is_default(one.release, one.variant),
        not is_default(one.release, one.variant),
        beyond,
        cuda if beyond else tuple(-part for part in cuda),
    )


# --- one build in words ---


def _build(
    one: Candidate,
    companions: Companionship,
    machine: Machine,
    knowledge: Knowledge,
    instead_of: str,
) -> Build:
    return Build(
        torch=one.release.version,
        variant=one.variant.tag,
        commands=commands_for(machine, one.release, one.variant, companions),
        changes=tuple(_changes(one, companions, machine)),
        companions=companions.pins,
        pairs_with=not_installed(one.release, companions, knowledge),
        why="; ".join(part for part in (_why(one, machine, knowledge), instead_of) if part),
    )


def _changes(one: Candidate, companions: Companionship, machine: Machine) -> Iterator[str]:
    release, variant = one.release, one.variant
    if machine.externally_managed:
        yield "a new virtual environment, because the system manages this Python (PEP 668)"
    if machine.torch is None:
        yield f"torch: none -> {release.version} ({variant.tag})"
    elif not is_installed(machine, release, variant):
        before = f"{machine.torch.partition('+')[0]} ({machine.variant or 'unknown variant'})"
        yield f"torch: {before} -> {release.version} ({variant.tag})"
    for name, version in companions.pins.items():
        before = machine.installed.get(name, "none")
        if before.partition("+")[0] != version:
            yield f"{name}: {before} -> {version}"
    for name in companions.removals:
        yield f"{name} is removed: it was never published for torch {release.version}"
    stale = [
        name
        for name in removals(machine, release, variant, companions)
        if name.startswith(("nvidia-", "cuda-"))
    ]
    if stale:
        yield f"{len(stale)} nvidia wheels of another CUDA major are removed"
    for name in companions.misfits:
        yield f"{name} {machine.installed[name]} has no known release for torch {release.version}"
    if machine.locked:
        yield f"enter it in the project too, or the next sync of {machine.installer} undoes it"
    if machine.installer in ("conda", "pixi"):
        yield "from PyTorch's wheels: what the conda channels hold is not in the data"


def _why(one: Candidate, machine: Machine, knowledge: Knowledge) -> str:
    variant = one.variant
    if variant.cuda is None:
        wish = "as asked for" if machine.wants_gpu is False else "no NVIDIA GPU was seen"
        return f"a build without CUDA, {wish}"
    parts = [_driver_part(one, machine, knowledge), _gpu_part(one, machine)]
    parts += [f"torch {one.release.version} has wheels for Python {machine.python}"] * bool(
        machine.python
    )
    return "; ".join(part for part in parts if part)


def _driver_part(one: Candidate, machine: Machine, knowledge: Knowledge) -> str:
    floor = floor_of(one.variant, machine, knowledge)
    major = (one.variant.cuda or "").partition(".")[0]
    if machine.driver is None:
        return f"it needs driver {floor} or later; the driver here is unknown"
    return f"driver {machine.driver} runs CUDA {major} builds (from {floor} on)"


def _gpu_part(one: Candidate, machine: Machine) -> str:
    flags = ", ".join(one.variant.arch_flags or ())
    unknown = [gpu.name for gpu in machine.gpus if gpu.compute_capability is None]
    if unknown:
        return f"whether it has code for {unknown[0]} is not known; it has {flags}"
    seen = sorted({f"{gpu.name} ({gpu.compute_capability})" for gpu in machine.gpus})
    if not seen:
        return f"which GPU is here is not known; it has code for {flags}"
    return f"it has code for {' and '.join(seen)}"


# --- macOS, and Windows without a GPU ---


def _from_pypi(
    machine: Machine, knowledge: Knowledge, wanted: tuple[int, ...], limit: int | None
) -> Prescription:
    if machine.wants_gpu and machine.os == "macos":
        return Prescription(builds=(), none_because="CUDA is not available on macOS")
    platform = "win_amd64" if machine.os == "windows" else _MAC_PLATFORMS.get(machine.arch, "")
    fitting = [
        (at, release)
        for at, release in enumerate(knowledge.releases)
        if platform in release.platforms and not tuple(python_obstacle(release, machine))
    ]
    if not fitting:
        reason = f"no wheel on PyPI is for {machine.os}, {machine.arch} and Python {machine.python}"
        return Prescription(builds=(), none_because=reason)
    fitting.sort(key=lambda pair: (min(abs(pair[0] - at) for at in wanted), -pair[0]))
    return Prescription(
        builds=tuple(_pypi_build(release, machine, knowledge) for _, release in fitting[:limit]),
        knowledge_of=knowledge.as_of,
    )


def _pypi_build(release: TorchRelease, machine: Machine, knowledge: Knowledge) -> Build:
    default = next(one for one in release.variants if is_default(release, one))
    companions = companionship(machine, release, knowledge)
    return Build(
        torch=release.version,
        variant="pypi",
        commands=commands_for(machine, release, default, companions),
        changes=(f"torch: {machine.torch or 'none'} -> {release.version}",),
        companions=companions.pins,
        pairs_with=not_installed(release, companions, knowledge),
        why=f"PyPI has it for {machine.os} on {machine.arch}; it is without CUDA",
    )
