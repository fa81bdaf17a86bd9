"""What a wheel requires on one machine, as its METADATA says."""

import re
from collections.abc import Iterable, Iterator

from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement

from envdoctor.knowledge.remote import Metadata, files_of, metadata_of

_GPU = re.compile(r"^(nvidia-|cuda-|triton$)")
_TOOLKIT = "cuda-toolkit"


def requirements_on(
    requires: Iterable[str], machine: str = "x86_64", extra: str = ""
) -> Iterator[Requirement]:
    """Those of the requirements that count on Linux on that machine, for that extra."""
    environment = {
        "extra": extra,
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": machine,
        "python_version": "3.11",
        "python_full_version": "3.11.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement


def gpu_requirements(requires: Iterable[str], machine: str) -> Iterator[tuple[str, str]]:
    """The requirements on nvidia wheels and triton on Linux on that machine: name, specifier."""
    for requirement in requirements_on(requires, machine):
        if _GPU.match(requirement.name):
            yield requirement.name, str(requirement.specifier)


def requirement_on_torch(metadata: Metadata) -> str | None:
    """What a companion requires of torch; None where it states nothing."""
    found = (one for one in requirements_on(metadata.requires) if one.name.lower() == "torch")
    return next((str(one.specifier) for one in found if one.specifier), None)


def by_toolkit(names: Iterable[str]) -> bool:
    """From torch 2.11 on most nvidia wheels come through the metapackage cuda-toolkit."""
    return _TOOLKIT in set(names)


def with_toolkit(metadata: Metadata, machine: str, index: str) -> Metadata:
    """The requirements with those that the metapackage brings for the extras that are asked for.
    Raises what `files_of` and `metadata_of` raise."""
    required = requirements_on(metadata.requires, machine)
    asked = next((one for one in required if one.name == _TOOLKIT and one.extras), None)
    if asked is None:
        return metadata
    wheels = [file for file in files_of(_TOOLKIT, index) if file.filename.endswith(".whl")]
    file = next(one for one in wheels if one.filename.split("-")[1] in asked.specifier)
    brought = {
        f"{one.name}{one.specifier}"
        for extra in asked.extras
        for one in requirements_on(metadata_of(file).requires, machine, extra)
    }
    return replace(metadata, requires=(*metadata.requires, *sorted(brought)))
