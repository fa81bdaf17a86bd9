"""Shows what the package index says and the knowledge does not: `python -m
envdoctor.knowledge.refresh`.

Compared are the file lists of torch and its companions (releases, platforms, macOS floors, Python
tags) and, of the newest or the named releases of torch, the pins and the compiled GPU targets of
the wheels for Linux x86_64 and aarch64, and what their companions require. `--write` puts all of
that into the JSON files, for a person to review: a build that is on PyTorch's own index alone, or
a fact that no wheel states, still has to be added by hand.

Exit codes: 0 no differences, 1 differences, 2 the refresh itself failed somewhere (said on stderr),
whatever else it found.
"""

import argparse
import datetime
import re
import sys
import traceback
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.knowledge import Knowledge, Variant, load
from envdoctor.knowledge.refresh_lists import (
    Difference,
    FileList,
    list_differences,
    listed,
    newest,
    since_the_first,
    wheel_for,
)
from envdoctor.knowledge.refresh_requirements import (
    by_toolkit,
    gpu_requirements,
    requirement_on_torch,
    with_toolkit,
)
from envdoctor.knowledge.refresh_write import Found, FoundBuild, write
from envdoctor.knowledge.remote import (
    Metadata,
    RemoteFile,
    TooMuch,
    configured_index,
    files_of,
    member_of,
    metadata_of,
)

_PREFERRED = ("cp311", "cp312", "cp310", "cp39")
MACHINES = ("x86_64", "aarch64")
_FAILURES = (OSError, ValueError, KeyError, TooMuch, zipfile.BadZipFile)
_CONFIG = "torch/include/ATen/cuda/CUDAConfig.h"
_TARGET = re.compile(r"arch=compute_\d+[af]?,code=(\w+)")
_ABSENT = "not in the data"
_PAIRED = ("torchvision", "torchaudio", "torchtext")


def differences(known: Variant | None, metadata: Metadata, subject: str) -> Iterator[Difference]:
    """How the pins of a wheel differ from those of the build in the data."""
    pins = known.requires if known else {}
    found = dict(gpu_requirements(metadata.requires, known.machine if known else MACHINES[0]))
    direct = {name: pin for name, pin in pins.items() if name in found or not by_toolkit(found)}
    for name in sorted({*found, *direct}):
        ours, theirs = direct.get(name), found.get(name)
        if _same(ours, theirs):
            continue
        yield Difference(
            subject=subject,
            fact=f"requires {name}",
            index=theirs or "not required",
            knowledge=ours or _ABSENT,
        )


def _same(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one == other
    return SpecifierSet(one) == SpecifierSet(other)


def targets_in(config: str) -> tuple[str, ...]:
    """The compiled GPU targets that CUDAConfig.h of a wheel states (NVCC_FLAGS_EXTRA)."""
    line = next((one for one in config.splitlines() if "NVCC_FLAGS_EXTRA" in one), "")
    return tuple(dict.fromkeys(_TARGET.findall(line)))


class Refresh:
    """One look at an index. `failures` are what could not be looked at."""

    def __init__(self, knowledge: Knowledge, index: str) -> None:
        self.knowledge = knowledge
        self.index = index
        self.failures: list[str] = []
        self.files: dict[str, tuple[RemoteFile, ...]] = {}
        self.lists: dict[str, FileList] = {}
        self.found = Found()

    def lists_differ(self) -> Iterator[Difference]:
        """The file lists of every project in the data."""
        for project in self.knowledge.wheels_file.projects:
            try:
                files = files_of(project.name, self.index)
            except _FAILURES as error:
                self.failures.append(f"{project.name}: {error}")
                continue
            self.files[project.name] = files
            self.lists[project.name] = since_the_first(project.name, listed(files), self.knowledge)
            yield from list_differences(project.name, self.lists[project.name], self.knowledge)

    def wheels_differ(self, versions: Sequence[str]) -> Iterator[Difference]:
        """The pins and GPU targets of torch's wheels for these releases."""
        for version in versions:
            for machine in MACHINES:
                yield from self._wheel_differs(version, machine)

    def _wheel_differs(self, version: str, machine: str) -> Iterator[Difference]:
        file = wheel_for(version, machine, self.files.get("torch", ()), _PREFERRED)
        if file is None:
            return
        subject = f"torch {version} ({machine})"
        try:
            metadata = with_toolkit(metadata_of(file), machine, self.index)
            targets = self._targets(file, metadata, machine)
        except _FAILURES as error:
            self.failures.append(f"{file.filename}: {error}")
            return
        _say(f"{file.filename}: {metadata.bytes_read} bytes read ({metadata.by})")
        build = FoundBuild(
            version=version, machine=machine, file=file, metadata=metadata, targets=targets
        )
        self.found.builds.append(build)
        release = self.knowledge.release(version)
        tag = None
        if release is not None:
            arm = machine == "aarch64"
            tag = release.pypi_variant_aarch64 if arm else release.pypi_variant
        known = self.knowledge.variant(version, tag or "", machine)
        yield from differences(known, metadata, subject)
        flags = known.arch_flags if known else None
        if targets and targets != flags:
            yield Difference(
                subject=subject,
                fact="GPU targets",
                index=" ".join(targets),
                knowledge=" ".join(flags or ()) or _ABSENT,
            )

    def _targets(self, file: RemoteFile, metadata: Metadata, machine: str) -> tuple[str, ...]:
        """Of builds with CUDA alone: the others have no such file."""
        pins = dict(gpu_requirements(metadata.requires, machine))
        if not any(name.startswith(("nvidia-", "cuda-")) for name in pins):
            return ()
        body, read = member_of(file, _CONFIG)
        _say(f"{file.filename}: {read} bytes read for its GPU targets")
        return targets_in(body.decode("utf-8", "replace"))

    def companions_differ(self) -> Iterator[Difference]:
        """What the newest release of each companion requires of torch."""
        for project, releases in self.lists.items():
            version = newest(releases)
            if project in ("torch", "triton") or version is None:
                continue
            file = wheel_for(version, "x86_64", self.files[project], _PREFERRED)
            if file is None:
                continue
            try:
                metadata = metadata_of(file)
            except _FAILURES as error:
                self.failures.append(f"{file.filename}: {error}")
                continue
            self.found.companions[project] = (version, file, metadata)
            yield from self._companion(project, version, metadata)

    def _companion(self, project: str, version: str, metadata: Metadata) -> Iterator[Difference]:
        stated = requirement_on_torch(metadata) or ""
        ours = self._required(project, version)
        if ours == _ABSENT:
            yield Difference(
                subject=f"{project} {version}",
                fact="requires torch",
                index=stated or "any",
                knowledge=ours,
            )
            return
        if project in _PAIRED and not stated.startswith("==") and (ours or "").startswith("=="):
            return  # it admits more than the torch that it was made for: no fact on pairing
        if ours is not None and not _same(ours, stated):
            yield Difference(
                subject=f"{project} {version}",
                fact="requires torch",
                index=stated or "any",
                knowledge=ours or "any",
            )

    def _required(self, project: str, version: str) -> str | None:
        """What the data says that it requires, or _ABSENT; None where the data need not know it."""
        if project in _PAIRED:
            for pair in self.knowledge.companions_file.pairs:
                if version in getattr(pair, project):
                    return pair.admits.get(project, f"=={pair.torch}")
            return None
        known = self.knowledge.extension(project, version)
        if known is not None:
            return known.requires_torch or ""
        return _ABSENT if self.knowledge.extensions(project) else None


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the differences, and write them if asked to. A fault of its own ends with 2."""
    try:
        return _refresh(arguments)
    except Exception:
        traceback.print_exc()
        return 2


def _refresh(arguments: Sequence[str] | None) -> int:
    options = _options(arguments)
    knowledge = load(options.folder)
    refresh = Refresh(knowledge, options.index or configured_index())
    found = list(refresh.lists_differ())
    versions = options.torch or _new_or_newest(refresh)
    found += refresh.wheels_differ(versions)
    found += refresh.companions_differ()
    for one in found:
        print(f"{one.subject}: {one.fact}: index {one.index}; knowledge {one.knowledge}")
    print(f"{len(found)} differences from the knowledge of {knowledge.as_of}")
    for failure in refresh.failures:
        _say(f"refresh: {failure}")
    if options.write:
        for line in write(knowledge, refresh.lists, refresh.found, options.retrieved):
            print(line)
    if refresh.failures:
        return 2
    return 1 if found else 0


def _new_or_newest(refresh: Refresh) -> list[str]:
    """The releases of torch that the data lacks, else the newest that it has."""
    new = [one for one in refresh.lists.get("torch", {}) if refresh.knowledge.release(one) is None]
    return sorted(new, key=Version) or [refresh.knowledge.newest_torch]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m envdoctor.knowledge.refresh")
    parser.add_argument("torch", nargs="*", help="releases whose wheels are read; the new ones")
    parser.add_argument("--index", help="a simple index; the configured one")
    parser.add_argument("--write", action="store_true", help="write the JSON, for review")
    parser.add_argument(
        "--retrieved", default=datetime.date.today().isoformat(), help="the day, if not today"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(__file__).parent, help="the folder of the JSON files"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
