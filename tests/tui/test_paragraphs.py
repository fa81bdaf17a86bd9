"""Texts that wrap: commands hang, messages are cut, fixes never are."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content
from textual.pilot import Pilot

from envdoctor.api import Fix
from envdoctor.tui.widgets.paragraphs import Paragraph, Paragraphs
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text

COMMAND = "pip install --force-reinstall --no-deps nvidia-cuda-runtime-cu12==12.4.127"


def test_the_lines_after_the_first_hang() -> None:
    text = Paragraph(text=Content(COMMAND), first="  $ ", hang=6)
    assert [line.plain for line in text.lines(40)] == [
        "  $ pip install --force-reinstall",
        "      --no-deps",
        "      nvidia-cuda-runtime-cu12==12.4.127",
    ]


def test_a_figure_stays_with_its_unit() -> None:
    text = Content.assemble("its default is ", ("400 W", "bold"), " and 95 % of 20 s")
    assert [line.plain for line in Paragraph(text=text).lines(18)] == [
        "its default is",
        "400 W and 95 % of",
        "20 s",
    ]


def test_the_first_line_is_as_wide_as_the_pane() -> None:
    text = Paragraph(text=Content("bar of twenty cells: so fast"), hang=12)
    assert [line.plain for line in text.lines(24)] == ["bar of twenty cells: so", " " * 12 + "fast"]


def test_a_text_that_is_cut_says_so() -> None:
    text = Paragraph(text=Content("one two three four five six"), most=2)
    assert [line.plain for line in text.lines(10)] == ["one two", "three fou…"]
    assert [line.plain for line in text.lines(40)] == ["one two three four five six"]


@given(st.text(alphabet="ab \n", max_size=60), st.integers(1, 30), st.integers(0, 4))
def test_no_line_is_wider_than_the_pane(text: str, width: int, hang: int) -> None:
    shown = Paragraphs([Paragraph(text=Content(text), hang=hang)]).at(width + hang)
    assert all(len(line) <= width + hang for line in shown.plain.split("\n"))
    assert "".join(shown.plain.split()) == "".join(text.split())


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_long_message_leaves_the_whole_fix_in_the_banner(size: tuple[int, int]) -> None:
    report = machines.read("broken_driver")
    commands = (f"{COMMAND} --index-url https://download.pytorch.org/whl/cu124", "the-last-command")
    long = msgspec.structs.replace(
        report.findings[0],
        message="so it goes on and on " * 40,
        fixes=(Fix(summary="repair what is broken " * 5, commands=commands),),
    )
    model = RecordedModel(msgspec.structs.replace(report, findings=(long,)))

    async def steps(pilot: Pilot[int]) -> None:
        seen = screen_text(pilot.app)
        assert "$ the-last-command" in seen
        message = seen.partition("BROKEN")[2].partition("fix:")[0]
        assert "…" in message
        assert message.count("so it goes") < 20
        assert "PyTorch" in seen
        await press(pilot, "2")

    play(model, steps, size)


def test_the_preview_has_the_fix_before_the_evidence() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        preview = screen_text(pilot.app).partition("✗ error ED201")[2]
        assert "$ sudo apt install nvidia-driver-535-server" in preview
        assert preview.index("fix 1: update") < preview.index("evidence")

    play(RecordedModel(machines.read("broken_driver")), steps, (80, 48))
