"""Who installed a file: a wheel (RECORD), a conda package (conda-meta) or a Debian package."""

import os
import re
from collections.abc import Iterable, Mapping

import msgspec

from envdoctor.facts.libraries import Owner
from envdoctor.facts.python import Distribution
from envdoctor.record import Record, from_json
from envdoctor.regular_files import only_regular

_DPKG = "/var/lib/dpkg"
_MOST_BYTES = 64 << 20
"""Of a RECORD or a list of dpkg's; the RECORD of torch 2.13 has 1.5 MB, dpkg's status up to 10."""
_NEVER_PACKAGED = ("/home/", "/root/", "/tmp/", "/dev/")
"""Folders of users, by the Filesystem Hierarchy Standard."""
_RECORD_LINE = re.compile(r'(?:"([^"]*)"|([^",]*)),[^,]*,(\d{1,18}(?!\d))?')


class Owners(Record):
    """The owners of shared libraries, looked up together because the lists are read once."""

    wheels: Mapping[str, tuple[Distribution, int | None]] = msgspec.field(default_factory=dict)
    conda_prefix: str | None = None

    def of(self, paths: Iterable[str]) -> dict[str, Owner]:
        """The owner of each file that has one."""
        found: dict[str, Owner] = {}
        paths = tuple(dict.fromkeys(paths))
        for path in paths:
            owner = self._wheel(path) or self._wheel(os.path.realpath(path))
            if owner is not None:
                found[path] = owner
        rest = [path for path in paths if path not in found]
        found.update(_conda_owners(rest, self.conda_prefix))
        found.update(_dpkg_owners(path for path in rest if path not in found))
        return found

    def recorded(self, name: str) -> Owner | None:
        """The wheel that says it installed a library of that name, wherever the file is now."""
        for path in self.wheels:
            if os.path.basename(path) == name and not os.path.exists(path):
                return self._wheel(path)
        return None

    def _wheel(self, path: str) -> Owner | None:
        entry = self.wheels.get(path)
        if entry is None:
            return None
        distribution, size = entry
        return Owner(
            kind="wheel",
            name=distribution.name,
            version=distribution.version,
            intact=None if size is None else size == _size(path),
        )


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        # The latter for a name with a null.
        return None


def wheel_files(
    distributions: Iterable[Distribution],
) -> dict[str, tuple[Distribution, int | None]]:
    """The shared libraries that the RECORD files list, with their recorded sizes in bytes."""
    files: dict[str, tuple[Distribution, int | None]] = {}
    for distribution in distributions:
        record = os.path.join(distribution.metadata_path, "RECORD")
        text = _read(record)
        lines = (line for line in text.split("\n") if ".so" in line) if ".so" in text else ()
        for match in filter(None, map(_RECORD_LINE.match, lines)):
            name = match[1] or match[2]
            if ".so" not in name:
                continue
            path = os.path.normpath(os.path.join(distribution.location, name))
            files.setdefault(path, (distribution, int(match[3]) if match[3] else None))
    return files


class _CondaPackage(msgspec.Struct):
    """What is read of conda-meta/*.json."""

    name: str
    version: str
    files: tuple[str, ...]


def _conda_owners(paths: Iterable[str], prefix: str | None) -> dict[str, Owner]:
    """Owners by the `files` of conda-meta/*.json; parsed only where the name occurs in it."""
    if prefix is None:
        return {}
    root = os.path.realpath(prefix) + os.sep
    given = {os.path.realpath(path): path for path in paths}
    wanted = {path.removeprefix(root): path for path in given if path.startswith(root)}
    found: dict[str, Owner] = {}
    for name in _listing(os.path.join(prefix, "conda-meta"), ".json") if wanted else ():
        text = _read(os.path.join(prefix, "conda-meta", name))
        inside = [relative for relative in wanted if f'"{relative}"' in text]
        if not inside:
            continue
        package = from_json(text, _CondaPackage)
        if package is None:
            continue
        owned = set(package.files)
        owner = Owner(kind="conda", name=package.name, version=package.version)
        found.update({given[wanted[r]]: owner for r in inside if r in owned})
    return found


def _dpkg_owners(paths: Iterable[str]) -> dict[str, Owner]:
    """Owners by dpkg's file lists; with merged /usr both spellings of a folder are looked for."""
    spellings: dict[str, str] = {}
    for path in paths:
        for spelling in (path, os.path.realpath(path)):
            if spelling.startswith(_NEVER_PACKAGED):
                continue
            spellings[spelling] = path
            if spelling.startswith("/usr/lib"):
                spellings[spelling.removeprefix("/usr")] = path
    missing = set(spellings.values())
    found: dict[str, str] = {}
    # The lists are compared as bytes: most of them have none of the folders, and are not decoded.
    wanted = {os.fsencode(spelling): spelling for spelling in spellings}
    folders = {os.path.dirname(spelling) + b"/" for spelling in wanted}
    for name in _file_lists():
        if not missing:
            break
        content = _content(os.path.join(_DPKG, "info", name))
        if not any(folder in content for folder in folders):
            continue
        for line in wanted.keys() & content.split(b"\n"):
            path = spellings[wanted[line]]
            found[path] = name.removesuffix(".list").partition(":")[0]
            missing.discard(path)
    versions = _dpkg_versions(set(found.values())) if found else {}
    return {
        path: Owner(kind="dpkg", name=package, version=versions.get(package, ""))
        for path, package in found.items()
    }


def _file_lists() -> list[str]:
    """The packages' lists of files; first those of packages for one architecture (libc6:amd64),
    in which nearly all libraries are."""
    names = _listing(os.path.join(_DPKG, "info"), ".list")
    return sorted(names, key=lambda name: ":" not in name)


def _dpkg_versions(packages: set[str]) -> dict[str, str]:
    text = "\n" + _read(os.path.join(_DPKG, "status"))
    versions = {}
    for package in packages:
        start = text.find(f"\nPackage: {package}\n")
        version = text.find("\nVersion: ", start)
        if start >= 0 and version >= 0:
            versions[package] = text[version + 10 : text.find("\n", version + 1)]
    return versions


def _listing(folder: str, suffix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(suffix))
    except OSError:
        return []


def _read(path: str) -> str:
    return _content(path).decode("utf-8", "surrogateescape")


def _content(path: str) -> bytes:
    """The bytes of a file; none where it cannot be read."""
    try:
        with open(path, "rb", opener=only_regular) as file:
            size = os.fstat(file.fileno()).st_size
            return file.read(min(size, _MOST_BYTES))
    except OSError:
        return b""
