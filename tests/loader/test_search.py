"""The search rules, each beside the real loader: same files mapped, same calls that fail."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from envdoctor.loader.elf import read_elf
from envdoctor.loader.ldcache import BadCache, read_cache
from envdoctor.loader.process import Process
from envdoctor.loader.search import CACHE, Files, System, expand, offers
from tests.conftest import require
from tests.loader.build import Workshop, prediction, truth

OLD_RPATH = "-Wl,--disable-new-dtags"
NEW_RUNPATH = "-Wl,--enable-new-dtags"


def same(program, names=(), variables=None):
    """The prediction, which must be the truth."""
    real, paper = truth(program, names, variables), prediction(program, names, variables)
    assert real.mapped, real.messages
    assert paper == type(paper)(real.opened, real.mapped, paper.messages), (real, paper)
    return paper


def two_leaves(workshop: Workshop) -> None:
    """libleaf.so in the folders `own` and `other`."""
    workshop.library("own/libleaf.so", source="int leaf(void) { return 1; }")
    workshop.library("other/libleaf.so", source="int leaf(void) { return 2; }")


def mapped_leaf(answer) -> str:
    (leaf,) = [path for path in answer.mapped if "libleaf" in path]
    return Path(leaf).parent.name


@pytest.mark.parametrize(
    ("dtags", "winner"), [(OLD_RPATH, "own"), (NEW_RUNPATH, "other")], ids=["RPATH", "RUNPATH"]
)
def test_ld_library_path_comes_after_rpath_and_before_runpath(workshop, dtags, winner):
    two_leaves(workshop)
    user = workshop.library(
        "libuser.so", needs=["own/libleaf.so"], flags=[dtags, "-Wl,-rpath,$ORIGIN/own"]
    )
    program = workshop.program()
    variables = {"LD_LIBRARY_PATH": str(workshop.folder / "other")}
    assert mapped_leaf(same(program, [str(user)], variables)) == winner


@pytest.mark.parametrize(
    ("dtags", "found"), [(OLD_RPATH, True), (NEW_RUNPATH, False)], ids=["RPATH", "RUNPATH"]
)
def test_rpath_is_inherited_and_runpath_is_not(workshop, dtags, found):
    two_leaves(workshop)
    workshop.library("own/libmiddle.so", needs=["own/libleaf.so"])
    user = workshop.library(
        "libuser.so", needs=["own/libmiddle.so"], flags=[dtags, "-Wl,-rpath,$ORIGIN/own"]
    )
    answer = same(workshop.program(), [str(user)])
    assert answer.opened == (found,)


def test_a_runpath_switches_off_the_rpath_of_those_above(workshop):
    two_leaves(workshop)
    workshop.library(
        "own/libmiddle.so", needs=["own/libleaf.so"], flags=[NEW_RUNPATH, "-Wl,-rpath,/nowhere"]
    )
    user = workshop.library(
        "libuser.so", needs=["own/libmiddle.so"], flags=[OLD_RPATH, "-Wl,-rpath,$ORIGIN/own"]
    )
    assert same(workshop.program(), [str(user)]).opened == (False,)


def test_the_programs_rpath_counts_for_what_it_opens(workshop):
    two_leaves(workshop)
    user = workshop.library("libuser.so", needs=["own/libleaf.so"])
    program = workshop.program(flags=[OLD_RPATH, "-Wl,-rpath,$ORIGIN/own"])
    assert mapped_leaf(same(program, [str(user)])) == "own"


def test_dlopen_by_name_uses_the_callers_rpath(workshop):
    two_leaves(workshop)
    program = workshop.program(flags=[NEW_RUNPATH, "-Wl,-rpath,$ORIGIN/own"])
    assert mapped_leaf(same(program, ["libleaf.so"])) == "own"
    variables = {"LD_LIBRARY_PATH": str(workshop.folder / "other")}
    assert mapped_leaf(same(program, ["libleaf.so"], variables)) == "other"


def test_what_is_loaded_answers_to_its_soname(workshop):
    two_leaves(workshop)
    user = workshop.library("libuser.so", needs=["own/libleaf.so"])
    first = str(workshop.folder / "other" / "libleaf.so")
    assert mapped_leaf(same(workshop.program(), [first, str(user)])) == "other"


def test_one_file_under_two_names_is_loaded_once(workshop):
    workshop.library("own/libleaf.so")
    (workshop.folder / "alias").mkdir()
    os.link(workshop.folder / "own/libleaf.so", workshop.folder / "alias/libother.so")
    names = [str(workshop.folder / "own/libleaf.so"), str(workshop.folder / "alias/libother.so")]
    answer = same(workshop.program(), names)
    assert sum("lib" in Path(path).parent.name for path in answer.mapped) <= len(answer.mapped)
    assert sum(Path(path).name in ("libleaf.so", "libother.so") for path in answer.mapped) == 1


def test_ld_preload_wins_and_a_missing_one_is_left_out(workshop):
    two_leaves(workshop)
    user = workshop.library("libuser.so", needs=["own/libleaf.so"])
    other = workshop.folder / "other" / "libleaf.so"
    variables = {"LD_PRELOAD": f"{other} /nowhere/libmissing.so"}
    assert mapped_leaf(same(workshop.program(), [str(user)], variables)) == "other"


def test_hwcaps_folders_come_first(workshop):
    two_leaves(workshop)
    levels = [level for level in ("x86-64-v2",) if "sse4_2" in Path("/proc/cpuinfo").read_text()]
    require(bool(levels), "a processor of level x86-64-v2")
    workshop.library("own/glibc-hwcaps/x86-64-v2/libleaf.so", source="int leaf(void){return 3;}")
    program = workshop.program(flags=[NEW_RUNPATH, "-Wl,-rpath,$ORIGIN/own"])
    assert mapped_leaf(same(program, ["libleaf.so"])) == "x86-64-v2"


def test_an_empty_entry_is_the_current_folder(workshop, monkeypatch):
    two_leaves(workshop)
    monkeypatch.chdir(workshop.folder / "other")
    assert mapped_leaf(same(workshop.program(), ["libleaf.so"], {"LD_LIBRARY_PATH": ":/x"})) == (
        "other"
    )


def test_a_file_for_another_machine_is_passed_over_and_a_broken_one_is_fatal(workshop):
    two_leaves(workshop)
    foreign = workshop.folder / "foreign" / "libleaf.so"
    foreign.parent.mkdir()
    data = bytearray((workshop.folder / "own/libleaf.so").read_bytes())
    data[18:20] = (183).to_bytes(2, "little")
    foreign.write_bytes(data)
    path = f"{foreign.parent}:{workshop.folder / 'other'}"
    program = workshop.program()
    assert mapped_leaf(same(program, ["libleaf.so"], {"LD_LIBRARY_PATH": path})) == "other"
    for content in (b"", b"no ELF file\n" * 20, bytes(data[:40])):
        foreign.write_bytes(content)
        assert same(program, ["libleaf.so"], {"LD_LIBRARY_PATH": path}).opened == (False,)


def test_a_failed_dlopen_leaves_nothing_behind(workshop):
    two_leaves(workshop)
    workshop.library("libgone.so")
    user = workshop.library(
        "libuser.so",
        needs=["own/libleaf.so", "libgone.so"],
        flags=[OLD_RPATH, "-Wl,-rpath,$ORIGIN/own"],
    )
    (workshop.folder / "libgone.so").unlink()
    answer = same(workshop.program(), [str(user)])
    assert answer.opened == (False,)
    assert not any("libleaf" in path for path in answer.mapped)
    assert answer.messages[0].startswith("libgone.so: cannot open shared object file")


def test_missing_version_node(workshop):
    source = "int leaf(void) { return 1; }"
    workshop.library("own/libleaf.so", source=source, versions="V_1 { leaf; }; V_2 { other; };")
    user = workshop.library(
        "libuser.so",
        source="int leaf(void); int use(void) { return leaf(); }",
        needs=["own/libleaf.so"],
        flags=[OLD_RPATH, "-Wl,-rpath,$ORIGIN/own"],
    )
    program = workshop.program()
    assert same(program, [str(user)]).opened == (True,)
    workshop.library("own/libleaf.so", source=source, versions="V_9 { leaf; };")
    answer = same(program, [str(user)])
    assert answer.opened == (False,)
    assert "version `V_1' not found" in answer.messages[0]


def test_missing_symbol_and_the_global_scope(workshop):
    user = workshop.library("libuser.so", source="int far(void); int use(void) { return far(); }")
    far = workshop.library("libfar.so", source="int far(void) { return 1; }")
    program = workshop.program()
    answer = same(program, [str(user)])
    assert answer.opened == (False,)
    assert "undefined symbol: far" in answer.messages[0]
    assert same(program, [str(far), str(user)]).opened == (True, False)
    assert same(program, [f"+{far}", str(user)]).opened == (True, True)


def test_a_weak_symbol_may_be_absent(workshop):
    source = "int far(void) __attribute__((weak)); int use(void) { return far ? far() : 0; }"
    user = workshop.library("libuser.so", source=source)
    assert same(workshop.program(), [str(user)]).opened == (True,)


def test_a_library_without_versions_satisfies_a_versioned_need(workshop):
    source = "int leaf(void) { return 1; }"
    workshop.library("own/libleaf.so", source=source, versions="V_1 { leaf; };")
    user = workshop.library(
        "libuser.so",
        source="int leaf(void); int use(void) { return leaf(); }",
        needs=["own/libleaf.so"],
        flags=[OLD_RPATH, "-Wl,-rpath,$ORIGIN/own"],
    )
    workshop.library("own/libleaf.so", source=source)
    assert same(workshop.program(), [str(user)]).opened == (True,)


def test_origin_lib_and_platform_are_expanded():
    system = System(lib="lib/x86_64-linux-gnu")
    assert expand("$ORIGIN/../$LIB:${ORIGIN}x/$PLATFORM", "/a/b", system) == (
        "/a/b/../lib/x86_64-linux-gnu:/a/bx/x86_64"
    )


def test_the_cache_says_what_ldconfig_says():
    ldconfig = next((p for p in ("/sbin/ldconfig", "/usr/sbin/ldconfig") if os.path.exists(p)), "")
    require(bool(ldconfig), "ldconfig")
    listing = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
    machine = read_elf(os.path.realpath("/proc/self/exe")).machine
    cache = read_cache("/etc/ld.so.cache", machine)
    rows = [
        line.split(" => ") for line in listing.splitlines() if "x86-64" in line and "=>" in line
    ]
    require(bool(rows), "an x86-64 cache")
    for left, path in rows:
        assert path in cache.all(left.split()[0])


def test_the_real_loader_with_a_cache_of_our_own(workshop):
    """A copy of the loader whose cache path is replaced by a shorter one."""
    ldconfig = next((p for p in ("/sbin/ldconfig", "/usr/sbin/ldconfig") if os.path.exists(p)), "")
    require(bool(ldconfig), "ldconfig")
    two_leaves(workshop)
    original = read_elf(str(workshop.program())).interpreter
    assert original is not None
    data = Path(original).read_bytes()
    require(data.count(b"/etc/ld.so.cache\0") == 1, "a loader with the usual cache path")
    cache = Path(tempfile.gettempdir()) / f"e{os.getpid() % 100000}"
    name = os.fsencode(cache)
    require(len(name) <= 16, "a short temporary folder")
    loader = workshop.folder / "ld.so"
    loader.write_bytes(data.replace(b"/etc/ld.so.cache", name.ljust(16, b"\0")))
    loader.chmod(0o755)
    config = workshop.folder / "conf"
    config.write_text(f"{workshop.folder / 'own'}\ninclude /etc/ld.so.conf\n")
    try:
        command = [ldconfig, "-C", str(cache), "-f", str(config)]
        subprocess.run(command, check=True, capture_output=True)
        program = workshop.program(flags=[f"-Wl,--dynamic-linker={loader}"])
        assert mapped_leaf(truth(program, ["libleaf.so"])) == "own"
        system = System(cache=read_cache(str(cache), read_elf(str(program)).machine))
        process = Process(system, Files())
        process.start(read_elf(str(program)))
        met = offers("libleaf.so", process.main, process.main, system, process.files)
        path, place = next(iter(met))
        assert (Path(path).parent.name, place.rule) == ("own", CACHE)
    finally:
        cache.unlink()


def test_a_damaged_cache_is_reported_not_trusted(tmp_path):
    path = tmp_path / "ld.so.cache"
    data = Path("/etc/ld.so.cache").read_bytes()
    for cut in (10, 60, len(data) // 2):
        path.write_bytes(data[:cut])
        with pytest.raises(BadCache):
            read_cache(str(path), 62)
    assert read_cache(str(tmp_path / "none"), 62).all("libc.so.6") == ()
