"""From the published builds to a prescription. Pure."""

from collections.abc import Iterable, Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.errors import BadInput
from envdoctor.knowledge import Knowledge, TorchRelease, Variant
from envdoctor.knowledge.drivers import release_key
from envdoctor.prescribe.candidates import (
    Candidate,
    candidates,
    flags_of,
    floor_of,
    is_installed,
    python_obstacle,
    uses_gpu,
)
from envdoctor.prescribe.commands import commands_for, is_default, is_entered, removals
from envdoctor.prescribe.companions import Companionship, companionship, not_installed
from envdoctor.prescribe.no_solution import nearest, no_solution_because, not_covered
from envdoctor.prescribe.records import Build, Machine, Prescription
from envdoctor.record import Record
from envdoctor.versions import parse_version


class Wanted(Record):
    """What the answer should be near to: places in the list of releases, and a variant."""

    positions: tuple[int, ...]
    tag: str = ""
    asked: str = ""


class UnknownTorch(BadInput):
    """A torch was asked for that is not in the data; the message names the newest that is."""


def prescribe(
    machine: Machine, knowledge: Knowledge, torch: str | None = None, limit: int | None = None
) -> Prescription:
    """The builds that work on the machine, the smallest change first; at most `limit`.

    `torch` is a version of it, the beginning of one ("2.6") or one with its variant
    ("2.6.0+cu126"). Raises UnknownTorch for one that is not in the data.
    """
    wanted = _wanted(machine, knowledge, torch)
    reason = not_covered(machine, knowledge)
    if reason:
        return Prescription(builds=(), none_because=reason)
    if machine.os == "macos" or (machine.os == "windows" and not uses_gpu(machine)):
        return _from_pypi(machine, knowledge, wanted, limit)
    every = tuple(candidates(machine, knowledge))
    working = [one for one in every if not one.obstacles]
    if not working:
        return Prescription(builds=(), none_because=no_solution_because(every, machine, knowledge))
    matched = [
        (companionship(machine, one.release, one.variant, knowledge), one) for one in working
    ]
    matched.sort(key=lambda pair: _order(pair[0], pair[1], machine, knowledge, wanted))
    reason = _instead_of(every, machine, knowledge, wanted)
    return Prescription(
        builds=tuple(_build(one, fit, machine, knowledge, reason) for fit, one in matched[:limit]),
        knowledge_of=knowledge.as_of,
    )


def _instead_of(
    every: Iterable[Candidate], machine: Machine, knowledge: Knowledge, wanted: Wanted
) -> str:
    """Why no build of the wanted release works here; empty where one does."""
    versions = {knowledge.releases[at].version for at in wanted.positions}
    same = [one for one in every if one.release.version in versions]
    name = f"torch {max(versions, key=Version)}"
    if wanted.tag:
        same = [one for one in same if one.variant.tag == wanted.tag]
        name += f"+{wanted.tag}"
    if not same and (wanted.asked or machine.torch):
        kind = "build with CUDA" if uses_gpu(machine) else "build"
        return f"no {kind} of {name} for {machine.arch} is in my data"
    if not same or not all(one.obstacles for one in same):
        return ""
    closest = nearest(tuple(same))[0]
    texts = "; ".join(dict.fromkeys(one.text for one in closest.obstacles))
    build = f"{closest.release.version}+{closest.variant.tag}"
    return f"torch {closest.release.version} itself does not work here ({build}: {texts})"


def _wanted(machine: Machine, knowledge: Knowledge, torch: str | None) -> Wanted:
    """Positions in the list of releases that the answer should be near to."""
    releases = knowledge.releases
    if torch is not None:
        tag = torch.partition("+")[2]
        return Wanted(positions=positions_of(torch, knowledge), tag=tag, asked=torch)
    have = parse_version(machine.torch)
    if machine.torch is None or have is None or knowledge.is_newer_than_data(machine.torch):
        return Wanted(positions=(len(releases) - 1,))
    base = Version(have.base_version)
    older = [at for at, release in enumerate(releases) if Version(release.version) <= base]
    return Wanted(positions=(older[-1] if older else 0,))


def positions_of(torch: str, knowledge: Knowledge) -> tuple[int, ...]:
    """The places in the list of releases of a version, or of those that begin so. Raises
    UnknownTorch."""
    version = parse_version(torch.removeprefix("torch==").removeprefix("=="))
    if version is None:
        raise UnknownTorch(f"`{torch}` is no version of torch such as 2.6 or 2.6.0")
    matches = SpecifierSet(f"=={version.public}.*") if len(version.release) < 3 else None
    found = tuple(
        at
        for at, release in enumerate(knowledge.releases)
        if (Version(release.version) in matches if matches else release.version == version.public)
    )
    if found:
        return found
    if knowledge.is_newer_than_data(torch):
        raise UnknownTorch(
            f"torch {torch} is newer than my data ({knowledge.as_of}), which ends with "
            f"{knowledge.newest_torch}"
        )
    raise UnknownTorch(
        f"torch {torch} is not among the stable releases in my data, "
        f"{knowledge.releases[0].version} to {knowledge.newest_torch}"
    )


def _order(
    companions: Companionship,
    one: Candidate,
    machine: Machine,
    knowledge: Knowledge,
    wanted: Wanted,
) -> tuple[object, ...]:
    """The smallest change first: companions, torch, its variant, then the default build.

    The torch that is wanted itself, else the newest patch of the nearest minor release.
    """
    at = knowledge.releases.index(one.release)
    branch = knowledge.driver_branch(machine.driver) if machine.driver else None
    offered = release_key(branch.cuda) if branch and branch.cuda else None
    cuda = release_key(one.variant.cuda or "0") or ()
    beyond = offered is not None and cuda > offered
    return (
        bool(wanted.asked) and at not in wanted.positions,
        len(companions.lost),
        at not in wanted.positions,
        _minors_away(at, knowledge, wanted),
        wanted.tag not in ("", one.variant.tag),
        -at,
        not is_installed(machine, one.release, one.variant),
        one.variant.status not in (None, "stable") and not is_default(one.release, one.variant),
        not is_default(one.release, one.variant),
        beyond,
        cuda if beyond else tuple(-part for part in cuda),
    )


def _minors_away(at: int, knowledge: Knowledge, wanted: Wanted) -> int:
    lines = knowledge.minor_lines
    return min(abs(lines[at] - lines[place]) for place in wanted.positions)


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
        lost={**companions.removals, **companions.misfits},
    )


def _changes(one: Candidate, companions: Companionship, machine: Machine) -> Iterator[str]:
    release, variant = one.release, one.variant
    if machine.vendor and not is_installed(machine, release, variant):
        yield (
            f"the torch that is installed was built by {machine.vendor}, and what came with it may "
            "need that very build: PyTorch's own replaces it"
        )
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
    for name, reason in companions.removals.items():
        yield f"{name} is removed: {reason}"
    stale = [
        name
        for name in removals(machine, release, variant, companions)
        if name.startswith(("nvidia-", "cuda-"))
    ]
    if stale:
        yield f"{len(stale)} nvidia wheels of another CUDA major are removed"
    for name, reason in companions.misfits.items():
        yield f"{name} will not work: {reason}"
    if machine.locked and not is_entered(machine):
        yield f"enter it in the project too, or the next sync of {machine.installer} undoes it"
    if machine.installer in ("conda", "pixi"):
        yield "from PyTorch's wheels: what the conda channels hold is not in the data"


def _why(one: Candidate, machine: Machine, knowledge: Knowledge) -> str:
    variant = one.variant
    if variant.cuda is None:
        return f"a build without CUDA, {_why_no_gpu(machine)}"
    parts = [_driver_part(one, machine, knowledge), _gpu_part(one, machine)]
    parts += [f"torch {one.release.version} has wheels for Python {machine.python}"] * bool(
        machine.python
    )
    return "; ".join(part for part in parts if part)


def _why_no_gpu(machine: Machine) -> str:
    if machine.wants_gpu is False:
        return "as asked for"
    if machine.unserved:
        return f"as no torch has code for {' or '.join(dict.fromkeys(machine.unserved))}"
    return "no NVIDIA GPU was seen"


def _driver_part(one: Candidate, machine: Machine, knowledge: Knowledge) -> str:
    floor = floor_of(one.variant, machine, knowledge)
    major = (one.variant.cuda or "").partition(".")[0]
    if machine.driver is None:
        floor = _floor_with_gpus(floor, machine, knowledge)
        where = (
            "on the machine that runs it" if machine.runs_elsewhere else "; the one here is unknown"
        )
        return f"it needs driver {floor} or later{'' if where[0] == ';' else ' '}{where}"
    return f"driver {machine.driver} runs CUDA {major} builds (from {floor} on)"


def _floor_with_gpus(floor: str | None, machine: Machine, knowledge: Knowledge) -> str | None:
    """The oldest driver for the build and for every GPU: some came after the CUDA of the build."""
    starts = [
        start.branch
        for gpu in machine.gpus
        if gpu.compute_capability and (start := knowledge.min_driver_branch(gpu.compute_capability))
    ]
    known = [one for one in (floor, *starts) if one]
    return max(known, key=lambda one: release_key(one) or (), default=None)


def _gpu_part(one: Candidate, machine: Machine) -> str:
    flags = ", ".join(flags_of(one.release, one.variant, machine) or ())
    unknown = [gpu.name for gpu in machine.gpus if gpu.compute_capability is None]
    if unknown:
        return f"whether it has code for {unknown[0]} is not known; it has {flags}"
    seen = sorted({f"{gpu.name} ({gpu.compute_capability})" for gpu in machine.gpus})
    if not seen:
        return f"which GPU is here is not known; it has code for {flags}"
    return f"it has code for {' and '.join(seen)}"


# --- macOS, and Windows without a GPU ---


def _from_pypi(
    machine: Machine, knowledge: Knowledge, wanted: Wanted, limit: int | None
) -> Prescription:
    if machine.wants_gpu and machine.os == "macos":
        return Prescription(builds=(), none_because="CUDA is not available on macOS")
    released = [
        (at, release)
        for at, release in enumerate(knowledge.releases)
        if not tuple(python_obstacle(release, machine, knowledge))
    ]
    fitting = [
        (at, release)
        for at, release in released
        if knowledge.wheels.admits("torch", release.version, machine.target)
    ]
    if not fitting:
        return Prescription(builds=(), none_because=_none_on_pypi(released, machine, knowledge))
    matched = [
        (companionship(machine, one, _default(one), knowledge), at, one) for at, one in fitting
    ]
    matched.sort(
        key=lambda found: (
            len(found[0].lost),
            found[1] not in wanted.positions,
            _minors_away(found[1], knowledge, wanted),
            -found[1],
        )
    )
    builds = tuple(_pypi_build(one, fit, machine, knowledge) for fit, _, one in matched[:limit])
    return Prescription(builds=builds, knowledge_of=knowledge.as_of)


def _none_on_pypi(
    released: list[tuple[int, TorchRelease]], machine: Machine, knowledge: Knowledge
) -> str:
    """For macOS, the version of it that the nearest release needs."""
    if released and machine.os == "macos":
        newest = released[0][1].version
        floor = knowledge.wheels.macos_floor("torch", newest, machine.target)
        return f"torch {newest} is the oldest for Python {machine.python}, and needs macOS {floor}"
    return f"no wheel on PyPI is for {machine.os}, {machine.arch} and Python {machine.python}"


def _default(release: TorchRelease) -> Variant:
    """A stand-in for the wheels of macOS and Windows, which are without CUDA."""
    return next(one for one in release.variants if one.is_cpu)


def _pypi_build(
    release: TorchRelease, companions: Companionship, machine: Machine, knowledge: Knowledge
) -> Build:
    default = next(one for one in release.variants if is_default(release, one))
    return Build(
        torch=release.version,
        variant="pypi",
        commands=commands_for(machine, release, default, companions),
        changes=(
            f"torch: {machine.torch or 'none'} -> {release.version}",
            *(f"{name} is removed: {reason}" for name, reason in companions.removals.items()),
            *(f"{name} will not work: {reason}" for name, reason in companions.misfits.items()),
        ),
        companions=companions.pins,
        pairs_with=not_installed(release, companions, knowledge),
        why=f"PyPI has it for {machine.os} on {machine.arch}; it is without CUDA",
        lost={**companions.removals, **companions.misfits},
    )
