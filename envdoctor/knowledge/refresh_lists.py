"""File lists of the package index against those of the knowledge."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.version import Version

from envdoctor.knowledge.base import Knowledge
from envdoctor.knowledge.remote import RemoteFile
from envdoctor.knowledge.wheels import SOURCE_ONLY
from envdoctor.record import Record
from envdoctor.versions import parse_version

_WHEEL = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-\d[^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-"
    r"(?P<platform>[^-]+)\.whl"
)
_SOURCE = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.(?:tar\.gz|zip)")

FileList = Mapping[str, Mapping[str, str]]
"""For each release its platform tags with their Python tags, as in wheels.json."""


class Difference(Record):
    """One fact on which index and knowledge differ; `subject` is a project and its release."""

    subject: str
    fact: str
    index: str
    knowledge: str


def listed(files: Iterable[RemoteFile]) -> dict[str, dict[str, str]]:
    """The stable releases in a list of files, oldest first; yanked files are left out."""
    wheels: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    sources: set[str] = set()
    for file in files:
        if file.yanked:
            continue
        match = _WHEEL.fullmatch(file.filename)
        source = None if match else _SOURCE.fullmatch(file.filename)
        found = match or source
        if found is None or not is_stable(found["version"]):
            continue
        if match is None:
            sources.add(found["version"])
        else:
            wheels[match["version"]][match["platform"]].add(_tag(match["python"], match["abi"]))
    rows: dict[str, dict[str, str]] = {
        version: {
            platform: " ".join(sorted(tags, key=_place)) for platform, tags in sorted(of.items())
        }
        for version, of in wheels.items()
    }
    rows.update({version: {SOURCE_ONLY: ""} for version in sources - set(rows)})
    return dict(sorted(rows.items(), key=lambda row: Version(row[0])))


def is_stable(version: str) -> bool:
    """Whether that is a release, and neither a candidate nor a local version."""
    parsed = parse_version(version)
    return parsed is not None and not parsed.is_prerelease and not parsed.local


def _tag(python: str, abi: str) -> str:
    if abi == "none":
        if python in ("py3", "py2.py3"):
            return "py3"
        return python if python.startswith("cp") else f"{python}-none"
    if abi == "abi3":
        return f"{python}-abi3"
    return abi if abi == f"{python}t" else python


def _place(tag: str) -> tuple[bool, int, str]:
    match = re.match(r"\D+3?(\d*)", tag)
    return tag.startswith("py"), int(match[1] or 0) if match else 0, tag


def since_the_first(project: str, found: FileList, knowledge: Knowledge) -> FileList:
    """The releases from the oldest on that the knowledge has of a project."""
    known = _known(project, knowledge)
    first = min(map(Version, known), default=Version("0"))
    return {version: files for version, files in found.items() if Version(version) >= first}


def _known(project: str, knowledge: Knowledge) -> FileList:
    return next((one.releases for one in knowledge.wheels_file.projects if one.name == project), {})


def list_differences(project: str, found: FileList, knowledge: Knowledge) -> Iterator[Difference]:
    """Releases of one side only, and wheels of one side only: platforms, macOS floors, Pythons."""
    known = _known(project, knowledge)
    recent = since_the_first(project, found, knowledge)
    for version in sorted({*known, *recent}, key=Version):
        name = f"{project} {version}"
        if version not in known:
            yield Difference(
                subject=name, fact="release", index="published", knowledge="not in the data"
            )
        elif version not in recent:
            yield Difference(subject=name, fact="release", index="not there", knowledge="published")
        else:
            yield from _platforms(name, recent[version], known[version])


def _platforms(
    name: str, found: Mapping[str, str], known: Mapping[str, str]
) -> Iterator[Difference]:
    for platform in sorted({*found, *known}):
        index, ours = found.get(platform), known.get(platform)
        if index == ours:
            continue
        yield Difference(
            subject=name,
            fact=f"wheels for {platform}",
            index=index if index is not None else "none",
            knowledge=ours if ours is not None else "none",
        )


def newest(found: FileList) -> str | None:
    """The newest release of a list."""
    return max(found, key=Version, default=None)


def wheel_for(
    version: str, machine: str, files: Sequence[RemoteFile], pythons: Sequence[str] = ()
) -> RemoteFile | None:
    """The Linux wheel of a release for a machine; of the first of the Python tags that it has."""
    fitting = {}
    for file in files:
        match = _WHEEL.fullmatch(file.filename)
        if (
            match
            and match["version"] == version
            and re.search(rf"manylinux\w*_{machine}", match["platform"])
        ):
            fitting[match["python"]] = file
    preferred = [fitting[tag] for tag in pythons if tag in fitting]
    return next(iter([*preferred, *fitting.values()]), None)
