"""Several targets side by side: the table of verdicts, and what it opens."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import TabbedContent

from envdoctor.report import Report
from envdoctor.tui.contract import ExaminationStarted, ReportReady, TargetChanged, TargetState
from envdoctor.tui.state import State, after
from envdoctor.tui.summary import summary_of
from tests.tui import machines
from tests.tui.live import Ear, live_model, wait_until
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled, toasts


def report_of(name: str) -> Report:
    """The report of a machine, as if that were an interpreter of its name."""
    report = machines.read(name)
    assert report.target is not None
    return replace(report, target=replace(report.target, path=f"/opt/{name}/bin/python"))


def row(name: str, *, is_shown: bool = False, **told: object) -> TargetChanged:
    told = {"phase": "done", "report": report_of(name), "asked": True, **told}
    target = TargetState(key=f"target {name}", name=f"./{name}", **told)  # type: ignore[arg-type]
    return TargetChanged(target=target, is_shown=is_shown)


def rows(*names: str) -> list[TargetChanged]:
    """What is told of these machines, were they targets, of one that is examined, and of one that
    is none; the first is shown."""
    done = [row(name, is_shown=number == 0) for number, name in enumerate(names)]
    refused = {"phase": "refused", "report": None, "reason": "`./no-such` cannot be used"}
    return [
        *done,
        row("import_hangs", phase="looking", report=None),
        row("driver_silent", **refused),
    ]


@pytest.fixture
def model() -> RecordedModel:
    return RecordedModel(machines.read("broken_driver"))


async def told(pilot: Pilot[int], model: RecordedModel) -> None:
    for one in rows("broken_driver", "healthy_cpu"):
        model.tell(one)
    await press(pilot, "6")


def test_the_table_has_a_verdict_a_line_and_nothing_is_measured_meanwhile(
    model: RecordedModel,
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await told(pilot, model)
        lines = screen_text(pilot.app).splitlines()
        top = next(n for n, line in enumerate(lines) if "root cause" in line)
        assert [line[:4] + line[16:].split()[0] for line in lines[top + 1 : top + 5]] == [
            "▶ ✗ /opt/broken_driver/bin/python",
            "  ✓ /opt/healthy_cpu/bin/python",
            "  … ./import_hangs",
            "  ✗ ./driver_silent",
        ]
        await press(pilot, "m")
        assert ("calibrate",) not in model.asked
        assert "the other targets are still examined" in toasts(pilot.app)

    play(model, steps, (120, 40))


def test_enter_shows_what_is_examined(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await told(pilot, model)
        await press(pilot, "down", "down", "enter")
        assert "its examination is not finished yet" in toasts(pilot.app)
        await press(pilot, "down", "enter")
        assert "`./no-such` cannot be used" in toasts(pilot.app)
        assert pilot.app.screen.query_one(TabbedContent).active == "targets"
        await press(pilot, "up", "up", "enter")
        assert [one for one in model.asked if one[0] == "show"] == [("show", "target healthy_cpu")]
        assert pilot.app.screen.query_one(TabbedContent).active == "overview"

    play(model, steps)


def test_copy_takes_the_fix_of_the_target_under_the_cursor() -> None:
    model = RecordedModel(machines.read("healthy_cpu"))

    async def steps(pilot: Pilot[int]) -> None:
        for one in rows("healthy_cpu", "missing_libcudart"):
            model.tell(one)
        await press(pilot, "6", "c")
        assert "no command to copy" in toasts(pilot.app)
        await press(pilot, "down", "c", "1")
        assert "pip install" in pilot.app.clipboard

    play(model, steps)


def test_the_exit_code_is_that_of_the_worst(model: RecordedModel) -> None:
    model.report = machines.read("healthy_cpu")

    async def steps(pilot: Pilot[int]) -> None:
        model.tell(row("healthy_cpu", is_shown=True))
        await settled(pilot)
        assert pilot.app.exit_code == 0  # type: ignore[attr-defined]
        model.tell(row("import_hangs", phase="looking", report=None))
        await settled(pilot)
        assert pilot.app.exit_code == 3  # type: ignore[attr-defined]
        model.tell(row("broken_driver"))
        await settled(pilot)
        assert pilot.app.exit_code == 1  # type: ignore[attr-defined]

    app = play(model, steps)
    said = summary_of(app.state)
    assert said.count("envdoctor: ") == 3
    assert "./broken_driver\nenvdoctor: broken - " in said


def test_the_default_target_and_the_same_by_its_path_are_one_row() -> None:
    report = report_of("healthy_cpu")
    state = State()
    for key in ("target ", "target /opt/healthy_cpu/bin/python"):
        target = TargetState(key=key, name="x", phase="done", report=report)
        state = after(state, TargetChanged(target=target, is_shown=True))
    assert [one.key for one in state.beside] == ["target /opt/healthy_cpu/bin/python"]
    assert state.shown_target == "target /opt/healthy_cpu/bin/python"


def test_the_table_outlives_a_change_of_what_is_shown() -> None:
    state = State()
    for event in (*rows("healthy_cpu"), ExaminationStarted(what="examining another")):
        state = after(state, event)
    assert len(state.beside) == 3
    assert state.report is None


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def empty(tmp_path: Path) -> str:
    """An environment without a torch."""
    folder = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder)


def test_all_are_examined_one_after_the_other_and_shown_again(ear: Ear, empty: str) -> None:
    model = live_model(others=[empty, "/no/such/python"])
    try:
        model.start(ear)
        wait_until(lambda: len(ear.state.beside) == 3 and not ear.state.unfinished, "all examined")
        state = ear.state
        assert [one.phase for one in state.beside] == ["done", "done", "refused"]
        assert all(one.asked for one in state.beside)
        assert state.shown_target == f"target {sys.executable}"
        assert "/no/such/python" in state.beside[2].reason
        since = len(ear.events)
        model.show(f"target {empty}")
        shown = ear.wait(ReportReady, lambda event: event.final, since=since)
        assert shown.report.verdict.value == "broken"
        wait_until(lambda: ear.state.shown_target == f"target {empty}", "shown")
    finally:
        model.close()


def test_where_the_first_is_none_the_next_is_shown(ear: Ear) -> None:
    model = live_model(python="/no/such/python", others=[sys.executable])
    try:
        model.start(ear)
        wait_until(lambda: ear.state.shown_target == f"target {sys.executable}", "shown")
        assert ear.state.report is not None
        assert [one.phase for one in ear.state.beside] == ["refused", "done"]
    finally:
        model.close()
