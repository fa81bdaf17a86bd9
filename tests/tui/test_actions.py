"""Actions by Pilot: re-run, target, save, open, help, colours, palette, quit."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot

from envdoctor.facts.python import Candidate
from envdoctor.report import Report
from envdoctor.tui.app import DoctorApp
from envdoctor.tui.contract import (
    CalibrationStarted,
    Failed,
    ReportReady,
    TargetsFound,
    WorkEnded,
)
from envdoctor.tui.screens.main import MainScreen
from tests.tui import machines
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled, toasts


def repaired(report: Report) -> Report:
    """The same machine after its root cause and the consequences are gone."""
    findings = tuple(one for one in report.findings if one.code == "ED503")
    return msgspec.structs.replace(report, findings=findings, exit_code=0)


@pytest.fixture
def model() -> RecordedModel:
    return RecordedModel(machines.read("broken_driver"))


def test_rerun_makes_a_repaired_finding_disappear(model: RecordedModel) -> None:
    model.after_rerun = repaired(machines.read("broken_driver"))

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        assert "ED201 driver-too-old" in screen_text(pilot.app)
        await press(pilot, "r")
        assert model.asked == [("rerun", None)]
        lines = [line for line in screen_text(pilot.app).splitlines() if "ED201" in line]
        assert all("is fixed" in line for line in lines)
        assert "✓ ED201 driver-too-old is fixed" in toasts(pilot.app)

    app = play(model, steps)
    assert app.exit_code == 0


def test_rerun_of_the_chosen_check(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "2", "down", "R")

    play(model, steps)
    assert model.asked == [("rerun", ("cuda-init",))]


def test_rerun_from_the_detail_says_that_the_finding_is_gone(model: RecordedModel) -> None:
    model.after_rerun = repaired(machines.read("broken_driver"))

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter", "R")
        assert "✓ ED201 driver-too-old is fixed" in screen_text(pilot.app).splitlines()[0]

    play(model, steps)
    assert ("rerun", ("driver-too-old",)) in model.asked


def test_switch_to_a_listed_target(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "t")
        assert "/usr/bin/python3  (`python3` on PATH, no torch)" in screen_text(pilot.app)
        await press(pilot, "down", "enter")

    play(model, steps)
    assert model.asked == [("find_targets",), ("switch_target", "/usr/bin/python3")]


def test_a_second_look_at_the_targets_keeps_the_line(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "t", "down")
        model.find_targets()
        await settled(pilot)
        await press(pilot, "enter")

    play(model, steps)
    assert model.asked[-1] == ("switch_target", "/usr/bin/python3")


def test_other_targets_keep_the_line_by_its_path(model: RecordedModel) -> None:
    more = Candidate(path="/new/python", origin="conda", torch_on_disk=None)

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "t", "down")
        known = pilot.app.state.targets  # type: ignore[attr-defined]
        model.tell(TargetsFound(targets=(more, *known)))
        await settled(pilot)
        await press(pilot, "enter")

    play(model, steps)
    assert model.asked[-1] == ("switch_target", "/usr/bin/python3")


def test_a_late_list_leaves_whoever_types_alone(model: RecordedModel) -> None:
    late = Candidate(path="/new/python", origin="conda", torch_on_disk=None)

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "t", "tab", *"/x/")
        model.tell(TargetsFound(targets=(late,)))
        await settled(pilot)
        await press(pilot, "y", "enter")

    play(model, steps)
    assert model.asked[-1] == ("switch_target", "/x/y")


def test_switch_to_a_typed_target(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "t", "tab", *"/x/y", "enter")

    play(model, steps)
    assert model.asked[-1] == ("switch_target", "/x/y")


@pytest.mark.parametrize(
    ("downs", "kind", "name"),
    [(0, "json", "report.json"), (1, "markdown", "report.md"), (2, "facts", "facts.json")],
)
def test_save(
    model: RecordedModel,
    downs: int,
    kind: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "s", *["down"] * downs, "enter")
        assert f"written to {tmp_path / name}" in toasts(pilot.app)

    play(model, steps)
    assert model.asked == [("save", kind, str(tmp_path / name))]


def test_save_under_another_name_of_the_home_folder(
    model: RecordedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "s", "tab", *"~/a.json", "enter")

    play(model, steps)
    assert model.asked == [("save", "json", str(tmp_path / "a.json"))]


def test_a_name_that_is_free_is_proposed(
    model: RecordedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("report.json", "report-2.json", "facts.json"):
        (tmp_path / name).touch()

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "s", "enter", "s", "down", "down", "enter")

    play(model, steps)
    assert [Path(str(asked[2])).name for asked in model.asked] == ["report-3.json", "facts-2.json"]


def test_a_file_is_replaced_only_after_a_second_enter(
    model: RecordedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").touch()

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "s", "tab", *"a.json", "enter")
        assert model.asked == []
        assert "exists; Enter once more replaces it" in screen_text(pilot.app)
        await press(pilot, "enter")

    play(model, steps, size=(120, 40))
    assert model.asked == [("save", "json", str(tmp_path / "a.json"))]


def test_a_click_on_a_kind_saves_nothing(
    model: RecordedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "s")
        await pilot.click("#kinds", offset=(5, 1))
        await settled(pilot)
        assert "report.md" in screen_text(pilot.app)
        assert model.asked == []
        await press(pilot, "enter")

    play(model, steps)
    assert model.asked == [("save", "markdown", str(tmp_path / "report.md"))]


def test_save_a_screenshot(
    model: RecordedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "s", "down", "down", "down", "enter")

    play(model, steps)
    svg = (tmp_path / "envdoctor.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg")
    assert "driver-too-old" in svg


def test_a_screenshot_that_cannot_be_written_says_why(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "s", "down", "down", "down", "tab", *"/none/a.svg", "enter")
        assert "cannot write" in toasts(pilot.app)
        assert "-o" not in toasts(pilot.app)

    play(model, steps)


def test_open_offers_the_files_of_the_folder(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "o")
        assert "facts.json" in screen_text(pilot.app)
        await press(pilot, "enter")

    play(model, steps)
    assert model.asked == [("find_files",), ("open", "facts.json")]


def test_open_by_path(model: RecordedModel) -> None:
    model.files = ()

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "o", *"/a.json", "enter")

    play(model, steps)
    assert model.asked == [("find_files",), ("open", "/a.json")]


def test_escape_leaves_a_dialog_without_asking_anything(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "s", "escape", "o", "escape", "question_mark", "escape")
        assert isinstance(pilot.app.screen, MainScreen)

    play(model, steps)
    assert model.asked == [("find_files",)]


def test_a_failure_of_the_model_is_said(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        model.tell(Failed(message="cannot read `x`"))
        await settled(pilot)
        assert "cannot read `x`" in toasts(pilot.app)

    play(model, steps)


def test_an_examination_that_failed_is_not_waited_for() -> None:
    model = RecordedModel(None)

    async def steps(pilot: Pilot[int]) -> None:
        assert "LOOKING" in screen_text(pilot.app)
        model.tell(Failed(message="cannot look"))
        model.tell(WorkEnded())
        await settled(pilot)
        seen = screen_text(pilot.app)
        assert "NO VERDICT: the examination did not come to its end" in seen
        assert "LOOKING" not in seen
        assert "nothing examined yet" in seen

    assert play(model, steps).exit_code == 3


def test_help_lists_the_keys(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "question_mark")
        assert "examine another interpreter" in screen_text(pilot.app)

    play(model, steps)


def test_dark_and_light(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        dark = pilot.app.theme
        await press(pilot, "d")
        assert pilot.app.theme != dark
        await press(pilot, "d")
        assert pilot.app.theme == dark

    play(model, steps)


def test_command_palette_knows_the_actions(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "ctrl+p", *"target")
        await pilot.pause(0.5)
        assert "examine another interpreter" in screen_text(pilot.app)

    play(model, steps)


@pytest.mark.parametrize(
    ("machine", "code"), [("broken_driver", 1), ("healthy_cpu", 0), ("two_gpus", 0)]
)
def test_quit_ends_with_the_reports_exit_code(machine: str, code: int) -> None:
    model = RecordedModel(machines.read(machine))

    async def steps(pilot: Pilot[int]) -> None:
        await pilot.press("q")

    assert play(model, steps).return_value == code
    assert model.closed


@pytest.mark.parametrize("keys", [(), ("s",), ("slash", "a"), ("enter",), ("ctrl+p",)])
def test_ctrl_c_leaves_from_everywhere(model: RecordedModel, keys: tuple[str, ...]) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, *keys)
        await pilot.press("ctrl+c")

    assert play(model, steps).return_value == 130
    assert model.closed


def test_resizing_breaks_nothing(model: RecordedModel) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        for size in ((200, 60), (20, 5), (80, 24)):
            for key in ("1", "2"):
                await pilot.resize_terminal(*size)
                await press(pilot, key)
        assert "ED201" in screen_text(pilot.app)

    play(model, steps)


def test_events_after_the_end_are_ignored(model: RecordedModel) -> None:
    async def body() -> None:
        app = DoctorApp(model)
        async with app.run_test() as pilot:
            await settled(pilot)
        model.tell(Failed(message="too late"))

    asyncio.run(body())


@pytest.mark.parametrize("keys", [("r",), ("2", "R"), ("t",), ("o",)])
def test_during_a_calibration_nothing_takes_its_place(
    model: RecordedModel, keys: tuple[str, ...]
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "m", *keys)
        assert "a calibration is going on; `x` stops it first" in toasts(pilot.app)
        assert isinstance(pilot.app.screen, MainScreen)

    play(model, steps)
    assert model.asked == [("calibrate",)]


@pytest.mark.parametrize("key", ["t", "o"])
def test_a_calibration_that_began_behind_a_dialog_is_not_lost(
    model: RecordedModel, key: str
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, key)
        model.tell(CalibrationStarted())
        await settled(pilot)
        await press(pilot, "enter")
        assert "`x` stops it first" in toasts(pilot.app)

    play(model, steps)
    assert len(model.asked) == 1


def test_one_check_waits_for_the_first_examination() -> None:
    model = RecordedModel(None)
    partial = ReportReady(report=machines.read("broken_driver"), final=False)

    async def steps(pilot: Pilot[int]) -> None:
        model.tell(partial)
        await settled(pilot)
        await press(pilot, "2", "R")
        assert "not finished" in toasts(pilot.app)

    play(model, steps)
    assert model.asked == []


def test_an_unfinished_report_is_not_saved_but_a_picture_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = RecordedModel(None)

    async def steps(pilot: Pilot[int]) -> None:
        model.tell(ReportReady(report=machines.read("broken_driver"), final=False))
        await settled(pilot)
        await press(pilot, "s", "enter")
        assert "only a screenshot can be saved now" in toasts(pilot.app)
        await press(pilot, "s", "down", "down", "down", "enter")

    play(model, steps)
    assert model.asked == []
    assert (tmp_path / "envdoctor.svg").exists()


def test_a_finding_of_another_target_is_not_called_gone(model: RecordedModel) -> None:
    other = machines.read("healthy_cpu")

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "enter")
        model.tell(ReportReady(report=other, final=True, source="other.json"))
        await settled(pilot)
        first = screen_text(pilot.app).splitlines()[0]
        assert "ED201 driver-too-old was found in another target or file" in first

    play(model, steps)
