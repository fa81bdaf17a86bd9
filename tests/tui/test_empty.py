"""Where there is nothing to show, every part says what to do next; and how long a measurement
takes."""

import msgspec
import pytest
from textual.pilot import Pilot

from envdoctor.findings import Verdict
from envdoctor.report import Report
from envdoctor.tui.state import Measuring, State, after
from envdoctor.tui.widgets.banner import body
from envdoctor.tui.widgets.calibration import left, not_measured
from envdoctor.tui.widgets.findings import none_found, nothing_known
from envdoctor.tui.widgets.libraries import says
from envdoctor.tui.widgets.status_bar import elapsed
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text
from tests.tui.test_calibration import progress

HEALTHY = machines.read("healthy_cpu")
AT_REST = State(examining=None)


def without(report: Report, *facts: str) -> Report:
    known = {name: fact for name, fact in report.facts.items() if name not in facts}
    return msgspec.structs.replace(report, facts=known, findings=(), calibration=None)


FOUND_NOTHING = without(HEALTHY, "LibraryResolution")
UNPROVEN = msgspec.structs.replace(FOUND_NOTHING, verdict=Verdict.UNPROVEN)
NO_TORCH = without(HEALTHY, "TorchRuntime")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (nothing_known(State()), "the probes are at work"),
        (nothing_known(AT_REST), "`r` looks"),
        (none_found(State(report=FOUND_NOTHING)), "so far"),
        (none_found(State(report=FOUND_NOTHING, final=True)), "`m` measures"),
        (none_found(State(report=FOUND_NOTHING, final=True, source="a.json")), "nothing found"),
        (none_found(State(report=UNPROVEN, final=True)), "`1` says what"),
        (not_measured(State()), "`m` measures once it has ended"),
        (not_measured(AT_REST), "`m` measures"),
        (not_measured(State(report=FOUND_NOTHING, final=True)), "`m` measures"),
        (not_measured(State(report=NO_TORCH, final=True)), "`1` says why"),
        (not_measured(State(report=HEALTHY, final=True, source="a.json")), "`t` examines"),
        (says(None, State(report=FOUND_NOTHING, final=True)), "`r` looks again"),
        (says(None, State(report=FOUND_NOTHING, final=True, source="a.json")), "`t` examines"),
        (str(body(AT_REST)[0].text), "`r` looks again"),
    ],
)
def test_the_next_step_is_said(said: str, expected: str) -> None:
    assert expected in said


def test_a_dialog_without_a_list_says_so() -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "t")
        assert "no interpreter was found here" in screen_text(pilot.app)
        await press(pilot, "escape", "o")
        assert "none lies in this folder" in screen_text(pilot.app)

    play(RecordedModel(HEALTHY, files=(), targets=()), steps)


@pytest.mark.parametrize(
    ("seconds", "planned", "said", "rest"),
    [
        (3.0, 0.0, "3 s", ""),
        (12.0, 40.0, "12 s of about 40 s", "about 28 s left"),
        (45.0, 40.0, "45 s, longer than the planned 40 s", ""),
    ],
)
def test_the_measurement_says_how_long_it_takes(
    seconds: float, planned: float, said: str, rest: str
) -> None:
    measuring = Measuring(since=100.0, planned_s=planned)
    assert elapsed(measuring, 100.0 + seconds) == said
    assert left(measuring, 100.0 + seconds) == rest


def test_the_plan_stays_known_while_it_is_carried_out() -> None:
    planned = msgspec.structs.replace(progress(None).progress, plan="the CPU; 40 s", planned_s=40.0)
    state = State()
    for event in (msgspec.structs.replace(progress(None), progress=planned), progress(100.0)):
        state = after(state, event)
    assert state.measuring is not None
    assert (state.measuring.plan, state.measuring.planned_s) == ("the CPU; 40 s", 40.0)
