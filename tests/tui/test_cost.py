"""What turns on the screen is drawn anew alone: nothing else is laid out again."""

from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Sparkline

from envdoctor.events import ProbeEvent
from envdoctor.tui.contract import ExaminationStarted, ProbeChanged
from envdoctor.tui.widgets.probes import ProbeList
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled
from tests.tui.test_calibration import progress


def layouts_of(screen: Screen[object]) -> list[object]:
    """Grows by one whenever the screen is laid out."""
    seen: list[object] = []
    screen.screen_layout_refresh_signal.subscribe(screen, seen.append)
    return seen


async def see_changes(pilot: Pilot[int], number: int) -> None:
    """Wait until the screen has changed so many times by itself."""
    before = screen_text(pilot.app)
    while number:
        await pilot.pause(0.02)
        now = screen_text(pilot.app)
        number -= now != before
        before = now


def test_spinners_turn_without_a_layout() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        seen = layouts_of(pilot.app.screen)
        await see_changes(pilot, 3)
        assert seen == []

    play(RecordedModel(None), steps)


def test_rates_settle_without_a_layout() -> None:
    model = RecordedModel(machines.read("healthy_cpu"))

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "m")
        model.tell(progress(100.0))
        await settled(pilot)
        seen = layouts_of(pilot.app.screen)
        for rate in (200.0, 300.0):
            model.tell(progress(rate))
            await settled(pilot)
        assert "300 images/s" in screen_text(pilot.app)
        assert seen == []

    play(model, steps)


def test_a_settled_rate_looks_settled() -> None:
    model = RecordedModel(machines.read("healthy_cpu"))

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "m")
        for rate in (1000.0, 1001.0, 999.0):
            model.tell(progress(rate))
        await settled(pilot)
        bars = pilot.app.screen.query_one(Sparkline).region
        line = screen_text(pilot.app).splitlines()[bars.y][bars.x : bars.right]
        assert set(line[len(line) // 2 :].strip("│ ")) <= set("▇█")

    play(model, steps)


def test_the_probes_rest_while_nobody_sees_them() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        timer = pilot.app.screen.query_one(ProbeList)._timer
        assert timer._active.is_set()
        await press(pilot, "2")
        assert not timer._active.is_set()
        await press(pilot, "1")
        assert timer._active.is_set()

    play(RecordedModel(None), steps)


def test_a_short_screen_leaves_out_probes_that_took_no_time() -> None:
    model = RecordedModel(machines.read("two_gpus"))

    async def steps(pilot: Pilot[int]) -> None:
        model.tell(ExaminationStarted(what="examining"))
        quick = ProbeEvent(probe="import torch", state="finished", seconds=0.5)
        slow = ProbeEvent(probe="slow disk", state="finished", seconds=3.0)
        blind = ProbeEvent(probe="nvml", state="unknown", detail="no answer", seconds=0.1)
        for event in (quick, slow, blind):
            model.tell(ProbeChanged(event=event))
        await settled(pilot)
        short = screen_text(pilot.app)
        assert "✓ slow disk 3.0 s" in short
        assert "nvml 0.1 s  no result: no answer" in short
        assert "import torch" not in short
        await pilot.resize_terminal(120, 40)
        await settled(pilot)
        assert "✓ import torch 0.5 s" in screen_text(pilot.app)

    play(model, steps)
