"""The installed packages of two sides: those beside torch one by one, the others in sum."""

import re
from collections.abc import Iterator, Mapping

import msgspec

from envdoctor.companions import LIBRARIES
from envdoctor.compare.pair import Examined, Found, Pair, Swap
from envdoctor.compare.records import Difference, Weight
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.python import Distribution, Distributions, InstalledFiles
from envdoctor.findings import Layer
from envdoctor.knowledge import Companions

_COMPANIONS = {name for one in LIBRARIES for name in one.distributions} | {"numpy"}
_OF_CUDA = re.compile(r"nvidia-(?!ml-py)|cuda-|pytorch-triton|triton|rocm")
_LISTED_EVER = {"torch", "numpy", "torchvision", "torchaudio", "triton"}
"""What every collect_env lists where it is installed."""


def differences(pair: Pair) -> Iterator[Found]:
    """Packages of other versions, and packages that one side alone has; torch itself is told as a
    build."""
    both = pair.both(Distributions)
    if both is None:
        return
    first, second = (_versions(one) for one in both)
    needed = {name for one in both for name in _requirements(one)}
    another_torch = first.get("torch") != second.get("torch") or _cudas_differ(pair)
    for name in sorted({*first, *second} - {"torch"}):
        versions = first.get(name), second.get(name)
        if versions[0] == versions[1] or _may_be_unlisted(pair, name, first, second):
            continue
        beside = name in needed or name in _COMPANIONS or bool(_OF_CUDA.match(name))
        follows = another_torch and _follows(pair, name, versions)
        yield _package(pair, name, versions, beside=beside, follows=follows, needed=name in needed)
    yield from _damaged(pair)


def _versions(distributions: Distributions) -> dict[str, str]:
    """The versions by name; of one that is there twice, both, as an import finds them."""
    found: dict[str, list[str]] = {}
    for one in distributions.items:
        words = f"{one.version} (editable)" if one.editable else one.version
        found.setdefault(one.name, []).append(words)
    return {name: " and ".join(dict.fromkeys(versions)) for name, versions in found.items()}


def _requirements(distributions: Distributions) -> Iterator[str]:
    """What torch requires, by name."""
    torch = distributions.first("torch")
    for requirement in torch.requires if torch else ():
        match = re.match(r"[A-Za-z0-9][\w.-]*", requirement)
        if match and "extra ==" not in requirement:
            yield re.sub(r"[-_.]+", "-", match[0]).lower()


def _cudas_differ(pair: Pair) -> bool:
    first, second = (side.report.stack.torch_cuda for side in (pair.first, pair.second))
    return first != second


def _may_be_unlisted(
    pair: Pair, name: str, first: Mapping[str, str], second: Mapping[str, str]
) -> bool:
    """Whether the side that lacks it is a text that would perhaps not list it."""
    for partial, listed in zip(pair.is_partial, (first, second), strict=True):
        if not partial or name in listed or name in _LISTED_EVER:
            continue
        # From torch 2.6 on NVIDIA's wheels are listed.
        if not (name.startswith("nvidia-") and any(one.startswith("nvidia-c") for one in listed)):
            return True
    return False


def _follows(pair: Pair, name: str, versions: tuple[str | None, str | None]) -> bool:
    """Whether each side has what its own torch asks for: CUDA's wheels, triton, and the companions
    that were published with it."""
    sides = (pair.first, pair.second)
    asked = [_asked(pair, side, name) for side in sides]
    return any(asked) and all(
        version is None or wanted is None or version.partition("+")[0] in wanted
        for version, wanted in zip(versions, asked, strict=True)
    )


def _asked(pair: Pair, side: Examined, name: str) -> tuple[str, ...] | None:
    """The versions that go with the torch of a side; null where none does, or nobody knows."""
    distributions = side.value(Distributions)
    torch = distributions.first("torch") if distributions else None
    for requirement in torch.requires if torch else ():
        match = re.match(rf"{re.escape(name)}\s*==\s*([\w.]+)", requirement)
        if match:
            return (match[1],)
    own = distributions.first(name) if distributions else None
    if _OF_CUDA.match(name) and own is not None and not (torch and torch.requires):
        # A text does not tell what torch requires.
        return (own.version.partition("+")[0],)
    known = pair.knowledge.companions(torch.version) if torch else None
    return _published_with(known, name) if known else None


def _published_with(known: Companions, name: str) -> tuple[str, ...] | None:
    pairs = {
        "torchvision": known.torchvision,
        "torchaudio": known.torchaudio,
        "torchtext": known.torchtext,
        "triton": known.triton,
    }
    return pairs.get(name) or None


def _package(
    pair: Pair,
    name: str,
    versions: tuple[str | None, str | None],
    *,
    beside: bool,
    follows: bool,
    needed: bool,
) -> Found:
    first, second = versions
    if first is None or second is None:
        sentence = f"{name} {first or second} {pair.only(first is not None, 'is installed')}"
    else:
        sentence = f"{name} {pair.each(first, second)}"
    missing = needed and None in versions
    weight: Weight = "stops" if missing and not follows else "matters" if beside else "little"
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
                can_break=("import:torch", f"import:{name}"),
            ),
            swap=swap_fields_of(name),
            words=(f"files of {name}", *files[:3]),
        )


def swap_fields_of(name: str) -> Swap:
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
