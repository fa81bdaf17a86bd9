"""Which versions of installed companions go with a torch release."""

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envdoctor.knowledge import ExtensionRelease, Knowledge, TorchRelease
from envdoctor.prescribe.records import Machine
from envdoctor.record import Record

PAIRED = ("torchvision", "torchaudio", "torchtext")
_FREE_TORCHAUDIO = "2.11.0"
"""The last torchaudio: it declares no torch, and vLLM pairs it with torch 2.13 and 2.14
(companions.json, notes of torch 2.12 and later)."""


class Companionship(Record):
    """What becomes of the installed companions: versions to install and packages to remove.

    `published_with` are those of the pins that came out with that torch, so that the index of the
    build has them; `misfits` are extensions for which no release fits.
    """

    pins: dict[str, str] = msgspec.field(default_factory=dict)
    published_with: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()


def companionship(machine: Machine, release: TorchRelease, knowledge: Knowledge) -> Companionship:
    """The versions of what is installed beside torch that go with that release."""
    pins: dict[str, str] = {}
    removals: list[str] = []
    for name in PAIRED:
        if name in machine.installed:
            version = paired_version(name, machine.installed[name], release, knowledge)
            if version is None:
                removals.append(name)
            else:
                pins[name] = version
    misfits: list[str] = []
    for name in sorted({one.name for one in knowledge.companions_file.extensions}):
        if name in machine.installed:
            version = _extension_version(name, machine, release, knowledge)
            if version is None:
                misfits.append(name)
            elif version:
                pins[name] = version
    if _needs_numpy_1(machine, release, knowledge, pins):
        pins["numpy"] = "<2"
    pair = knowledge.companions(release.version)
    return Companionship(
        pins=pins,
        published_with=tuple(name for name in PAIRED if name in pins and getattr(pair, name)),
        removals=tuple(removals),
        misfits=tuple(misfits),
    )


def not_installed(
    release: TorchRelease, companions: Companionship, knowledge: Knowledge
) -> dict[str, str]:
    """PyTorch's own libraries that came out with that torch, for who has not installed them yet."""
    pair = knowledge.companions(release.version)
    versions = {name: getattr(pair, name) for name in PAIRED} if pair else {}
    return {
        name: published[-1]
        for name, published in versions.items()
        if published and name not in companions.pins
    }


def paired_version(
    name: str, installed: str | None, release: TorchRelease, knowledge: Knowledge
) -> str | None:
    """The release of torchvision, torchaudio or torchtext that pairs; the installed one if it
    does. None where none was published for that torch."""
    pair = knowledge.companions(release.version)
    versions: tuple[str, ...] = getattr(pair, name) if pair else ()
    if not versions and name == "torchaudio":
        versions = (_FREE_TORCHAUDIO,)
    base = (installed or "").partition("+")[0]
    if base in versions:
        return base
    return versions[-1] if versions else None


def _extension_version(
    name: str, machine: Machine, release: TorchRelease, knowledge: Knowledge
) -> str | None:
    """The version to install; empty to keep what is there; None where none is known to fit."""
    installed = machine.installed[name]
    known = knowledge.extension(name, installed)
    if known is not None and fits_torch(known, release.version) is not False:
        return ""
    if known is None and _base(machine.torch) == release.version:
        return ""
    fitting = [
        one
        for one in knowledge.extensions(name)
        if one.requires_torch
        and fits_torch(one, release.version)
        and _allows(one.requires_python, machine.python)
    ]
    return fitting[-1].version if fitting else None


def fits_torch(extension: ExtensionRelease, torch: str) -> bool | None:
    """Whether an extension's own requirement admits that torch; None where it states none."""
    if not extension.requires_torch:
        return None
    return Version(_base(torch) or "0") in SpecifierSet(extension.requires_torch)


def _allows(requires_python: str | None, python: str | None) -> bool:
    if requires_python is None or python is None:
        return True
    return Version(python) in SpecifierSet(requires_python)


def _base(version: str | None) -> str | None:
    try:
        return Version(version).public if version else None
    except InvalidVersion:
        return None


def _needs_numpy_1(
    machine: Machine, release: TorchRelease, knowledge: Knowledge, pins: dict[str, str]
) -> bool:
    """torchvision brings the newest numpy along, so it counts as wanting numpy 2."""
    if knowledge.fits_numpy_2(release.version, machine.os) is not False:
        return False
    numpy = machine.installed.get("numpy")
    if numpy is None:
        return "torchvision" in pins
    return Version(numpy) >= Version("2.0")
