"""Which versions of installed companions go with a torch build, and which are lost with it."""

import re

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.knowledge import ExtensionRelease, Knowledge, TorchRelease, Variant
from envdoctor.prescribe.records import Machine
from envdoctor.record import Record
from envdoctor.versions import parse_version

PAIRED = ("torchvision", "torchaudio", "torchtext")
COMPILED_HERE = (
    "apex",
    "causal-conv1d",
    "detectron2",
    "flash-attn",
    "mamba-ssm",
    "mmcv",
    "natten",
    "nvdiffrast",
    "pyg-lib",
    "pytorch3d",
    "tinycudann",
    "torch-cluster",
    "torch-scatter",
    "torch-sparse",
    "torch-spline-conv",
)
"""Published as source, or in wheels for one torch and one CUDA that are on no ordinary index: what
is installed was made for the torch of that day (each project's own instructions to install it)."""
_FREE_TORCHAUDIO = "2.11.0"
"""The last torchaudio: it declares no torch, and vLLM pairs it with torch 2.13 and 2.14
(companions.json, notes of torch 2.12 and later)."""


class Companionship(Record):
    """What becomes of the installed companions: versions to install and packages to remove.

    `published_with` are those of the pins that the index of the build has; `removals` are removed,
    since no release of them goes with that torch; `misfits` stay and will not work. Both are by
    name, with the reason. `lost` are those of both that go with the torch that is installed now.
    """

    pins: dict[str, str] = msgspec.field(default_factory=dict)
    published_with: tuple[str, ...] = ()
    removals: dict[str, str] = msgspec.field(default_factory=dict)
    misfits: dict[str, str] = msgspec.field(default_factory=dict)
    lost: tuple[str, ...] = ()


def companionship(
    machine: Machine, release: TorchRelease, variant: Variant, knowledge: Knowledge
) -> Companionship:
    """The versions of what is installed beside torch that go with that build."""
    pins: dict[str, str] = {}
    removals: dict[str, str] = {}
    misfits: dict[str, str] = {}
    for name in PAIRED:
        if name in machine.installed:
            version = paired_version(name, machine.installed[name], release, knowledge)
            reason = _no_pair(name, version, release, variant, machine, knowledge)
            if reason:
                removals[name] = reason
            elif version:
                pins[name] = version
    for name in sorted(extensions_known(knowledge)):
        if name in machine.installed:
            version = _extension_version(name, machine, release, variant, knowledge)
            if version is None:
                misfits[name] = _no_fit(name, machine, release, variant, knowledge)
            elif version:
                pins[name] = version
    if _needs_numpy_1(machine, release, knowledge, pins):
        pins["numpy"] = "<2"
    return Companionship(
        pins=pins,
        published_with=tuple(
            name for name in pins if _on_its_index(name, pins[name], release, variant, knowledge)
        ),
        removals=removals,
        misfits=misfits,
        lost=tuple(
            name for name in (*removals, *misfits) if _goes_with_present(name, machine, knowledge)
        ),
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


def _goes_with_present(name: str, machine: Machine, knowledge: Knowledge) -> bool:
    """Whether the installed package goes with the torch that is installed, as far as is known."""
    present = knowledge.release(machine.torch) if machine.torch else None
    if present is None:
        return False
    installed = machine.installed[name]
    if name in PAIRED:
        return paired_version(name, installed, present, knowledge) == _base(installed)
    known = knowledge.extension(name, installed)
    return known is None or fits_torch(known, present.version) is not False


# --- PyTorch's own domain libraries ---


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


def _no_pair(
    name: str,
    version: str | None,
    release: TorchRelease,
    variant: Variant,
    machine: Machine,
    knowledge: Knowledge,
) -> str | None:
    """Why a domain library cannot go with that build; None where it can."""
    if version is None:
        return f"it was never published for torch {release.version}"
    if knowledge.wheels.admits(name, version, machine.target) is False:
        where = f"Python {machine.python} on {machine.os} {machine.arch}"
        return f"{version}, which goes with torch {release.version}, has no wheel for {where}"
    if _from_own_index(name, version, variant, knowledge) or not _other_cuda(
        name, version, variant, knowledge
    ):
        return None
    return f"{version} is not published for {variant.tag}"


def _on_its_index(
    name: str, version: str, release: TorchRelease, variant: Variant, knowledge: Knowledge
) -> bool:
    """Whether the index of the build has it: it came out with that torch, or is listed there."""
    if name not in PAIRED:
        return False
    pair = knowledge.companions(release.version)
    if pair and getattr(pair, name):
        return True
    return _from_own_index(name, version, variant, knowledge)


def _from_own_index(name: str, version: str, variant: Variant, knowledge: Knowledge) -> bool:
    builds = knowledge.index_builds(name, version)
    return builds is not None and variant.tag in builds.tags


# --- other packages with compiled code for torch, or for the CUDA that it brings ---


def extensions_known(knowledge: Knowledge) -> frozenset[str]:
    """The names of packages that extend torch, or are linked against the CUDA that it brings."""
    companions = knowledge.companions_file
    built = {one.name for one in companions.extensions}
    linked = {one.name for one in companions.links}
    return frozenset((built | linked).union(COMPILED_HERE).difference(PAIRED))


def _extension_version(
    name: str, machine: Machine, release: TorchRelease, variant: Variant, knowledge: Knowledge
) -> str | None:
    """The version to install; empty to keep what is there; None where none is known to fit."""
    installed = machine.installed[name]
    if name not in COMPILED_HERE and not knowledge.extensions(name):
        return _version_for_cuda(name, machine, variant, knowledge)
    if _stays(name, installed, machine, release, variant, knowledge):
        return ""
    fitting = [
        one
        for one in knowledge.extensions(name)
        if fits_torch(one, release.version)
        and _allows(one.requires_python, machine.python)
        and knowledge.wheels.admits(name, one.version, machine.target) is not False
        and not _other_cuda(name, one.version, variant, knowledge)
    ]
    return fitting[-1].version if fitting else None


def _version_for_cuda(
    name: str, machine: Machine, variant: Variant, knowledge: Knowledge
) -> str | None:
    """As `_extension_version`, for what is made for no torch (onnxruntime-gpu): it stays unless it
    takes the CUDA that torch brings now, and that goes."""
    links = knowledge.links(name, machine.installed[name])
    uses = links is not None and present_major(machine) in links.cuda_majors
    if not uses or not _other_cuda(name, machine.installed[name], variant, knowledge):
        return ""
    fitting = [
        version
        for version in knowledge.wheels.releases(name)
        if knowledge.wheels.admits(name, version, machine.target)
        and (known := knowledge.links(name, version))
        and _cuda_major(variant) in known.cuda_majors
    ]
    return fitting[-1] if fitting else None


def _stays(
    name: str,
    installed: str,
    machine: Machine,
    release: TorchRelease,
    variant: Variant,
    knowledge: Knowledge,
) -> bool:
    """Whether what is installed goes on working with that build, as far as is known."""
    if _other_cuda(name, installed, variant, knowledge):
        return False
    if name in COMPILED_HERE and present_major(machine) not in (None, _cuda_major(variant)):
        return False  # torch.utils.cpp_extension links what it compiles against libcudart.so.N
    known = knowledge.extension(name, installed)
    if _base(machine.torch) == release.version:
        return known is None or fits_torch(known, release.version) is not False
    if name in COMPILED_HERE:
        return _minor(machine.torch) == _minor(release.version)
    return known is not None and fits_torch(known, release.version) is not False


def fits_torch(extension: ExtensionRelease, torch: str) -> bool | None:
    """Whether an extension admits that torch, by its own requirement and by its project's table;
    None where neither says anything."""
    stated = [one for one in (extension.requires_torch, extension.pairs_with_torch) if one]
    if not stated:
        return None
    return all(Version(_base(torch) or "0") in SpecifierSet(one) for one in stated)


def _other_cuda(name: str, version: str, variant: Variant, knowledge: Knowledge) -> bool:
    """Whether PyPI's wheels of that release need the runtime of another CUDA major.

    A local version (`+cu126`) is not PyPI's, so that nothing is known of its links.
    """
    if "+" in version:
        return False
    links = knowledge.links(name, version)
    return bool(links and links.cuda_majors and _cuda_major(variant) not in links.cuda_majors)


def _no_fit(
    name: str, machine: Machine, release: TorchRelease, variant: Variant, knowledge: Knowledge
) -> str:
    installed = machine.installed[name]
    if name in COMPILED_HERE:
        return f"{installed} was compiled for another torch or CUDA: it has to be compiled again"
    if _other_cuda(name, installed, variant, knowledge):
        links = knowledge.links(name, installed)
        majors = ", ".join(links.cuda_majors) if links else ""
        wanted = _cuda_major(variant) or "none"
        return f"{installed} needs the runtime of CUDA {majors}, and that of this build is {wanted}"
    return f"no release for torch {release.version} is known"


def _allows(requires_python: str | None, python: str | None) -> bool:
    if requires_python is None or python is None:
        return True
    return Version(python) in SpecifierSet(requires_python)


def _base(version: str | None) -> str | None:
    parsed = parse_version(version)
    return parsed.public if parsed else None


def _minor(version: str | None) -> tuple[int, ...]:
    base = _base(version)
    return Version(base).release[:2] if base else ()


def present_major(machine: Machine) -> str | None:
    """The CUDA major of the torch that is installed; None where it has none, or none is."""
    match = re.fullmatch(r"cu(\d+)\d", machine.variant or "")
    return match[1] if match else None


def _cuda_major(variant: Variant) -> str | None:
    return variant.cuda.partition(".")[0] if variant.cuda else None


def _needs_numpy_1(
    machine: Machine, release: TorchRelease, knowledge: Knowledge, pins: dict[str, str]
) -> bool:
    """torchvision brings the newest numpy along, so it counts as wanting numpy 2."""
    if knowledge.fits_numpy_2(release.version, machine.os) is not False:
        return False
    numpy = parse_version(machine.installed.get("numpy"))
    if numpy is None:
        return "torchvision" in pins
    return numpy >= Version("2.0")
