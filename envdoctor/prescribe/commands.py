"""What has to be removed and installed to bring an environment to a build; the repair service puts
it into the words of what manages the environment.

Source: pytorch.org, Get Started and Previous Versions (index URLs; local versions before torch
2.0).
"""

import re

import msgspec
from packaging.version import Version

from envdoctor.facts.python import Installer
from envdoctor.knowledge import TorchRelease, Variant
from envdoctor.prescribe.candidates import WINDOWS, is_installed
from envdoctor.prescribe.companions import PAIRED, Companionship, present_major
from envdoctor.prescribe.records import Machine
from envdoctor.repair.changes import Batch, Change, Source, pytorch_source
from envdoctor.repair.managers import MANAGERS, conda_remove
from envdoctor.repair.site import Site
from envdoctor.shell import command

_ENVIRONMENT = ".venv"
_SUFFIX = re.compile(r"-cu(\d+)$")


def commands_for(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    """The commands, in their order; none where the environment is already like that."""
    change = change_for(machine, release, variant, companions)
    if machine.externally_managed and site_of(machine).manager not in _OF_PROJECTS:
        return _in_new_environment(machine, change)
    site = site_of(machine)
    lines = _with_pip(machine, tuple(MANAGERS[manager_of(machine)].change(site, change)))
    of_conda = machine.torch_by_conda and machine.conda_prefix and site.manager == "conda"
    return (conda_remove(site, "pytorch"), *lines) if lines and of_conda else lines


_BY_DEBIAN = "sudo apt-get install {}"
"""Debian keeps pip, and what makes virtual environments with it, in packages of their own
(python3-pip, python3-venv)."""


def _with_pip(machine: Machine, lines: tuple[str, ...]) -> tuple[str, ...]:
    """The commands, with pip brought first where they run it and it is not there."""
    if machine.has_pip or not any(
        f"{command(machine.interpreter)} -m pip " in one for one in lines
    ):
        return lines
    by_python = command(machine.interpreter, "-m", "ensurepip")
    return (by_python if machine.has_ensurepip else _BY_DEBIAN.format("python3-pip"), *lines)


_OF_PROJECTS = frozenset(name for name, manager in MANAGERS.items() if manager.sync)


def _in_new_environment(machine: Machine, change: Change) -> tuple[str, ...]:
    """A virtual environment, because the system forbids others to install into its Python."""
    by_uv = machine.installer == "uv"
    making = ("uv", "venv", "--python") if by_uv else (machine.interpreter, "-m", "venv")
    words = (*making, machine.interpreter) if by_uv else making
    site = msgspec.structs.replace(
        site_of(machine), target=f"{_ENVIRONMENT}/bin/python", prefix=_ENVIRONMENT, base_prefix="/"
    )
    fresh = msgspec.structs.replace(change, dropped=(), evicted=())
    lines = MANAGERS["uv" if by_uv else "pip"].change(site, fresh)
    first = () if by_uv or machine.has_ensurepip else (_BY_DEBIAN.format("python3-venv"),)
    return (*first, command(*words, _ENVIRONMENT), *lines)


def site_of(machine: Machine) -> Site:
    """Where the commands are run."""
    evidence = f"{machine.project}/{_LOCKS.get(machine.installer, '.lock')}"
    installer = Installer(
        name=machine.installer,
        evidence=evidence if machine.project else "",
        pip_settings=machine.pip_settings,
    )
    return Site(
        target=machine.interpreter,
        installer=installer,
        prefix=machine.conda_prefix,
        machine=machine.arch,
    )


_LOCKS = {"pixi": ".pixi/envs"}
"""What of a project says who manages it, where that is no lock file."""


def manager_of(machine: Machine) -> str:
    """What manages the packages of a machine; pip where it is none that is known."""
    name = site_of(machine).manager
    return name if name in MANAGERS else "pip"


def is_entered(machine: Machine) -> bool:
    """Whether the commands enter the build in the project as well."""
    return MANAGERS[manager_of(machine)].sync is not None


def is_default(release: TorchRelease, variant: Variant) -> bool:
    """Whether the plain package index gives this build, so that no other index is needed."""
    if variant.machine == WINDOWS:
        return variant.is_cpu
    if variant.machine == "aarch64":
        return variant.tag == release.pypi_variant_aarch64
    return variant.tag == release.pypi_variant


# --- what to remove and to install ---


def change_for(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> Change:
    """What is removed and installed; nothing where the environment is already like that."""
    own, other = requirements(machine, release, variant, companions)
    gone = removals(machine, release, variant, companions)
    batches = (
        Batch(requirements=own, source=source_of(release, variant)),
        Batch(requirements=other),
    )
    return Change(
        dropped=tuple(companions.removals),
        evicted=tuple(name for name in gone if name not in companions.removals),
        batches=tuple(batch for batch in batches if batch.requirements),
    )


def removals(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[str, ...]:
    """What has to go first.

    torch of the same version but another variant, because `==2.6.0` is met by `2.6.0+cu118`
    (PEP 440) and nothing would be installed; nvidia wheels of another CUDA major, because wheels of
    two majors share folders; and companions that were never published for that torch.
    """
    gone = list(companions.removals)
    if is_installed(machine, release, variant):
        return tuple(gone)
    if _base(machine.torch) == release.version and not machine.torch_by_conda:
        gone.append("torch")
        gone += [name for name in PAIRED if name in companions.pins and name in machine.installed]
    elif machine.variant != variant.tag:
        gone += [
            name
            for name in companions.published_with
            if _base(machine.installed.get(name)) == companions.pins[name]
        ]
    gone += [name for name in machine.installed if _is_stale(name, machine, variant)]
    return tuple(dict.fromkeys(gone))


def _is_stale(name: str, machine: Machine, variant: Variant) -> bool:
    old = present_major(machine)
    new = (variant.cuda or "").partition(".")[0]
    if not name.startswith("nvidia-") and name != "cuda-toolkit":
        return False
    match = _SUFFIX.search(name)
    if match:
        return match[1] != new
    return old == "13" and new != "13"


def _base(version: str | None) -> str | None:
    return version.partition("+")[0] if version else None


def requirements(
    machine: Machine, release: TorchRelease, variant: Variant, companions: Companionship
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What comes from the index of the build, and what from the ordinary one."""
    local = ""
    if not is_default(release, variant) and Version(release.version) < Version("2.0"):
        local = f"+{variant.tag}"
    own: list[str] = []
    if not is_installed(machine, release, variant):
        own.append(f"torch=={release.version}{local}")
    other: list[str] = []
    for name, version in companions.pins.items():
        if machine.installed.get(name, "").partition("+")[0] == version and own == []:
            continue
        spec = f"{name}=={version}" if version[0].isdecimal() else f"{name}{version}"
        if name == "torchvision":
            own.append(spec + local)
        elif name in companions.published_with:
            own.append(spec)
        else:
            other.append(spec)
    return tuple(own), tuple(other)


def source_of(release: TorchRelease, variant: Variant) -> Source | None:
    """Where the build is; null where the ordinary index has it."""
    if is_default(release, variant):
        return None
    return pytorch_source(variant.tag, release.version, machine=variant.machine)
