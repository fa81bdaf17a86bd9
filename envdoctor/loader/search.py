"""Where glibc looks for a library, in its order.

Rules: ld.so(8) and `_dl_map_object` in glibc's elf/dl-load.c. The dependent's DT_RPATH and those of
the objects that loaded it, unless it has a DT_RUNPATH; then LD_LIBRARY_PATH; then its own
DT_RUNPATH; then ld.so.cache; then the default directories. Every directory is tried with its
subdirectories for this processor first.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from envdoctor.facts.libraries import SearchRule
from envdoctor.loader.elf import Elf, Foreign, Unreadable, read_elf
from envdoctor.loader.ldcache import BadCache, LdCache, read_cache
from envdoctor.loader.strings import version_after
from envdoctor.record import Record
from envdoctor.regular_files import only_regular

PRELOAD: Final = "LD_PRELOAD"
PRELOAD_FILE: Final = "ld.so.preload"
RPATH: Final = "RPATH"
LIBRARY_PATH: Final = "LD_LIBRARY_PATH"
RUNPATH: Final = "RUNPATH"
CACHE: Final = "ld.so.cache"
DEFAULT: Final = "default directory"
BY_PATH: Final = "path"
TORCH_PRELOAD: Final = "preloaded by torch"

_X86_64, _AARCH64 = 62, 183
_DEFAULT_DIRS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
# A run of these characters is looked at once, from its beginning, and not far: a program may name
# any file as its loader.
# The slash comes first, by which `re` finds the place a hundred times as fast.
_FROM_ROOT = rb"/(?<![\w./+-]/)"
_FOLDER = rb"[\w./+-]{0,200}lib[\w./+-]{0,200}/\0"
_SYSTEM_DIRS = re.compile(_FROM_ROOT + _FOLDER + rb"(?:/" + _FOLDER + rb"){1,7}")
_CACHE_PATH = re.compile(_FROM_ROOT + rb"(?:[\w./+-]{0,200}etc|[\w./+-]{3,60})/ld\.so\.cache(?=\0)")
_RELEASE = re.compile(rb"release version (\d{1,4})\.(\d{1,4})")
_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)\b)")

# The x86-64 psABI's micro-architecture levels, by the names of Linux' cpuinfo.
_LEVELS = (
    (
        "x86-64-v4",
        {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    ),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
)


class Place(Record):
    """Which rule led to a file: its directory and, for RPATH and RUNPATH, whose it is."""

    rule: SearchRule
    directory: str = ""
    of: str | None = None


class Chained(Protocol):
    """An object that is loaded, with the one that caused that."""

    @property
    def elf(self) -> Elf: ...

    @property
    def origin(self) -> str: ...

    @property
    def loader(self) -> "Chained | None": ...


class Files:
    """Reads folders and objects, each once."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}
        self._subdirs: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._objects: dict[str, Elf | Unreadable | Foreign | None] = {}
        self._versions: dict[tuple[str, str], str | None] = {}

    def exists(self, directory: str, name: str) -> bool:
        """Whether that folder has an entry of that name."""
        if "/" in name:
            return os.path.lexists(os.path.join(directory, name))
        names = self._folders.get(directory)
        if names is None:
            try:
                names = frozenset(os.listdir(directory or "."))
            except OSError:
                names = frozenset()
            self._folders[directory] = names
        return name in names

    def folders(self, directory: str, subdirs: tuple[str, ...]) -> tuple[str, ...]:
        """That folder's subdirectories of these names which exist; the empty name is itself."""
        if (directory, subdirs) not in self._subdirs:
            paths = (os.path.join(directory, subdir) if subdir else directory for subdir in subdirs)
            self._subdirs[directory, subdirs] = tuple(p for p in paths if os.path.isdir(p or "."))
        return self._subdirs[directory, subdirs]

    def version_after(self, path: str, text: str) -> str | None:
        """`version_after`, each file searched once for a text."""
        if (path, text) not in self._versions:
            self._versions[path, text] = version_after(path, text)
        return self._versions[path, text]

    def read(self, path: str) -> Elf | Unreadable | Foreign | None:
        """The object at that path, or why it is none; None where nothing can be opened."""
        if path not in self._objects:
            self._objects[path] = _read(path)
        return self._objects[path]


def _read(path: str) -> Elf | Unreadable | Foreign | None:
    try:
        return read_elf(path)
    except (Unreadable, Foreign) as refusal:
        return refusal
    except IsADirectoryError:
        return Unreadable("cannot read file data: Is a directory")
    except (OSError, ValueError):
        return None


class System(Record):
    """What the loader knows beside the objects' own words. Directories carry no final slash."""

    machine: int = _X86_64
    library_path: tuple[str, ...] = ()
    preload: tuple[tuple[str, SearchRule], ...] = ()
    default_dirs: tuple[str, ...] = _DEFAULT_DIRS
    cache: LdCache = msgspec.field(default_factory=LdCache)
    cache_problem: str = ""
    levels: tuple[str, ...] = ()
    subdirs: tuple[str, ...] = ("",)
    lib: str = "lib64"
    platform: str = "x86_64"


def system_of(
    executable: Elf,
    environment: Mapping[str, str],
    *,
    cpu_flags: frozenset[str],
    preload_file: str = "/etc/ld.so.preload",
) -> System:
    """The loader's view of the machine, for a program and its environment variables.

    Default directories and the cache's place are read from the program's own loader (PT_INTERP),
    so that those of NixOS, Debian or a chroot are right without a table.
    """
    data = _bytes_of(executable.interpreter)
    match = _SYSTEM_DIRS.search(data)
    dirs = _unslashed(match.group().decode().split("\0")) if match else _DEFAULT_DIRS
    found = _CACHE_PATH.search(data)
    cache_path = found.group().decode() if found else "/etc/ld.so.cache"
    problem = ""
    try:
        cache = read_cache(cache_path, executable.machine)
    except BadCache as error:
        cache, problem = LdCache(), str(error)
    levels = _levels(executable.machine, cpu_flags)
    multiarch = next((d.removeprefix("/lib/") for d in dirs if d.startswith("/lib/")), None)
    return System(
        machine=executable.machine,
        library_path=_paths(environment.get("LD_LIBRARY_PATH", "")),
        preload=_preloads(environment.get("LD_PRELOAD", ""), preload_file),
        default_dirs=dirs,
        cache=cache,
        cache_problem=problem,
        levels=levels,
        subdirs=(*(f"glibc-hwcaps/{level}" for level in levels), *_legacy_subdirs(data), ""),
        lib=f"lib/{multiarch}" if multiarch else "lib64",
        platform="aarch64" if executable.machine == _AARCH64 else "x86_64",
    )


def _bytes_of(path: str | None) -> bytes:
    try:
        with open(path or "", "rb", opener=only_regular) as file:
            return file.read(8 * 1024 * 1024)
    except OSError:
        return b""


def _unslashed(dirs: Sequence[str]) -> tuple[str, ...]:
    return tuple(directory.rstrip("/") for directory in dirs if directory)


def _levels(machine: int, flags: frozenset[str]) -> tuple[str, ...]:
    """The levels of this processor, best first. A level counts only with those below it."""
    if machine != _X86_64:
        return ()
    reached: list[str] = []
    for name, needed in reversed(_LEVELS):
        if not needed <= flags:
            break
        reached.insert(0, name)
    return tuple(reached)


def _legacy_subdirs(loader: bytes) -> tuple[str, ...]:
    """The subdirectories that glibc tried before 2.37, here for a generic x86-64."""
    match = _RELEASE.search(loader)
    if match and (int(match[1]), int(match[2])) >= (2, 37):
        return ()
    parts = ("haswell/x86_64", "haswell", "x86_64")
    return (*(f"tls/{part}" for part in parts), "tls", *parts)


def _paths(text: str) -> tuple[str, ...]:
    """The directories of LD_LIBRARY_PATH; an empty entry is the current directory."""
    return tuple(re.split("[:;]", text)) if text else ()


def _preloads(variable: str, file: str) -> tuple[tuple[str, SearchRule], ...]:
    names: list[tuple[str, SearchRule]] = [
        (name, PRELOAD) for name in re.split(r"[ :]+", variable) if name
    ]
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", opener=only_regular) as lines:
            text = " ".join(line.partition("#")[0] for line in lines)
    except OSError:
        return tuple(names)
    return (*names, *((name, PRELOAD_FILE) for name in re.split(r"[\s:]+", text) if name))


def expand(text: str, origin: str, system: System) -> str:
    """A path with its dynamic string tokens replaced: $ORIGIN, $LIB, $PLATFORM."""
    values = {"ORIGIN": origin, "LIB": system.lib, "PLATFORM": system.platform}
    return _TOKEN.sub(lambda match: values[match[1] or match[2]], text)


def places(requester: Chained, main: Chained, system: System) -> Iterator[Place]:
    """The directories that are searched for what `requester` asks for, in the loader's order."""
    if requester.elf.runpath is None:
        holder: Chained | None = requester
        seen_main = False
        while holder is not None:
            yield from _of_object(holder, holder.elf.rpath, RPATH, system)
            seen_main = seen_main or holder is main
            holder = holder.loader
        if not seen_main:
            yield from _of_object(main, main.elf.rpath, RPATH, system)
    for directory in system.library_path:
        yield Place(rule=LIBRARY_PATH, directory=expand(directory, main.origin, system))
    yield from _of_object(requester, requester.elf.runpath, RUNPATH, system)
    yield Place(rule=CACHE)
    if not requester.elf.no_default_dirs:
        for directory in system.default_dirs:
            yield Place(rule=DEFAULT, directory=directory)


def _of_object(
    holder: Chained, text: str | None, rule: SearchRule, system: System
) -> Iterator[Place]:
    for directory in text.split(":") if text else ():
        expanded = expand(directory, holder.origin, system)
        yield Place(rule=rule, directory=expanded, of=holder.elf.path)


def offers(
    name: str, requester: Chained, main: Chained, system: System, files: Files
) -> Iterator[tuple[str, Place]]:
    """Every file of that name that the search meets, in order; the first usable one wins."""
    for place in places(requester, main, system):
        if place.rule == CACHE:
            cached = system.cache.lookup(name, system.levels)
            usable = cached is not None and os.path.lexists(cached)
            if requester.elf.no_default_dirs and cached and _is_default(cached, system):
                usable = False
            if usable and cached:
                yield cached, Place(rule=CACHE, directory=os.path.dirname(cached))
            continue
        for directory in files.folders(place.directory, system.subdirs):
            if files.exists(directory, name):
                yield os.path.join(directory, name), place


def _is_default(path: str, system: System) -> bool:
    return os.path.dirname(path) in system.default_dirs
