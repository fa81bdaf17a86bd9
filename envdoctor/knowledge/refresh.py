"""Shows what the package index says and the knowledge does not: `python -m
envdoctor.knowledge.refresh`.

It changes nothing: a difference is for a person to look at, with its source, before it goes into
the data.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envdoctor.knowledge import Knowledge, TorchRelease, load
from envdoctor.knowledge.remote import (
    Metadata,
    RemoteFile,
    configured_index,
    files_of,
    metadata_of,
)
from envdoctor.record import Record

_WHEEL = re.compile(r"torch-(?P<version>[^-]+)-(?P<python>cp\d+)-\w+-(?P<platform>.+)\.whl")
_LINUX = re.compile(r"manylinux\w*_x86_64")
_PREFERRED = ("cp311", "cp310", "cp39")
_GPU = re.compile(r"^(nvidia-|cuda-|triton$)")


class Difference(Record):
    """One fact on which index and knowledge differ."""

    torch: str
    fact: str
    index: str
    knowledge: str


def differences(
    release: TorchRelease, metadata: Metadata, knowledge: Knowledge
) -> Iterator[Difference]:
    """How the pins of a wheel differ from those of the release in the data."""
    variant = knowledge.variant(release.version, release.pypi_variant)
    known = variant.requires if variant else {}
    found = dict(gpu_requirements(metadata.requires))
    direct = {name: pin for name, pin in known.items() if name in found or not _by_toolkit(found)}
    for name in sorted({*found, *direct}):
        ours, theirs = direct.get(name), found.get(name)
        if _same(ours, theirs):
            continue
        yield Difference(
            torch=release.version,
            fact=f"requires {name}",
            index=theirs or "not required",
            knowledge=ours or "not in the data",
        )


def _by_toolkit(requirements: Iterable[str]) -> bool:
    """From torch 2.11 on most nvidia wheels come through the metapackage cuda-toolkit."""
    return "cuda-toolkit" in set(requirements)


def _same(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one == other
    return SpecifierSet(one) == SpecifierSet(other)


def gpu_requirements(requires: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The unconditional or Linux requirements on nvidia wheels and triton: name, specifier."""
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if not _GPU.match(requirement.name) or "extra ==" in text:
            continue
        yield requirement.name, str(requirement.specifier)


def wheel_of(version: str, files: Iterable[RemoteFile]) -> RemoteFile | None:
    """The Linux x86_64 wheel of a release that is read for it."""
    fitting: dict[str, RemoteFile] = {}
    for file in files:
        match = _WHEEL.fullmatch(file.filename)
        if match and match["version"] == version and _LINUX.search(match["platform"]):
            fitting.setdefault(match["python"], file)
    preferred = [fitting[tag] for tag in _PREFERRED if tag in fitting]
    return next(iter([*preferred, *fitting.values()]), None)


def about_the_list(files: Sequence[RemoteFile], knowledge: Knowledge) -> Iterator[Difference]:
    """Stable releases of one side only, and Python versions that differ."""
    published: dict[str, set[str]] = {}
    for file in files:
        match = _WHEEL.fullmatch(file.filename)
        if match and _is_stable(match["version"]) and not file.yanked:
            published.setdefault(match["version"], set()).add(_dotted(match["python"]))
    oldest = Version(knowledge.releases[0].version)
    for version in sorted(published, key=Version):
        release = knowledge.release(version)
        if release is None and Version(version) > oldest:
            yield Difference(
                torch=version, fact="release", index="published", knowledge="not in the data"
            )
        elif release is not None and published[version] != set(_pythons_of(version, knowledge)):
            yield Difference(
                torch=version,
                fact="Python versions",
                index=" ".join(sorted(published[version], key=Version)),
                knowledge=" ".join(_pythons_of(version, knowledge)),
            )
    for release in knowledge.releases:
        if release.version not in published:
            yield Difference(
                torch=release.version, fact="release", index="not there", knowledge="published"
            )


def _pythons_of(version: str, knowledge: Knowledge) -> set[str]:
    files = knowledge.wheels.files("torch", version) or {}
    tags = {tag.rstrip("t") for names in files.values() for tag in names.split()}
    return {_dotted(tag) for tag in tags}


def _is_stable(version: str) -> bool:
    try:
        parsed = Version(version)
    except InvalidVersion:
        return False
    return not parsed.is_prerelease and not parsed.local


def _dotted(tag: str) -> str:
    return f"{tag[2]}.{tag[3:]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the differences; 0 where there are none, 1 where there are, 2 if the index fails."""
    options = _options(arguments)
    knowledge = load()
    index = options.index or configured_index()
    try:
        files = files_of("torch", index)
    except (OSError, ValueError) as error:
        print(f"refresh: {error}", file=sys.stderr)
        return 2
    found = list(about_the_list(files, knowledge))
    for version in options.torch or [knowledge.newest_torch]:
        found += _of_wheel(version, files, knowledge)
    for one in found:
        print(f"{one.torch}: {one.fact}: index {one.index}; knowledge {one.knowledge}")
    print(f"{len(found)} differences from the knowledge of {knowledge.as_of}")
    return 1 if found else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m envdoctor.knowledge.refresh")
    parser.add_argument("torch", nargs="*", help="releases whose wheels are read; the newest")
    parser.add_argument("--index", help="a simple index; the configured one")
    return parser.parse_args(arguments)


def _of_wheel(version: str, files: Sequence[RemoteFile], knowledge: Knowledge) -> list[Difference]:
    release = knowledge.release(version)
    file = wheel_of(version, files)
    if release is None or file is None:
        print(f"{version}: no wheel for Linux x86_64 to compare", file=sys.stderr)
        return []
    metadata = metadata_of(file)
    print(f"{file.filename}: {metadata.bytes_read} bytes read ({metadata.by})", file=sys.stderr)
    return list(differences(release, metadata, knowledge))


if __name__ == "__main__":
    sys.exit(main())
