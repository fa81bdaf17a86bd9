"""Where a named section lies in a shared object, for what the loader itself never looks at.

Layout: the System V gABI, chapter 4, "Sections". A library that was stripped of its section headers
or cut has none.
"""

import os
import struct
from typing import NamedTuple

_HEADER = struct.Struct("<40xQ10xHHH")
"""Of the ELF header of a 64-bit object: e_shoff, e_shentsize, e_shnum, e_shstrndx."""

_SECTION = struct.Struct("<I20xQQ")
"""Of a section header: sh_name, sh_offset, sh_size."""

_ENTRY_BYTES = 64
_IDENTITY = b"\x7fELF\x02\x01"


class Section(NamedTuple):
    """A section's place in its file, in bytes."""

    offset: int
    size: int


def find_section(fd: int, name: str) -> Section | None:
    """The section of that name in a 64-bit little-endian object; None where there is none, or where
    the file is damaged or cut before the section's end."""
    length = os.fstat(fd).st_size
    head = os.pread(fd, _ENTRY_BYTES, 0)
    if len(head) < _ENTRY_BYTES or not head.startswith(_IDENTITY):
        return None
    offset, entry_bytes, count, names_index = _HEADER.unpack(head)
    if entry_bytes != _ENTRY_BYTES or names_index >= count:
        return None
    if offset + entry_bytes * count > length:
        return None
    table = os.pread(fd, entry_bytes * count, offset)
    sections = [_SECTION.unpack_from(table, at) for at in range(0, len(table), entry_bytes)]
    _, names_offset, names_size = sections[names_index]
    if names_offset + names_size > length:
        return None
    names = os.pread(fd, names_size, names_offset)
    wanted = name.encode() + b"\0"
    for at, start, size in sections:
        if names.startswith(wanted, at):
            return Section(start, size) if start + size <= length else None
    return None
