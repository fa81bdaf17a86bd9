"""The libraries tab: which library is opened for which, and a cursor that stays."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.events import Key
from textual.pilot import Pilot

from envdoctor.facts.libraries import LibraryResolution, Problem, ResolvedLibrary
from envdoctor.report import Report
from envdoctor.tui.contract import ReportReady
from envdoctor.tui.library_tree import Branch, branches
from envdoctor.tui.widgets.libraries import LibrariesTree, resolution_of
from envdoctor.tui.widgets.library_text import problem_lines
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled

REPORT = machines.read("missing_libcudart")


def library(name: str, *needed_by: str) -> ResolvedLibrary:
    return ResolvedLibrary(soname=name, path=f"/lib/{name}", needed_by=needed_by)


def outline(branch: Branch) -> dict[str, object]:
    return {
        branch.library.soname: [outline(one) for one in branch.below],
        **({"again": [one.soname for one in branch.again]} if branch.again else {}),
    }


def names(branch: Branch) -> list[str]:
    return [branch.library.soname, *(name for one in branch.below for name in names(one))]


def test_a_library_stands_below_the_first_that_needs_it() -> None:
    found = branches(
        [library("root"), library("a", "/lib/root"), library("b", "a"), library("c", "a", "b")]
    )
    assert [outline(one) for one in found] == [
        {"root": [{"a": [{"b": [], "again": ["c"]}, {"c": []}]}]}
    ]


def test_the_loaders_own_path_finds_the_resolved_library() -> None:
    needer = msgspec.structs.replace(library("a"), path="/usr/lib/a.1.2", named="/lib/x/a")
    (found,) = branches([needer, library("b", "/lib/x/a")])
    assert names(found) == ["a", "b"]


@given(st.lists(st.lists(st.integers(0, 7), max_size=4), max_size=8))
def test_every_library_stands_there_once(needs: list[list[int]]) -> None:
    libraries = [
        library(str(number), *(f"/lib/{other}" for other in needers))
        for number, needers in enumerate(needs)
    ]
    shown = [name for one in branches(libraries) for name in names(one)]
    assert sorted(shown) == sorted(one.soname for one in libraries)


def changed(report: Report) -> Report:
    """Another report of the same libraries."""
    return msgspec.structs.replace(report, created_at="2026-01-02T03:05:00+00:00")


def repaired(report: Report) -> Report:
    """libcudart is there again, at a place before the others."""
    resolution = resolution_of(report)
    assert resolution is not None
    others = tuple(one for one in resolution.libraries if one.soname != "libcudart.so.12")
    fixed = ResolvedLibrary(soname="libcudart.so.12", path="/lib/libcudart.so.12")
    value: LibraryResolution = msgspec.structs.replace(
        resolution, libraries=(fixed, *others), import_error=None
    )
    fact = {**report.facts["LibraryResolution"], "value": msgspec.to_builtins(value)}
    return msgspec.structs.replace(report, facts={**report.facts, "LibraryResolution": fact})


@pytest.mark.parametrize("change", [changed, repaired])
def test_the_cursor_stays_on_its_library(change: object) -> None:
    model = RecordedModel(REPORT)

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "3", *["down"] * 4)
        tree = pilot.app.screen.query_one(LibrariesTree)
        assert tree.chosen is not None
        key = tree.chosen.key
        assert key == "libtorch_cuda.so"
        model.tell(ReportReady(report=change(REPORT), final=True))  # type: ignore[operator]
        await settled(pilot)
        assert tree.chosen is not None
        assert tree.chosen.key == key
        assert "needed by: libtorch_python.so" in screen_text(pilot.app)

    play(model, steps, (120, 40))


def test_the_same_libraries_are_not_listed_anew() -> None:
    model = RecordedModel(REPORT)

    async def steps(pilot: Pilot[int]) -> None:
        tree = pilot.app.screen.query_one(LibrariesTree)
        before = tree.root.children[0]
        model.tell(ReportReady(report=changed(REPORT), final=True))
        await settled(pilot)
        assert tree.root.children[0] is before

    play(model, steps)


def test_dependencies_are_a_tree_that_enter_closes() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "3")
        seen = screen_text(pilot.app)
        assert "▼ ✓ libtorch_python.so" in seen
        assert "· also needs libc10.so" in seen
        await press(pilot, *["down"] * 3, "enter")
        assert "libc10.so" not in screen_text(pilot.app).partition("libtorch_python.so")[2]

    play(RecordedModel(REPORT), steps, (120, 40))


def test_the_slash_searches_a_library() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "5")
        # As one burst: the search is that of the tab that the first key has opened.
        for name, char in (("3", "3"), ("slash", "/"), *((one, one) for one in "torch")):
            pilot.app.post_message(Key(name, char))
        await settled(pilot)
        await press(pilot, *"_cuda")
        tree = pilot.app.screen.query_one(LibrariesTree)
        assert [str(node.label) for node in tree.root.children] == [
            "✓ libtorch_cuda.so  torch  RPATH"
        ]
        await press(pilot, "x")
        assert "no library has these words" in screen_text(pilot.app)
        await press(pilot, "escape")
        assert "▼ ✓ libtorch_python.so" in screen_text(pilot.app)
        assert pilot.app.focused is tree

    play(RecordedModel(REPORT), steps, (120, 40))


def test_while_the_examination_runs_it_says_not_yet() -> None:
    model = RecordedModel(None)
    without = machines.read("healthy_cpu")

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "3")
        model.tell(ReportReady(report=without, final=False))
        await settled(pilot)
        assert "not yet known" in screen_text(pilot.app)
        model.tell(ReportReady(report=without, final=True))
        await settled(pilot)
        assert "not looked at" in screen_text(pilot.app)

    play(model, steps)


def test_what_several_need_in_vain_is_one_line_of_all_of_them() -> None:
    problems = tuple(
        Problem(
            kind="unreadable", library="libc10.so", needed_by=one, detail="the file is cut short"
        )
        for one in ("/t/libtorch_cpu.so", "/t/libshm.so")
    )
    assert list(problem_lines(problems)) == [
        "✗ unreadable libc10.so, needed by libtorch_cpu.so, libshm.so: the file is cut short"
    ]
