"""The reader beside pyelftools, and on files that are cut or changed at random."""

import contextlib
import glob
import os
import shutil
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envdoctor.loader.elf import Elf, Foreign, Unreadable, read_elf, read_symbols
from envdoctor.loader.process import Process, SymbolReader
from envdoctor.loader.search import Files, System
from tests.conftest import require
from tests.loader.build import Workshop

REFUSALS = (Unreadable, Foreign, OSError)


def pyelftools_view(path: str):
    """What pyelftools reads from the same file."""
    with open(path, "rb") as file:
        elf = ELFFile(file)
        dynamic = elf.get_section_by_name(".dynamic")
        tags = list(dynamic.iter_tags())
        symbols = list(elf.get_section_by_name(".dynsym").iter_symbols())
        needs = elf.get_section_by_name(".gnu.version_r")
        nodes = elf.get_section_by_name(".gnu.version_d")
        return {
            "needed": tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
            "soname": next((t.soname for t in tags if t.entry.d_tag == "DT_SONAME"), None),
            "runpath": next((t.runpath for t in tags if t.entry.d_tag == "DT_RUNPATH"), None),
            "offered": {s.name for s in symbols if s["st_shndx"] != "SHN_UNDEF"},
            "required": {
                s.name
                for s in symbols
                if s["st_shndx"] == "SHN_UNDEF" and s["st_info"]["bind"] != "STB_WEAK" and s.name
            },
            "needs": {
                need.name: {v.name for v in versions if not v["vna_flags"] & 2}
                for need, versions in (needs.iter_versions() if needs else ())
            },
            "nodes": {
                next(iter(names)).name for _, names in (nodes.iter_versions() if nodes else ())
            },
        }


def real_libraries() -> list[str]:
    """Libraries of this machine of every make: glibc, the interpreter's modules, torch's."""
    found = glob.glob("/lib/*-linux-gnu/lib[cmsz]*.so.*")[:25]
    for folder in sys.path:
        found += glob.glob(os.path.join(folder, "torch/lib/*.so*"))
        found += glob.glob(os.path.join(folder, "_ctypes*.so"))
    return [path for path in dict.fromkeys(map(os.path.realpath, found)) if os.path.isfile(path)]


def test_every_real_library_is_read_as_pyelftools_reads_it():
    libraries = [p for p in real_libraries() if os.path.getsize(p) < 20_000_000]
    require(len(libraries) > 5, "some shared libraries")
    for path in libraries:
        elf, view = read_elf(path), pyelftools_view(path)
        symbols = read_symbols(elf)
        assert elf.needed == view["needed"], path
        assert (elf.soname, elf.runpath) == (view["soname"], view["runpath"]), path
        assert {n.library: set(n.versions) for n in elf.version_needs} == view["needs"], path
        assert elf.version_nodes == view["nodes"], path
        assert {name.decode() for name in symbols.offered} == view["offered"], path
        assert {name.decode() for name in symbols.required} == view["required"], path
        assert elf.cut_bytes == 0


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_symbols_are_counted_by_either_hash_table(workshop: Workshop, style: str):
    source = "".join(f"int f{i}(void) {{ return {i}; }}\n" for i in range(40))
    path = workshop.library(
        "libmany.so",
        source=source + "int far(void); int g(void) { return far(); }",
        flags=[f"-Wl,--hash-style={style}"],
    )
    symbols = read_symbols(read_elf(str(path)))
    assert {f"f{i}".encode() for i in range(40)} <= symbols.offered
    assert b"far" in symbols.required


def test_a_cut_file_says_how_much_is_missing(workshop: Workshop):
    path = workshop.library(
        "liblong.so", source="char filler[100000] = {1}; int f(void){return 1;}"
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert read_elf(str(path)).cut_bytes > 0


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory, compiler: str) -> bytes:
    """A small library with every table that the reader follows."""
    shop = Workshop(folder=tmp_path_factory.mktemp("specimen"), compiler=compiler)
    shop.library("libleaf.so", source="int leaf(void){return 1;}", versions="V_1 { leaf; };")
    path = shop.library(
        "libuser.so",
        source='int leaf(void); int puts(const char *); int use(void) { puts(""); return leaf(); }',
        needs=["libleaf.so"],
        flags=["-Wl,-rpath,$ORIGIN", "-Wl,--hash-style=both"],
        versions="U_1 { use; }; U_2 { more; } U_1;",
    )
    return path.read_bytes()


def survives(folder: Path, content: bytes) -> None:
    """A file of that content is survived."""
    path = folder / "libfuzzed.so"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    is_survived(path)


def is_survived(path: Path) -> None:
    """Whatever the file holds, the answer is an object or a refusal, and dlopen does not raise."""
    try:
        elf = read_elf(str(path))
    except REFUSALS:
        elf = None
    if elf is not None:
        assert isinstance(elf, Elf)
        with contextlib.suppress(*REFUSALS):
            read_symbols(elf)
    process = Process(System(), Files(), SymbolReader())
    process.start(read_elf(os.path.realpath(sys.executable)))
    opening = process.dlopen(str(path), process.main)
    assert opening.ok or opening.problems


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(share=st.floats(0, 1))
def test_a_file_cut_anywhere_is_survived(tmp_path: Path, specimen: bytes, share: float):
    survives(tmp_path, specimen[: int(len(specimen) * share)])


@FUZZ
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=6
    )
)
def test_changed_bytes_are_survived(tmp_path: Path, specimen: bytes, changes):
    content = bytearray(specimen)
    for place, data in changes:
        start = int(place * min(len(content), 4096))
        content[start : start + len(data)] = data
    survives(tmp_path, bytes(content))


@FUZZ
@given(content=st.binary(max_size=400))
def test_anything_after_the_magic_is_survived(tmp_path: Path, content: bytes):
    survives(tmp_path, b"\x7fELF\x02\x01\x01" + content)


@pytest.mark.heavy
def test_every_real_library_cut_at_fifty_places(tmp_path: Path):
    import random

    generator = random.Random(3)
    cache = os.environ.get("ENVDOCTOR_WHEELS", "")
    of_cuda = glob.glob(f"{cache}/torch-*/lib/python*/site-packages/*/*/lib/*.so*") if cache else []
    for library in [*real_libraries(), *of_cuda]:
        path = tmp_path / "libcut.so"
        shutil.copyfile(library, path)
        size = path.stat().st_size
        for place in sorted((generator.randrange(size) for _ in range(50)), reverse=True):
            os.truncate(path, place)
            is_survived(path)
