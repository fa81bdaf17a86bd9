"""The list of findings keeps what its user did, whatever reports come."""

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Tree

from envdoctor.report import Report
from envdoctor.tui.contract import ReportReady
from envdoctor.tui.screens.detail import DetailScreen
from envdoctor.tui.widgets.findings import FindingsPane
from envdoctor.tui.widgets.findings_tree import FindingsTree, Row
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled

REPORT = machines.read("broken_driver")


@pytest.fixture
def model() -> RecordedModel:
    return RecordedModel(REPORT)


def tree_of(pilot: Pilot[int]) -> FindingsTree:
    return pilot.app.screen.query_one(FindingsPane).listed


def chosen(pilot: Pilot[int]) -> Row:
    row = tree_of(pilot).chosen
    assert row is not None
    return row


async def next_report(pilot: Pilot[int], model: RecordedModel, report: Report = REPORT) -> None:
    """Another one, of another moment: an equal one would change nothing."""
    shown = pilot.app.state.report  # type: ignore[attr-defined]
    later = msgspec.structs.replace(report, created_at=f"later than {shown.created_at}")
    model.tell(ReportReady(report=later, final=True))
    await settled(pilot)


async def go_to(pilot: Pilot[int], key: str) -> None:
    for _ in range(30):
        if chosen(pilot).key == key:
            return
        await press(pilot, "down")
    raise AssertionError(f"no line {key}")


def test_enter_on_a_cause_leaves_its_consequences_open(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", "enter")
        assert isinstance(pilot.app.screen, DetailScreen)
        await press(pilot, "escape")
        assert "ED212 cuda-init-failed" in screen_text(pilot.app)

    play(model, steps)


def test_enter_on_a_topic_closes_and_opens_it(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        await go_to(pilot, "topic container")
        await press(pilot, "enter")
        assert "shm-too-small" not in screen_text(pilot.app)
        await press(pilot, "enter")
        assert "shm-too-small" in screen_text(pilot.app)

    play(model, steps)


def test_what_the_user_closed_and_opened_stays_so(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        await go_to(pilot, "topic container")
        await press(pilot, "enter")
        await go_to(pilot, "passed")
        await press(pilot, "enter")
        await next_report(pilot, model)
        seen = screen_text(pilot.app)
        assert "shm-too-small" not in seen
        assert "✓ python: damaged-install" in seen

    play(model, steps, (120, 40))


@pytest.mark.parametrize("key", ["passed", "skipped", "topic container", "probes", "ED212"])
def test_the_cursor_stays_on_any_line_that_the_user_chose(model: RecordedModel, key: str) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        await go_to(pilot, key)
        await next_report(pilot, model)
        assert chosen(pilot).key == key
        await press(pilot, "1")
        model.tell(ReportReady(report=REPORT, final=True))
        await settled(pilot)
        assert chosen(pilot).key == key

    play(model, steps)


def test_a_reader_is_not_scrolled_away(model: RecordedModel) -> None:
    many = tuple(
        msgspec.structs.replace(REPORT.findings[-1], id=f"ED503:{number}") for number in range(40)
    )
    long = msgspec.structs.replace(REPORT, findings=(*REPORT.findings, *many))

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        await next_report(pilot, model, long)
        await press(pilot, *["down"] * 25, *["up"] * 3)
        top, key = tree_of(pilot).scroll_offset.y, chosen(pilot).key
        assert top > 0
        await next_report(pilot, model, long)
        assert (tree_of(pilot).scroll_offset.y, chosen(pilot).key) == (top, key)

    play(model, steps)


def test_the_first_topic_is_in_view(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        assert tree_of(pilot).scroll_offset.y == 0
        assert "▼ NVIDIA driver and GPUs" in screen_text(pilot.app)

    play(model, steps)


def test_the_preview_scrolls_by_keyboard_and_stays(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", "tab")
        assert pilot.app.focused is pilot.app.screen.query_one("#preview")
        await press(pilot, "end")
        assert "note: CUDA 12.x runs" in screen_text(pilot.app)
        await next_report(pilot, model)
        assert "note: CUDA 12.x runs" in screen_text(pilot.app)

    play(model, steps)


def test_a_click_on_a_finding_opens_it_and_closes_nothing(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        await pilot.click("#findings-tree", offset=(10, 1))
        await settled(pilot)
        assert isinstance(pilot.app.screen, DetailScreen)
        await press(pilot, "escape")
        tree: Tree[Row] = tree_of(pilot)
        assert tree.root.children[0].children[0].is_expanded

    play(model, steps)
