"""What distributions require of each other, read from their metadata."""

from collections.abc import Iterable, Iterator, Mapping

from packaging.markers import UndefinedEnvironmentName, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envdoctor.api import Distribution, Distributions, Interpreter, parse_version

_MAX_DEPTH = 3
_EXTRA = "extra =="
BUILD_TOOLS = ("setuptools",)
"""What torch requires for those who build extensions with it (torch.utils.cpp_extension)."""


def markers_of(interpreter: Interpreter) -> dict[str, str]:
    """The marker environment of the target, which need not be the doctor's."""
    major, minor, _ = interpreter.version_info
    return {
        **{key: str(value) for key, value in default_environment().items()},
        "python_version": f"{major}.{minor}",
        "python_full_version": interpreter.version,
        "implementation_name": interpreter.implementation.lower(),
        "platform_python_implementation": interpreter.implementation,
        "platform_machine": interpreter.machine,
        "extra": "",
    }


def requirements_of(
    asker: Distribution,
    distributions: Distributions,
    markers: Mapping[str, str],
    extras: Iterable[str] = ("",),
    depth: int = 0,
) -> Iterator[tuple[Distribution, Requirement]]:
    """What a distribution requires in this environment, and what its extras bring."""
    extras = tuple(extras)
    for text in asker.requires:
        if extras == ("",) and _EXTRA in text:
            # Most lines of some distributions; to parse each takes a tenth of a millisecond.
            continue
        try:
            wanted = Requirement(text)
            applies = wanted.marker is None or any(
                wanted.marker.evaluate({**markers, "extra": extra}) for extra in extras
            )
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue
        if not applies or (depth and wanted.marker is None):
            continue
        yield asker, wanted
        nested = distributions.first(canonicalize_name(wanted.name))
        if wanted.extras and nested is not None and depth < _MAX_DEPTH:
            yield from requirements_of(nested, distributions, markers, wanted.extras, depth + 1)


def required_in_turn(
    name: str, distributions: Distributions, markers: Mapping[str, str]
) -> Iterator[tuple[Distribution, Requirement]]:
    """What the requirements of a distribution require in turn, and those: mpmath, by way of sympy.
    What it requires itself is not among them."""
    first = distributions.first(name)
    named = [name_in(line) for line in first.requires if _EXTRA not in line] if first else []
    waiting = [one for one in map(distributions.first, dict.fromkeys(named)) if one is not None]
    asked = {name, *named}
    while waiting:
        for by, wanted in requirements_of(waiting.pop(), distributions, markers):
            yield by, wanted
            wanted_name = canonicalize_name(wanted.name)
            found = distributions.first(wanted_name)
            if found is not None and wanted_name not in asked:
                asked.add(wanted_name)
                waiting.append(found)


def satisfies(found: Distribution, wanted: Requirement) -> bool:
    """Whether the installed version is one that is wanted."""
    version = parse_version(found.version)
    return version is None or wanted.specifier.contains(version, prereleases=True)


def name_in(requirement: str) -> str:
    """The normalised name at the beginning of a requirement, however odd the rest is."""
    for index, letter in enumerate(requirement):
        if not (letter.isalnum() or letter in "-_."):
            return canonicalize_name(requirement[:index])
    return canonicalize_name(requirement)


def needed_by_torch(distributions: Distributions) -> frozenset[str]:
    """Torch, what it requires, and what has to fit it."""
    torch = distributions.first("torch")
    required = {name_in(line) for line in torch.requires if _EXTRA not in line} if torch else set()
    companions = {"torch", "torchvision", "torchaudio", "torchtext", "torchcodec", "numpy"}
    nvidia = {one.name for one in distributions.items if one.name.startswith("nvidia-")}
    return frozenset(required | companions | nvidia | {"triton", "pytorch-triton"})
