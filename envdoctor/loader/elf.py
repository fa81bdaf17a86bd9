"""Reads from a shared object what the loader reads, and no more: the tables that PT_DYNAMIC names.

The loader never looks at section headers, and a truncated file has none, so neither does this.
Layouts: the System V gABI (chapters 4 and 5) and, for versions and DT_GNU_HASH, glibc's elf/elf.h.
"""

import mmap
import os
import struct
from collections.abc import Callable, Iterator, Set
from typing import Final

from envdoctor.record import Record
from envdoctor.regular_files import only_regular

_CLASS_BITS = {1: 32, 2: 64}
_ELF64, _LITTLE_ENDIAN = 2, 1
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_SHARED_KINDS = (_ET_EXEC, _ET_DYN)

_DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ = 1, 4, 5, 6, 10
_DT_SONAME, _DT_RPATH, _DT_RUNPATH = 14, 15, 29
_DT_GNU_HASH, _DT_FLAGS_1 = 0x6FFFFEF5, 0x6FFFFFFB
_DT_VERDEF, _DT_VERDEFNUM, _DT_VERNEED, _DT_VERNEEDNUM = (
    0x6FFFFFFC,
    0x6FFFFFFD,
    0x6FFFFFFE,
    0x6FFFFFFF,
)
_DF_1_NODEFLIB = 0x800
_VER_FLG_WEAK = 0x2
_STB_WEAK = 2

_EHDR = struct.Struct("<HHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_DYN = struct.Struct("<qQ")
_SYM = struct.Struct("<IBBHQQ")
_GNU_HASH_HEAD = struct.Struct("<IIII")
_VERNEED = struct.Struct("<HHIII")
_VERNAUX = struct.Struct("<IHHII")
_VERDEF = struct.Struct("<HHHHIII")

_Name = Callable[[int], str]

MOST_ENTRIES = 1_000_000
"""Of one table; more than any library has (libtorch_cpu has 75,000 symbols). A count beyond it
comes from a damaged file."""

MOST_BYTES_OF_NAMES = 64 << 20
"""Of all names of symbols of one object; those of libtorch_cpu have 5 MB."""

_MOST_NAMES, _LONGEST_NAME = 100_000, 1 << 16
"""What PT_DYNAMIC and the versions name; libc has some hundred names, and a path 4096 bytes."""


class Unreadable(ValueError):
    """A file that the loader would refuse with an error; the message says what is wrong."""


class Foreign(ValueError):
    """An ELF file for another kind of machine, which the loader passes over in silence."""


class VersionNeed(Record):
    """The versions that an object requires of one library. Weak ones are not among them."""

    library: str
    versions: tuple[str, ...]


CUT_SHORT: Final = "the file is cut short"
"""Why a truncated file cannot be loaded."""


class Tables(Record):
    """File offsets of the symbol and string tables; 0 where there is none."""

    symbols: int = 0
    strings: int = 0
    strings_size: int = 0
    gnu_hash: int = 0
    hash: int = 0


class Elf(Record):
    """One object as the loader sees it. `size` is that of the file, in bytes.

    `cut_bytes` is how far the loadable segments reach beyond the end of the file: anything above 0
    is a truncated file, which kills the process that touches the missing part.
    """

    path: str
    machine: int
    identity: tuple[int, int]
    size: int
    cut_bytes: int = 0
    interpreter: str | None = None
    needed: tuple[str, ...] = ()
    soname: str | None = None
    rpath: str | None = None
    runpath: str | None = None
    no_default_dirs: bool = False
    version_needs: tuple[VersionNeed, ...] = ()
    version_nodes: frozenset[str] = frozenset()
    tables: Tables = Tables()


class Symbols(Record):
    """The names of an object's dynamic symbols: those it must find elsewhere, and those it offers.

    Weak undefined symbols are left out: nothing breaks without them.
    """

    required: frozenset[bytes]
    offered: Set[bytes]


def read_elf(path: str) -> Elf:
    """Read an object. Raises OSError, Unreadable, or Foreign for one of another machine."""
    with open(path, "rb", opener=only_regular) as file:
        status = os.fstat(file.fileno())
        if status.st_size < 64:
            raise Unreadable("file too short")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data, status.st_size)
            try:
                return reader.read(path, (status.st_dev, status.st_ino))
            except (Unreadable, Foreign):
                raise
            except (struct.error, IndexError, OverflowError, ValueError) as error:
                cut = CUT_SHORT if reader.cut else ""
                raise Unreadable(cut or f"a table lies outside the file ({error})") from error


def read_symbols(elf: Elf, *, roughly: bool = False) -> Symbols:
    """The dynamic symbol names of an object. Raises OSError or Unreadable.

    `roughly` takes half the time: what is offered is then every string beside the symbols that must
    be found elsewhere. A name that the linker stored as the end of another one is not among them,
    and a few strings that are no symbols are.
    """
    if not elf.tables.symbols:
        return Symbols(required=frozenset(), offered=frozenset())
    with (
        open(elf.path, "rb", opener=only_regular) as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        try:
            return _symbols(data, elf.tables, roughly=roughly)
        except Unreadable:
            raise
        except (struct.error, IndexError, OverflowError, ValueError) as error:
            raise Unreadable(f"the symbol table lies outside the file ({error})") from error


class _Reader:
    """Walks one mapped file from its header to what PT_DYNAMIC names."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        self.data = data
        self.size = size
        self.loads: list[tuple[int, int, int]] = []
        self.cut = 0
        self._names_left = _MOST_NAMES

    def read(self, path: str, identity: tuple[int, int]) -> Elf:
        data = self.data
        if data[:4] != b"\x7fELF":
            raise Unreadable("invalid ELF header")
        if data[4] != _ELF64 or data[5] != _LITTLE_ENDIAN:
            raise Foreign(f"a {_CLASS_BITS.get(data[4], 0)}-bit or big-endian ELF file")
        kind, machine, _, _, phoff, _, _, _, phentsize, phnum, *_ = _EHDR.unpack_from(data, 16)
        if kind not in _SHARED_KINDS:
            raise Unreadable("only ET_DYN and ET_EXEC can be loaded")
        if phentsize != _PHDR.size:
            raise Unreadable("ELF file's phentsize not the expected size")
        headers = [_PHDR.unpack_from(data, phoff + i * phentsize) for i in range(phnum)]
        self.loads = [(h[3], h[2], h[5]) for h in headers if h[0] == _PT_LOAD]
        if not self.loads:
            raise Unreadable("object file has no loadable segments")
        self.cut = max(0, max(offset + size for _, offset, size in self.loads) - self.size)
        dynamic = next(((h[2], h[5]) for h in headers if h[0] == _PT_DYNAMIC), None)
        if dynamic is None:
            raise Unreadable("object file has no dynamic section")
        loaders = (self._text(h[2], h[2] + h[5]) for h in headers if h[0] == _PT_INTERP)
        return self._object(path, machine, identity, dynamic, next(loaders, None))

    def _object(
        self,
        path: str,
        machine: int,
        identity: tuple[int, int],
        dynamic: tuple[int, int],
        interpreter: str | None,
    ) -> Elf:
        entries = list(self._dynamic(*dynamic))
        tags = dict(reversed(entries))
        strings = self._offset(tags.get(_DT_STRTAB))
        size = tags.get(_DT_STRSZ, 0)
        if strings is None:
            raise Unreadable("object file has no string table")

        def name(index: int) -> str:
            return self._text(strings + index, strings + size)

        def named(tag: int) -> str | None:
            return name(tags[tag]) if tag in tags else None

        runpath = named(_DT_RUNPATH)
        return Elf(
            path=path,
            machine=machine,
            identity=identity,
            size=self.size,
            cut_bytes=self.cut,
            interpreter=interpreter,
            needed=tuple(name(value) for tag, value in entries if tag == _DT_NEEDED),
            soname=named(_DT_SONAME),
            rpath=named(_DT_RPATH) if runpath is None else None,
            runpath=runpath,
            no_default_dirs=bool(tags.get(_DT_FLAGS_1, 0) & _DF_1_NODEFLIB),
            version_needs=tuple(self._version_needs(tags, name)),
            version_nodes=frozenset(self._version_nodes(tags, name)),
            tables=Tables(
                symbols=self._offset(tags.get(_DT_SYMTAB)) or 0,
                strings=strings,
                strings_size=size,
                gnu_hash=self._offset(tags.get(_DT_GNU_HASH)) or 0,
                hash=self._offset(tags.get(_DT_HASH)) or 0,
            ),
        )

    def _dynamic(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        for position in range(offset, offset + min(size, self.size), _DYN.size):
            tag, value = _DYN.unpack_from(self.data, position)
            if tag == 0:
                return
            self._count()
            yield tag, value

    def _offset(self, address: int | None) -> int | None:
        """The file offset of a virtual address, by the loadable segments."""
        if address is None:
            return None
        for start, offset, filesz in self.loads:
            if start <= address < start + filesz:
                return offset + address - start
        return None

    def _count(self) -> None:
        """Tables may overlap, and name more than the file has bytes."""
        self._names_left -= 1
        if self._names_left < 0:
            raise Unreadable(f"it names more than {_MOST_NAMES} things")

    def _text(self, start: int, end: int) -> str:
        if not 0 <= start < self.size:
            raise IndexError("string beyond the end")
        stop = self.data.find(b"\0", start, min(end, self.size, start + _LONGEST_NAME))
        if stop < 0:
            raise IndexError("string without an end")
        return self.data[start:stop].decode("utf-8", "surrogateescape")

    def _version_needs(self, tags: dict[int, int], name: _Name) -> Iterator[VersionNeed]:
        position = self._offset(tags.get(_DT_VERNEED))
        for _ in range(_bounded(tags.get(_DT_VERNEEDNUM, 0)) if position is not None else 0):
            assert position is not None
            self._count()
            _, count, file, aux, following = _VERNEED.unpack_from(self.data, position)
            yield VersionNeed(
                library=name(file), versions=tuple(self._needed(position + aux, count, name))
            )
            if following == 0:
                return
            position += following

    def _needed(self, position: int, count: int, name: _Name) -> Iterator[str]:
        for _ in range(count):
            self._count()
            _, flags, _, text, following = _VERNAUX.unpack_from(self.data, position)
            if not flags & _VER_FLG_WEAK:
                yield name(text)
            if following == 0:
                return
            position += following

    def _version_nodes(self, tags: dict[int, int], name: _Name) -> Iterator[str]:
        position = self._offset(tags.get(_DT_VERDEF))
        for _ in range(_bounded(tags.get(_DT_VERDEFNUM, 0)) if position is not None else 0):
            assert position is not None
            self._count()
            _, _, _, _, _, aux, following = _VERDEF.unpack_from(self.data, position)
            (text,) = struct.unpack_from("<I", self.data, position + aux)
            yield name(text)
            if following == 0:
                return
            position += following


def _bounded(count: int) -> int:
    if count > MOST_ENTRIES:
        raise Unreadable(f"a table claims {count} entries")
    return count


def _symbols(data: mmap.mmap, tables: Tables, *, roughly: bool) -> Symbols:
    # The hash table of GNU holds what is offered; all that is not stands before it.
    only_required = roughly and tables.gnu_hash
    count = _first_offered(data, tables) if only_required else _symbol_count(data, tables)
    end = tables.symbols + count * _SYM.size
    if end > len(data):
        raise IndexError("symbols beyond the end")
    if tables.strings_size > MOST_BYTES_OF_NAMES:
        raise Unreadable(f"its names claim {tables.strings_size} bytes")
    strings = data[tables.strings : tables.strings + tables.strings_size]
    find = strings.index
    required: list[bytes] = []
    weak: list[bytes] = []
    defined: list[bytes] = []
    left = MOST_BYTES_OF_NAMES
    for name, info, _, section, _, _ in _SYM.iter_unpack(data[tables.symbols : end]):
        if name:
            stop = find(b"\0", name)
            # Names may share their ends, and all be the same.
            left -= stop - name
            if left < 0:
                raise Unreadable(f"its names have more than {MOST_BYTES_OF_NAMES} bytes")
            kind = defined if section else weak if info >> 4 == _STB_WEAK else required
            kind.append(strings[name:stop])
    if only_required:
        defined = strings.split(b"\0", MOST_ENTRIES + 1)
        _bounded(len(defined))
    offered = set(defined)
    offered.difference_update(required, weak)
    return Symbols(required=frozenset(required), offered=offered)


def _first_offered(data: mmap.mmap, tables: Tables) -> int:
    _, first, _, _ = _GNU_HASH_HEAD.unpack_from(data, tables.gnu_hash)
    return _bounded(int(first))


def _symbol_count(data: mmap.mmap, tables: Tables) -> int:
    """The number of dynamic symbols, which only the hash tables tell."""
    if tables.hash:
        return _bounded(int(struct.unpack_from("<I", data, tables.hash + 4)[0]))
    if not tables.gnu_hash:
        return 0
    buckets, first, bloom, _ = _GNU_HASH_HEAD.unpack_from(data, tables.gnu_hash)
    start = tables.gnu_hash + _GNU_HASH_HEAD.size + _bounded(bloom) * 8
    last = max(struct.unpack_from(f"<{_bounded(buckets)}I", data, start), default=0)
    if last < first:
        return int(first)
    chain = start + buckets * 4 - first * 4
    while not struct.unpack_from("<I", data, chain + last * 4)[0] & 1:
        last = _bounded(last + 1)
    return int(last) + 1
