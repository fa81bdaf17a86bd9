"""Reads ld.so.cache: which file ldconfig recorded for a soname.

Layout: `struct cache_file_new` of glibc's sysdeps/generic/dl-cache.h. Older caches hold it behind
a table of the libc5 days. Selection: `search_cache` in elf/dl-cache.c.
"""

import struct
from collections.abc import Sequence

from envdoctor.regular_files import only_regular

_MOST_BYTES = 64 << 20
"""A cache of 2,000 libraries has 0.2 MB."""
_NEW_MAGIC = b"glibc-ld.so.cache1.1"
_OLD_MAGIC = b"ld.so-1.7.0"
_HEAD = struct.Struct("<20sII5I")
_ENTRY = struct.Struct("<iIIIQ")
_OLD_HEAD_SIZE, _OLD_ENTRY_SIZE = 16, 12
_EXTENSION_MAGIC = 0xEAA42174
_EXTENSION_HWCAPS = 1
_HWCAP_EXTENSION_BIT = 1 << 62

_FLAGS = {62: 0x0303, 183: 0x0A03}
"""FLAG_ELF_LIBC6 with the machine's own bits, by e_machine: x86-64 and AArch64."""


class BadCache(ValueError):
    """A cache that cannot be read; the loader then goes on without it."""


class LdCache:
    """The entries of one cache, for one machine, in the order of the file."""

    def __init__(self, entries: Sequence[tuple[str, str, str | None]] = ()) -> None:
        self._entries: dict[str, list[tuple[str, str | None]]] = {}
        for soname, path, subdir in entries:
            self._entries.setdefault(soname, []).append((path, subdir))

    def all(self, soname: str) -> tuple[str, ...]:
        """Every file recorded for that soname."""
        return tuple(path for path, _ in self._entries.get(soname, ()))

    def lookup(self, soname: str, levels: Sequence[str]) -> str | None:
        """The file that the loader takes: the best supported glibc-hwcaps level, else the first."""
        plain: str | None = None
        best: tuple[int, str] | None = None
        for path, level in self._entries.get(soname, ()):
            if level is None:
                plain = plain or path
            elif level in levels and (best is None or levels.index(level) < best[0]):
                best = (levels.index(level), path)
        return best[1] if best else plain


def read_cache(path: str, machine: int) -> LdCache:
    """The cache at that path; empty where there is none. Raises BadCache."""
    try:
        with open(path, "rb", opener=only_regular) as file:
            data = file.read(_MOST_BYTES)
    except OSError:
        return LdCache()
    try:
        return LdCache(_entries(data, _FLAGS.get(machine, 0)))
    except (struct.error, IndexError, ValueError) as error:
        raise BadCache(f"`{path}` is damaged: {error}") from error


def _entries(data: bytes, flags: int) -> list[tuple[str, str, str | None]]:
    base = data.find(_NEW_MAGIC)
    if base < 0:
        raise ValueError("it has no table of this format")
    _, count, _, _, extension, *_ = _HEAD.unpack_from(data, base)
    if count > len(data) // _ENTRY.size:
        raise ValueError(f"it claims {count} entries")
    levels = _levels(data, base, extension)
    found = []
    for index in range(count):
        kind, key, value, _, hwcap = _ENTRY.unpack_from(
            data, base + _HEAD.size + index * _ENTRY.size
        )
        if kind != flags:
            continue
        level = None
        if hwcap & _HWCAP_EXTENSION_BIT:
            level = levels[hwcap & 0xFFFFFFFF]
        elif hwcap:
            continue
        found.append((_text(data, base + key), _text(data, base + value), level))
    return found


def _levels(data: bytes, base: int, extension: int) -> list[str]:
    """The names of the glibc-hwcaps levels, from the extension section (glibc 2.33 and later)."""
    if not extension:
        return []
    magic, count = struct.unpack_from("<II", data, base + extension)
    if magic != _EXTENSION_MAGIC:
        return []
    for index in range(min(count, 16)):
        tag, _, offset, size = struct.unpack_from("<IIII", data, base + extension + 8 + index * 16)
        if tag == _EXTENSION_HWCAPS:
            names = struct.unpack_from(f"<{size // 4}I", data, base + offset)
            return [_text(data, base + name) for name in names]
    return []


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode("utf-8", "surrogateescape")
