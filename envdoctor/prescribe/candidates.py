"""Every published build, and what keeps it from working on a machine."""

from collections.abc import Iterator

import msgspec
from packaging.version import Version

from envdoctor.knowledge import Knowledge, TorchRelease, Variant
from envdoctor.knowledge.arch import covers, cubins
from envdoctor.knowledge.drivers import (
    cudnn_serves,
    driver_knows,
    driver_runs,
    driver_serves,
    release_key,
)
from envdoctor.prescribe.records import Machine
from envdoctor.record import Record


class Obstacle(Record):
    """Why a build does not work here.

    `kind`: python, glibc, driver, branch, gpu, cudnn, existence.
    """

    kind: str
    text: str


class Candidate(Record):
    """A published build and its obstacles on one machine; without any, it works."""

    release: TorchRelease
    variant: Variant
    obstacles: tuple[Obstacle, ...]


def candidates(machine: Machine, knowledge: Knowledge) -> Iterator[Candidate]:
    """Every build for the machine's system and architecture, with what stands in its way."""
    for release in knowledge.releases:
        for variant in builds_of(release, machine):
            if variant.is_cpu == uses_gpu(machine):
                continue
            found = tuple(_obstacles(release, variant, machine, knowledge))
            yield Candidate(release=release, variant=variant, obstacles=found)


def builds_of(release: TorchRelease, machine: Machine) -> tuple[Variant, ...]:
    """The builds of a release for that system."""
    if machine.os == "linux":
        return release.builds(machine.arch)
    if machine.os == "windows" and machine.arch == "x86_64":
        return tuple(
            msgspec.structs.replace(one, machine=WINDOWS, glibc=None)
            for one in release.variants
            if one.is_for_windows
        )
    return ()


WINDOWS = "win_amd64"
"""The machine of a variant for Windows."""


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
    yield from python_obstacle(release, machine, knowledge)
    yield from _glibc(variant, machine)
    if variant.cuda is None:
        return
    yield from _driver(variant, machine, knowledge)
    yield from _gpus(release, variant, machine, knowledge)


def python_obstacle(
    release: TorchRelease, machine: Machine, knowledge: Knowledge
) -> Iterator[Obstacle]:
    """Whether the release has no wheel for the machine's Python, by PyPI's file list.

    PyTorch's own index has each variant for the Pythons of PyPI's wheels for the same system.
    """
    if machine.pypy:
        yield Obstacle(kind="python", text="torch is published for CPython only")
        return
    target = msgspec.structs.replace(machine.target, glibc=None, macos=None)
    if knowledge.wheels.admits("torch", release.version, target) is not False:
        return
    tags = knowledge.wheels.pythons("torch", release.version, target)
    name = f"Python {machine.python}" + (" (free-threaded)" if machine.free_threaded else "")
    offered = f"only for {tags[0]} to {tags[-1]}" if tags else "for none of its kind"
    yield Obstacle(kind="python", text=f"no wheel for {name} on {_place(machine)}, {offered}")


def _place(machine: Machine) -> str:
    names = {"linux": "Linux", "macos": "macOS", "windows": "Windows"}
    return f"{names[machine.os]} {machine.arch}"


def _glibc(variant: Variant, machine: Machine) -> Iterator[Obstacle]:
    if machine.glibc is None or variant.glibc is None:
        return
    if Version(machine.glibc) < Version(variant.glibc):
        yield Obstacle(kind="glibc", text=f"needs glibc {variant.glibc}, here is {machine.glibc}")


def _driver(variant: Variant, machine: Machine, knowledge: Knowledge) -> Iterator[Obstacle]:
    if machine.driver is None:
        if machine.driver_loaded is False and not machine.runs_elsewhere:
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
    flags = flags_of(release, variant, machine)
    known = {(gpu.name, gpu.compute_capability) for gpu in machine.gpus if gpu.compute_capability}
    for name, capability in sorted(known):
        yield from _branch(name, capability, machine, knowledge)
        if flags is None:
            yield Obstacle(kind="gpu", text="no source lists the GPUs that this build is for")
        elif not _runs_on(capability, flags, release, variant, machine, knowledge):
            yield Obstacle(
                kind="gpu", text=f"has no code for {name} (sm_{capability.replace('.', '')})"
            )
        elif variant.cudnn and cudnn_serves(variant.cudnn, capability, knowledge) is False:
            text = f"its cuDNN {variant.cudnn} has no code for {name}"
            yield Obstacle(kind="cudnn", text=text)


def flags_of(release: TorchRelease, variant: Variant, machine: Machine) -> tuple[str, ...] | None:
    """The compiled targets: those of the installed torch itself where it is that build."""
    if machine.arch_flags and is_installed(machine, release, variant):
        return machine.arch_flags
    return variant.arch_flags


def is_installed(machine: Machine, release: TorchRelease, variant: Variant) -> bool:
    """Whether the machine has that very build already."""
    base = machine.torch.partition("+")[0] if machine.torch else None
    return base == release.version and machine.variant == variant.tag


def _branch(
    name: str, capability: str, machine: Machine, knowledge: Knowledge
) -> Iterator[Obstacle]:
    if machine.driver is None:
        return
    if driver_serves(machine.driver, capability, knowledge) is False:
        yield Obstacle(kind="branch", text=f"driver {machine.driver} no longer supports {name}")
    start = knowledge.min_driver_branch(capability)
    if start and driver_knows(machine.driver, capability, knowledge) is False:
        text = f"{name} needs driver {start.branch} or later, here is {machine.driver}"
        yield Obstacle(kind="branch", text=text)


def _runs_on(
    capability: str,
    flags: tuple[str, ...],
    release: TorchRelease,
    variant: Variant,
    machine: Machine,
    knowledge: Knowledge,
) -> bool:
    """PTX counts only under a driver at least as new as the toolkit, which then compiles it.

    Source: NVIDIA CUDA compatibility guide, minor-version compatibility, limitations.
    """
    if not _compiles_ptx(variant, machine, knowledge):
        flags = cubins(flags)
    return covers(flags, capability, torch=release.version, cuda=variant.cuda)


def _compiles_ptx(variant: Variant, machine: Machine, knowledge: Knowledge) -> bool:
    branch = knowledge.driver_branch(machine.driver) if machine.driver else None
    have = release_key(branch.cuda) if branch and branch.cuda else None
    need = release_key(variant.cuda or "")
    return have is not None and need is not None and have >= need
