"""One section of an ELF file by its name: where it lies. For whole files; a cut one has none.

Layout: elf(5), 64-bit little-endian, as every platform that has CUDA wheels.
"""

import os
import struct
from pathlib import Path

from envdoctor.regular_files import only_regular

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_ELF64_LITTLE = b"\x7fELF\x02\x01"
_MAX_NAMES = 1 << 20

MOST_BYTES = 128 << 20
"""Of a section that is read. Those that are, the constants of NCCL and nvJitLink, are smaller than
the whole of the latter, 90 MB."""


class TooLarge(ValueError):
    """A section that is not read."""


def find_section(fd: int, name: str) -> tuple[int, int] | None:
    """Offset and size in bytes; None where the file has no such section or is none of these."""
    header = os.pread(fd, _EHDR.size, 0)
    if len(header) < _EHDR.size or not header.startswith(_ELF64_LITTLE):
        return None
    *_, at, _, _, _, _, entry_size, count, names_index = _EHDR.unpack(header)
    if at == 0 or entry_size != _SHDR.size or names_index >= count:
        return None
    table = os.pread(fd, _SHDR.size * count, at)
    if len(table) < _SHDR.size * count:
        return None
    sections = list(_SHDR.iter_unpack(table))
    *_, names_at, names_size, _, _, _, _ = sections[names_index]
    names = os.pread(fd, min(names_size, _MAX_NAMES), names_at)
    for name_at, _, _, _, offset, size, *_ in sections:
        if names[name_at : names.find(b"\0", name_at)] == name.encode():
            return offset, size
    return None


def read_section(path: Path, name: str) -> bytes:
    """The bytes of a section; empty where the file is missing, damaged, or has none.

    Raises TooLarge for one that could take the memory of the machine: a file with holes.
    """
    try:
        with open(path, "rb", opener=only_regular) as file:
            found = find_section(file.fileno(), name)
            if found is None or sum(found) > os.fstat(file.fileno()).st_size:
                return b""
            if found[1] > MOST_BYTES:
                raise TooLarge(f"`{name}` has {found[1]} bytes")
            return os.pread(file.fileno(), found[1], found[0])
    except TooLarge:
        raise
    except (OSError, ValueError, OverflowError):
        return b""
