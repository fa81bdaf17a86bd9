"""The installed packages of two sides: those beside torch one by one, the others in sum."""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from envdoctor.companions import LIBRARIES
from envdoctor.compare.pair import Examined, Found, Pair, Swap
from envdoctor.compare.records import Difference, Weight
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.machine import Host
from envdoctor.facts.python import Distribution, Distributions, InstalledFiles
from envdoctor.findings import Layer
from envdoctor.versions import parse_version

_COMPANIONS = {name for one in LIBRARIES for name in one.distributions} | {"numpy"}
_OF_CUDA = re.compile(r"nvidia-.*-cu\d+$|cuda-|pytorch-triton|triton(?!\w)|rocm")
"""Beside the wheels of CUDA that are in the catalogue of libraries. Not all that NVIDIA publishes
is one (`nvidia-ml-py`, `nvidia-pytriton`), nor all of triton (`tritonclient` is another's)."""

_BACKENDS = re.compile(
    r"(torch-(xla|npu|neuronx?|directml)|intel-extension-for-pytorch|habana-torch-plugin)$"
)
"""What brings torch to other devices; `import torch` loads such packages by itself from 2.5 on
(docs.pytorch.org, Autoloading Out-of-Tree Extension)."""
_LISTED_EVER = re.compile(r"torch|numpy|triton")
"""What every collect_env lists where it is installed: names that hold one of these words."""


_COMPILED_FOR = re.compile(r"\+.*(cu\d{2}|torch\d|pt\d)")
"""Local versions as of flashinfer 0.1.6+cu121torch2.4 and torch-scatter 2.1.2+pt24cu121."""

_COMPILED = re.compile(r"(torch-(tensorrt|scatter|sparse|cluster|spline-conv)|pyg-lib)$")
"""Extensions of torch that need not say so in their version."""


def differences(pair: Pair) -> Iterator[Found]:
    """Packages of other versions, and packages that one side alone has; torch itself is told as a
    build."""
    both = pair.both(Distributions)
    if both is None:
        return
    first, second = (_versions(one) for one in both)
    asked = _requirements(pair.first), _requirements(pair.second)
    another_torch = first.get("torch") != second.get("torch") or _cudas_differ(pair)
    for name in sorted({*first, *second} - {"torch"}):
        versions = first.get(name), second.get(name)
        if versions[0] == versions[1] or _may_be_unlisted(pair, name, first, second):
            continue
        sides = zip((pair.first, pair.second), asked, versions, strict=True)
        follows = another_torch and all(_goes_with(pair, name, *side) for side in sides)
        missing = any(
            version is None and name in requires
            for version, requires in zip(versions, asked, strict=True)
        )
        beside = name in {*asked[0], *asked[1], *_COMPANIONS} or _is_beside_torch(
            pair, name, versions
        )
        yield _package(pair, name, versions, beside=beside, follows=follows, missing=missing)
    yield from _damaged(pair)


_EDITABLE, _AND = " (editable)", " and "


def _versions(distributions: Distributions) -> dict[str, str]:
    """The versions by name; of one that is there twice, both, as an import finds them."""
    found: dict[str, list[str]] = {}
    for one in distributions.items:
        words = one.version + (_EDITABLE if one.editable else "")
        found.setdefault(one.name, []).append(words)
    return {name: _AND.join(dict.fromkeys(versions)) for name, versions in found.items()}


def plain_versions(version: str) -> list[str]:
    """The versions in such words, each as it is."""
    return [one.removesuffix(_EDITABLE) for one in version.split(_AND)]


def _is_of_cuda(pair: Pair, name: str) -> bool:
    """Whether it is a wheel of CUDA's libraries or compilers, or of what takes their place."""
    catalogue = pair.knowledge.libraries.records
    return bool(_OF_CUDA.match(name)) or any(one.is_package(name) for one in catalogue)


def _is_beside_torch(pair: Pair, name: str, versions: Iterable[str | None]) -> bool:
    """Whether it works with torch's own parts: CUDA's libraries, other devices, and what says in
    its version for which torch or CUDA it was compiled."""
    told = any(_COMPILED_FOR.search(version) for version in versions if version)
    return (
        told
        or bool(_COMPILED.match(name))
        or _is_of_cuda(pair, name)
        or bool(_BACKENDS.match(name))
    )


def _requirements(side: Examined) -> dict[str, SpecifierSet]:
    """What torch requires on that machine, by name."""
    distributions = side.value(Distributions)
    torch = distributions.first("torch") if distributions else None
    environment = _environment(side)
    found: dict[str, SpecifierSet] = {}
    for text in torch.requires if torch else ():
        try:
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate(environment)
        except (InvalidRequirement, UndefinedEnvironmentName, ValueError):
            continue
        if applies:
            found[canonicalize_name(requirement.name)] = requirement.specifier
    return found


def _environment(side: Examined) -> dict[str, str]:
    """What the markers of requirements ask for (PEP 508), on that side and not here."""
    host, python = side.value(Host), side.report.stack.python or "3.11.0"
    return {
        "extra": "",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": (host.machine if host else None) or "x86_64",
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
    }


def _cudas_differ(pair: Pair) -> bool:
    first, second = (side.report.stack.torch_cuda for side in (pair.first, pair.second))
    return first != second


def _may_be_unlisted(
    pair: Pair, name: str, first: Mapping[str, str], second: Mapping[str, str]
) -> bool:
    """Whether the side that lacks it is a text that would perhaps not list it."""
    for partial, listed in zip(pair.is_partial, (first, second), strict=True):
        if not partial or name in listed or _LISTED_EVER.search(name):
            continue
        # From torch 2.6 on NVIDIA's wheels are listed.
        if not (name.startswith("nvidia-") and any(one.startswith("nvidia-c") for one in listed)):
            return True
    return False


def _goes_with(
    pair: Pair,
    name: str,
    side: Examined,
    asked: Mapping[str, SpecifierSet],
    version: str | None,
) -> bool:
    """Whether that version of a package, or its absence, is what the torch of that side asks for,
    or what was published with it."""
    if name in asked:
        return version is not None and all(
            parsed is not None and asked[name].contains(parsed, prereleases=True)
            for parsed in map(parse_version, plain_versions(version))
        )
    if version is None:
        return True
    if _is_of_cuda(pair, name) and _is_brought(name, asked):
        return True
    return _was_published_with(pair, name, version, side.report.stack.torch_version)


def _is_brought(name: str, asked: Mapping[str, SpecifierSet]) -> bool:
    """Whether that wheel of CUDA comes with a torch that does not name it: a text does not tell
    what torch requires, and a build with CUDA 13 requires `cuda-toolkit`, which brings them."""
    return not asked or ("cuda-toolkit" in asked and not re.search(r"-cu\d+$", name))


def _was_published_with(pair: Pair, name: str, version: str, torch: str | None) -> bool:
    """Whether that version pairs with that torch: the nightly of a day with that of the same day,
    and what was built from source with the releases whose sources they are."""
    own, others = parse_version(version), parse_version(torch)
    if own is None or others is None:
        return False
    if own.dev is not None and own.dev == others.dev:
        return True
    known = pair.knowledge.companions(others.base_version)
    if known is None:
        return False
    pairs = {
        "torchvision": known.torchvision,
        "torchaudio": known.torchaudio,
        "torchtext": known.torchtext,
        "triton": known.triton,
    }
    return own.base_version in pairs.get(name, ())


def _package(
    pair: Pair,
    name: str,
    versions: tuple[str | None, str | None],
    *,
    beside: bool,
    follows: bool,
    missing: bool,
) -> Found:
    first, second = versions
    if first is None or second is None:
        sentence = f"{name} {first or second} {pair.only(first is not None, 'is installed')}"
    else:
        sentence = f"{name} {pair.each(first, second)}"
    weight: Weight = "stops" if missing else "matters" if beside else "little"
    return Found(
        difference=Difference(
            part="packages",
            name=name,
            sentence=sentence,
            first=first,
            second=second,
            weight="little" if follows else weight,
            layer=Layer.FILES,
            can_break=("import:torch", f"import:{name}") if beside else (),
            follows="torch" if follows else "",
        ),
        swap=swap_package(name),
        words=(name,) if beside else (),
    )


def swap_package(name: str) -> Swap:
    """Takes the distributions of that name from the other side, in the place of the own ones."""

    def swap(patient: Snapshot, donor: Snapshot) -> Snapshot:
        own, other = patient.get(Distributions), donor.value(Distributions)
        if not isinstance(own, Observed) or other is None:
            return patient
        items = list(own.value.items)
        place = next((i for i, one in enumerate(items) if one.name == name), len(items))
        rest = [one for one in items if one.name != name]
        items = [*rest[:place], *_moved(other.named(name), own.value), *rest[place:]]
        value = msgspec.structs.replace(own.value, items=tuple(items))
        return patient.with_facts({Distributions: msgspec.structs.replace(own, value=value)})

    return swap


def _moved(items: tuple[Distribution, ...], to: Distributions) -> Iterator[Distribution]:
    """The distributions as if they lay where those of the patient do."""
    home = next((one.location for one in to.items), "")
    for one in items:
        yield msgspec.structs.replace(one, location=home)


def _damaged(pair: Pair) -> Iterator[Found]:
    """Files that differ from what was installed."""
    both = pair.both(InstalledFiles)
    if both is None:
        return
    counts = [{one.name: one.damaged_count for one in files.damaged} for files in both]
    for name in sorted({*counts[0], *counts[1]}):
        first, second = (one.get(name, 0) for one in counts)
        if first == second:
            continue
        files = [
            file.path
            for one in both
            for bad in one.damaged
            if bad.name == name
            for file in bad.files
        ]
        yield Found(
            difference=Difference(
                part="files",
                name=f"files of {name}",
                sentence=f"damaged or missing files of {name}: "
                f"{pair.each(str(first or 'none'), str(second or 'none'))}",
                first=str(first),
                second=str(second),
                weight="stops",
                layer=Layer.FILES,
                can_break=tuple(dict.fromkeys(("import:torch", f"import:{name}"))),
            ),
            swap=swap_damage(name),
            words=(*files[:3], *(file.rpartition("/")[2] for file in files[:3])),
        )


def swap_damage(name: str) -> Swap:
    """Takes the damage of one distribution from the other side."""

    def swap(patient: Snapshot, donor: Snapshot) -> Snapshot:
        own, other = patient.get(InstalledFiles), donor.value(InstalledFiles)
        if not isinstance(own, Observed) or other is None:
            return patient
        rest = [one for one in own.value.damaged if one.name != name]
        theirs = [one for one in other.damaged if one.name == name]
        value = msgspec.structs.replace(own.value, damaged=(*rest, *theirs))
        return patient.with_facts({InstalledFiles: msgspec.structs.replace(own, value=value)})

    return swap
