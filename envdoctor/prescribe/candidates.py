"""Every published build, and what keeps it from working on a machine."""

from collections.abc import Iterator

from packaging.version import Version

from envdoctor.knowledge import Knowledge, TorchRelease, Variant
from envdoctor.knowledge.arch import covers, cubins
from envdoctor.knowledge.drivers import driver_runs, driver_serves, release_key
from envdoctor.prescribe.records import Machine
from envdoctor.record import Record


class Obstacle(Record):
    """Why a build does not work here. `kind`: python, glibc, driver, branch, gpu, existence."""

    kind: str
    text: str


class Candidate(Record):
    """A published build and its obstacles on one machine; without any, it works."""

    release: TorchRelease
    variant: Variant
    obstacles: tuple[Obstacle, ...]


def candidates(machine: Machine, knowledge: Knowledge) -> Iterator[Candidate]:
    """Every Linux build for the machine's architecture, with what stands in its way."""
    for release in knowledge.releases:
        for variant in release.builds(machine.arch):
            if variant.is_cpu == uses_gpu(machine):
                continue
            found = tuple(_obstacles(release, variant, machine, knowledge))
            yield Candidate(release=release, variant=variant, obstacles=found)


def uses_gpu(machine: Machine) -> bool:
    """Whether builds with CUDA are looked for: a GPU is there, or one is wanted."""
    if machine.wants_gpu is not None:
        return machine.wants_gpu
    return bool(machine.gpus) or bool(machine.nvidia_on_bus)


def _obstacles(
    release: TorchRelease, variant: Variant, machine: Machine, knowledge: Knowledge
) -> Iterator[Obstacle]:
    if variant.status in ("unverified", "derived"):
        yield Obstacle(kind="existence", text="no source confirms that this build was published")
    yield from python_obstacle(release, machine)
    yield from _glibc(variant, machine)
    if variant.cuda is None:
        return
    yield from _driver(variant, machine, knowledge)
    yield from _gpus(release, variant, machine, knowledge)


def python_obstacle(release: TorchRelease, machine: Machine) -> Iterator[Obstacle]:
    """Whether the release has no wheel for the machine's Python."""
    if machine.pypy:
        yield Obstacle(kind="python", text="torch is published for CPython only")
        return
    if machine.python is None:
        return
    tags = release.free_threaded if machine.free_threaded else release.pythons
    if machine.python not in tags:
        name = f"Python {machine.python}" + (" (free-threaded)" if machine.free_threaded else "")
        offered = f"for {tags[0]} to {tags[-1]}" if tags else "for none of its kind"
        yield Obstacle(kind="python", text=f"no wheel for {name}, only {offered}")


def _glibc(variant: Variant, machine: Machine) -> Iterator[Obstacle]:
    if machine.glibc is None or variant.glibc is None:
        return
    if Version(machine.glibc) < Version(variant.glibc):
        yield Obstacle(kind="glibc", text=f"needs glibc {variant.glibc}, here is {machine.glibc}")


def _driver(variant: Variant, machine: Machine, knowledge: Knowledge) -> Iterator[Obstacle]:
    if machine.driver is None:
        if machine.driver_loaded is False:
            yield Obstacle(kind="driver", text="no NVIDIA driver is loaded")
        return
    assert variant.cuda is not None
    runs = driver_runs(machine.driver, variant.cuda, knowledge, os=driver_os(machine))
    if runs is False:
        floor = floor_of(variant, machine, knowledge)
        yield Obstacle(
            kind="driver", text=f"needs driver {floor} or later, here is {machine.driver}"
        )


def driver_os(machine: Machine) -> str:
    """Whose numbering the driver's release follows: under WSL it is that of Windows."""
    return "windows" if machine.wsl or machine.os == "windows" else "linux"


def floor_of(variant: Variant, machine: Machine, knowledge: Knowledge) -> str | None:
    """The oldest driver that runs a build, in the numbering of the machine's system."""
    floor = knowledge.driver_floor(variant.cuda or "")
    if floor is None:
        return None
    windows = driver_os(machine) == "windows"
    return floor.min_release_windows if windows else floor.min_release_linux


def _gpus(
    release: TorchRelease, variant: Variant, machine: Machine, knowledge: Knowledge
) -> Iterator[Obstacle]:
    known = {(gpu.name, gpu.compute_capability) for gpu in machine.gpus if gpu.compute_capability}
    for name, capability in sorted(known):
        if machine.driver and driver_serves(machine.driver, capability, knowledge) is False:
            yield Obstacle(kind="branch", text=f"driver {machine.driver} no longer supports {name}")
        if variant.arch_flags is None:
            yield Obstacle(kind="gpu", text="no source lists the GPUs that this build is for")
        elif not _runs_on(capability, release, variant, machine, knowledge):
            yield Obstacle(
                kind="gpu", text=f"has no code for {name} (sm_{capability.replace('.', '')})"
            )


def _runs_on(
    capability: str,
    release: TorchRelease,
    variant: Variant,
    machine: Machine,
    knowledge: Knowledge,
) -> bool:
    """PTX counts only under a driver at least as new as the toolkit, which then compiles it.

    Source: NVIDIA CUDA compatibility guide, minor-version compatibility, limitations.
    """
    flags = variant.arch_flags or ()
    if not _compiles_ptx(variant, machine, knowledge):
        flags = cubins(flags)
    return covers(flags, capability, torch=release.version, cuda=variant.cuda)


def _compiles_ptx(variant: Variant, machine: Machine, knowledge: Knowledge) -> bool:
    branch = knowledge.driver_branch(machine.driver) if machine.driver else None
    have = release_key(branch.cuda) if branch and branch.cuda else None
    need = release_key(variant.cuda or "")
    return have is not None and need is not None and have >= need
