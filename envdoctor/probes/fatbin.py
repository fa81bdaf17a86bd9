"""The GPU targets in the fatbins of a library, from their headers; nothing is decompressed.

The layout is that of `fatbinary_section.h` in the CUDA toolkit for the outer header (magic
0xBA55ED50, version, header size, size of all entries); an entry's header begins with its kind (1 is
PTX, 2 is a cubin), its own size and the size of its payload, and holds the architecture at byte 28
(observed with `cuobjdump --list-elf` on files of nvcc 13.0).
"""

import os
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from envdoctor.probes.sections import find_section
from envdoctor.regular_files import only_regular

_MAGIC = 0xBA55ED50
_OUTER = struct.Struct("<IHHQ")
_ENTRY = struct.Struct("<HHIQ12xI")
_KINDS = {1: "compute", 2: "sm"}
_ALIGNMENT = 8

SAMPLE = 400
"""Fatbins whose entries are read, spread evenly over the library: a few ms instead of seconds."""

MOST_FATBINS, MOST_PADDING = 1_000_000, 8 << 20
"""Fatbins, and bytes between them in all; the largest library has some 10,000. Beyond is a file
with holes, which is read no further."""

MOST_ENTRIES = 1000
"""Of one fatbin; real ones have one or two a target."""

NEARLY_ALL = 0.9
"""Single kernels are compiled for more targets than the rest; a target counts from this share."""


def common_targets(library: Path) -> tuple[str, ...]:
    """The targets (sm_80, compute_90) that nearly all fatbins of a library hold.

    Empty where the file is missing, damaged, or holds none.
    """
    try:
        with open(library, "rb", opener=only_regular) as file:
            section = find_section(file.fileno(), ".nv_fatbin")
            return _common(_sampled(file.fileno(), *section)) if section else ()
    except (OSError, struct.error, ValueError, OverflowError):
        return ()


def _common(fatbins: list[set[str]]) -> tuple[str, ...]:
    counts = Counter(target for targets in fatbins for target in targets)
    common = (name for name, count in counts.items() if count >= NEARLY_ALL * len(fatbins))
    return tuple(
        sorted(common, key=lambda name: (name.partition("_")[0], int(name.partition("_")[2])))
    )


def _sampled(fd: int, offset: int, size: int) -> list[set[str]]:
    fatbins = list(islice(_fatbins(fd, offset, offset + size), MOST_FATBINS))
    step = max(1, len(fatbins) // SAMPLE)
    sampled = (set(islice(_targets(fd, *one), MOST_ENTRIES)) for one in fatbins[::step])
    return [targets for targets in sampled if targets]


def _fatbins(fd: int, offset: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the entries of each fatbin begin and end; zeros between fatbins are stepped over."""
    padding_left = MOST_PADDING
    while offset + _OUTER.size <= end and padding_left > 0:
        head = os.pread(fd, _OUTER.size, offset)
        if len(head) < _OUTER.size:
            return
        magic, _, header_size, length = _OUTER.unpack(head)
        if magic != _MAGIC:
            offset += _ALIGNMENT
            padding_left -= _ALIGNMENT
            continue
        begin = offset + header_size
        if header_size < _OUTER.size or begin + length > end:
            return
        yield begin, begin + length
        offset = begin + length


def _targets(fd: int, offset: int, end: int) -> Iterator[str]:
    while offset + _ENTRY.size <= end:
        kind, _, header_size, length, target = _ENTRY.unpack(os.pread(fd, _ENTRY.size, offset))
        if kind not in _KINDS or header_size < _ENTRY.size or target > 9999:
            return
        yield f"{_KINDS[kind]}_{target}"
        offset += header_size + length
