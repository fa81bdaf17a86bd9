"""What the keys do, wherever they are pressed, and which ones are named."""

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, TabbedContent, TabPane

from envdoctor.api import Evidence, Fix
from envdoctor.findings import Finding
from envdoctor.report import Report
from envdoctor.tui.contract import CalibrationEnded, ReportReady
from envdoctor.tui.screens.detail import DetailScreen
from envdoctor.tui.screens.main import TABS, MainScreen
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled

REPORT = machines.read("broken_driver")


@pytest.fixture
def model() -> RecordedModel:
    return RecordedModel(REPORT)


def key_line(pilot: Pilot[int]) -> str:
    return screen_text(pilot.app).splitlines()[-1]


def with_root(**changes: object) -> Report:
    root: Finding = msgspec.structs.replace(REPORT.findings[0], **changes)
    return msgspec.structs.replace(REPORT, findings=(root, *REPORT.findings[1:]))


@pytest.mark.parametrize("number", range(1, 6))
def test_the_tabs_are_reached_from_the_detail(model: RecordedModel, number: int) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter", str(number))
        assert isinstance(pilot.app.screen, MainScreen)
        assert pilot.app.screen.query_one(TabbedContent).active == list(TABS)[number - 1]

    play(model, steps)


def test_a_focus_that_comes_late_changes_no_tab(model: RecordedModel) -> None:
    """Of two keys in quick succession the second counts, whatever the first still brings about."""

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", "4")
        tabs = pilot.app.screen.query_one(TabbedContent)
        focused = pilot.app.focused
        late = tabs.get_pane("findings")
        late.post_message(TabPane.Focused(late))
        tabs.post_message(TabbedContent.TabActivated(tabs, tabs.get_tab("findings")))
        await settled(pilot)
        assert tabs.active == "calibration"
        assert pilot.app.focused is focused

    play(model, steps)


def test_the_detail_looks_again_and_measures(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter", "r")
        assert model.asked[-1] == ("rerun", None)
        await press(pilot, "R")
        assert model.asked[-1] == ("rerun", ("driver-too-old",))
        await press(pilot, "m")
        assert model.asked[-1] == ("calibrate",)
        assert isinstance(pilot.app.screen, MainScreen)
        await press(pilot, "1", "enter", "x")
        assert model.asked[-1] == ("stop",)

    play(model, steps)


def test_stop_is_named_while_there_is_something_to_stop(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        assert "x Stop" not in key_line(pilot)
        await press(pilot, "m")
        for tab in "12345":
            await press(pilot, tab)
            assert "x Stop" in key_line(pilot)
            assert "q Quit" in key_line(pilot)
        await press(pilot, "1", "enter")
        assert "x Stop" in key_line(pilot)
        assert "q Quit" in key_line(pilot)
        model.tell(CalibrationEnded())
        await settled(pilot)
        assert "x Stop" not in key_line(pilot)

    play(model, steps)


def test_the_detail_tells_its_two_ways_to_look_again_apart(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter")
        assert "R Re-check" in key_line(pilot)
        assert "r Re-run" in key_line(pilot)
        assert "q Quit" in key_line(pilot)

    play(model, steps)


def test_the_slash_of_what_if_searches_a_gpu(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "5", "slash", *"h100")
        screen = pilot.app.screen
        assert screen.query_one(TabbedContent).active == "what-if"
        assert screen.query_one("#gpu-search", Input).value == "h100"
        await press(pilot, "escape")
        gpus = screen.query_one("#gpus", OptionList)
        assert pilot.app.focused is gpus
        assert gpus.option_count == len(model.known_gpus)

    play(model, steps)


@pytest.mark.parametrize("tab", "1345")
def test_one_check_again_is_that_of_the_root_cause_where_there_is_no_list(
    model: RecordedModel, tab: str
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", "down", tab, "R")

    play(model, steps)
    assert model.asked == [("rerun", ("driver-too-old",))]


@pytest.mark.parametrize(
    ("keys", "copied"),
    [
        (("c", "2"), "sudo one\nsudo two"),
        (("2", "c", "3"), "three"),
        (("enter", "c", "1", "enter"), "sudo one\nsudo two"),
        (("c", "4", "escape"), ""),
    ],
)
def test_several_fixes_are_copied_by_their_numbers(keys: tuple[str, ...], copied: str) -> None:
    fixes = (
        Fix(summary="ask whoever runs the machine"),
        Fix(summary="or do it", commands=("sudo one", "sudo two")),
        Fix(summary="or not", commands=("three",)),
    )

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, *keys)
        assert pilot.app.clipboard == copied

    play(RecordedModel(with_root(fixes=fixes)), steps)


def test_an_open_detail_shows_what_is_new_about_its_finding(model: RecordedModel) -> None:
    many = tuple(Evidence(label=f"line {n}", value="x", source="y") for n in range(60))
    changed = with_root(evidence=many, message="driver 999 is too old")

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter", "pagedown")
        body = pilot.app.screen.query_one("#detail")
        top = body.scroll_offset.y
        assert top > 0
        model.tell(ReportReady(report=changed, final=True))
        await settled(pilot)
        assert body.scroll_offset.y == top
        await press(pilot, "home")
        seen = screen_text(pilot.app)
        assert "driver 999 is too old" in seen
        assert "line 3: x" in seen
        assert isinstance(pilot.app.screen, DetailScreen)

    play(model, steps)


def test_a_detail_without_news_is_left_alone(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter", "tab")
        focused = pilot.app.focused
        model.tell(
            ReportReady(report=msgspec.structs.replace(REPORT, created_at="later"), final=True)
        )
        await settled(pilot)
        assert pilot.app.focused is focused

    play(model, steps)


@pytest.mark.parametrize(
    ("tab", "pane"), [("2", "#preview"), ("3", "#library-detail"), ("5", "#prediction")]
)
def test_every_pane_takes_the_keys(model: RecordedModel, tab: str, pane: str) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, tab, "tab")
        assert pilot.app.focused is pilot.app.screen.query_one(pane)

    play(model, steps)
