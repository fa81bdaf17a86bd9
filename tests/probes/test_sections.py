"""Sections of ELF files, beside pyelftools, and in files that are cut or no ELF files."""

import os
import random
import sys
import sysconfig
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from envdoctor.probes.sections import find_section, read_section

LIBRARIES = sorted(Path(sysconfig.get_path("stdlib")).glob("lib-dynload/*.so"))[:20]


@pytest.mark.parametrize("path", [Path(os.path.realpath(sys.executable)), *LIBRARIES], ids=str)
def test_every_section_is_where_pyelftools_sees_it(path: Path) -> None:
    with path.open("rb") as file:
        theirs = {
            one.name: (one["sh_offset"], one["sh_size"]) for one in ELFFile(file).iter_sections()
        }
        ours = {name: find_section(file.fileno(), name) for name in theirs if name}
    assert ours
    assert ours == {name: place for name, place in theirs.items() if name}


def test_a_section_is_read_whole() -> None:
    path = Path(os.path.realpath(sys.executable))
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".comment")
        assert read_section(path, ".comment") == section.data()


@pytest.mark.parametrize("keep", [0, 3, 63, 64, 500, 4000])
def test_a_cut_file_has_no_sections(tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "cut.so"
    cut.write_bytes(Path(os.path.realpath(sys.executable)).read_bytes()[:keep])
    assert read_section(cut, ".rodata") == b""


def test_what_is_no_elf_file_or_not_there_has_none(tmp_path: Path) -> None:
    script = tmp_path / "script.so"
    script.write_text("#!/bin/sh\n" * 100)
    assert read_section(script, ".rodata") == b""
    assert read_section(tmp_path / "missing.so", ".rodata") == b""
    assert read_section(Path(os.path.realpath(sys.executable)), ".nothing") == b""


def test_a_header_that_is_changed_at_random_is_no_crash(tmp_path: Path) -> None:
    whole = LIBRARIES[0].read_bytes()
    damaged = tmp_path / "damaged.so"
    for seed in range(500):
        data, generator = bytearray(whole), random.Random(seed)
        for _ in range(3):
            data[generator.randrange(6, 64)] = generator.randrange(256)
        damaged.write_bytes(data)
        assert read_section(damaged, ".rodata") in (b"", read_section(LIBRARIES[0], ".rodata"))
