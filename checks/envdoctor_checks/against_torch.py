"""What checks of companions have in common: how they read versions and quote them."""

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from envdoctor.api import Distribution, Distributions, Evidence, TorchBuild

BUILT_FOR = "{package} {version} was made for torch {wanted}, but torch {torch} is installed"
"""The message of every companion of another torch."""


def stated_requirement(item: Distribution) -> SpecifierSet | None:
    """The torch that a distribution requires by its own metadata, if it bounds it."""
    for text in item.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.name == "torch" and requirement.specifier:
            return requirement.specifier
    return None


def has_its_own_torch(item: Distribution, distributions: Distributions) -> bool:
    """Whether another torch than the one in use lies beside it: then that torch is hidden."""
    torches = distributions.named("torch")
    return any(one.location == item.location for one in torches[1:])


def is_of_another_release(listed: str, build: TorchBuild | None) -> bool:
    """Whether torch's own files say another release than its metadata lists."""
    version = build.version if build else None
    return version is not None and base_of(version) != base_of(listed)


def installed(item: Distribution) -> Evidence:
    """The installed version, as evidence."""
    return Evidence(label=item.name, value=item.version, source=item.metadata_path)


def of_torch(build: TorchBuild) -> Evidence:
    """The version of torch, as evidence."""
    return Evidence(label="torch", value=build.version or "unknown", source=build.version_source)


def base_of(version: str) -> str:
    """The version without its local part."""
    return version.partition("+")[0]


def major_of(version: str) -> str:
    """The first number of a version."""
    return version.partition(".")[0]
