"""The live model on this machine: real probes, real files, real children."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from envdoctor.api import Driver, Interpreter, Observed, Snapshot, TorchRuntime
from envdoctor.facts.calibration import Calibration, Conditions
from envdoctor.plugins import Where
from envdoctor.tui.contract import (
    CalibrationEnded,
    CalibrationProgressed,
    ExaminationStarted,
    Failed,
    Predicted,
    ProbeChanged,
    ReportReady,
    Saved,
    TargetsFound,
    WorkEnded,
)
from envdoctor.tui.model import LiveModel
from envdoctor.tui.rerun import only_for, with_calibration_of
from tests.support.patients import empty_patient
from tests.tui import machines
from tests.tui.live import Ear, live_model


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def live(ear: Ear) -> Iterator[LiveModel]:
    model = live_model()
    model.start(ear)
    yield model
    model.close()


def test_it_examines_and_tells_probes_and_partial_reports(live: LiveModel, ear: Ear) -> None:
    report = ear.final().report
    assert isinstance(ear.events[0], ExaminationStarted)
    assert {event.event.probe for event in ear.events if isinstance(event, ProbeChanged)}
    kinds = [event.final for event in ear.events if isinstance(event, ReportReady)]
    assert kinds == sorted(kinds)
    assert report.target is not None


def test_a_measurement_that_follows_the_examination_begins(ear: Ear) -> None:
    """The examination ends its own children; the worker of the measurement is none of them."""
    model = live_model(static=False, calibrate=True, budget_s=5.0)
    model.start(ear)
    try:
        ear.wait(CalibrationProgressed)
    finally:
        model.close()
    assert not [one for one in ear.events if isinstance(one, CalibrationEnded)]


def test_rerun_of_one_check_looks_only_at_what_it_needs(live: LiveModel, ear: Ear) -> None:
    before = ear.final().report
    first = len(ear.events)
    live.rerun(("driver-not-loaded",))
    ear.final(since=first)
    looked = {event.event.probe for event in ear.events[first:] if isinstance(event, ProbeChanged)}
    assert "driver" in looked
    assert "installed files" not in looked
    after = [event for event in ear.events if isinstance(event, ReportReady)][-1].report
    assert after.facts.keys() == before.facts.keys()
    assert [one.id for one in after.findings] == [one.id for one in before.findings]


def test_only_for_keeps_all_probes_of_the_target_or_none(live: LiveModel, ear: Ear) -> None:
    ear.final()
    loaded = live._ready_session().loaded
    check = next(one for one in loaded.checks if any(n.kind is Driver for n in one.needs))
    names = {probe.name for probe in only_for(loaded, [check.name]).probes}
    assert names
    assert names < {probe.name for probe in loaded.probes}
    target = {probe.name for probe in loaded.probes if probe.where is Where.TARGET}
    assert target <= names or target.isdisjoint(names)
    assert not only_for(loaded, []).probes


def test_a_repaired_target_loses_its_finding(tmp_path: Path, ear: Ear) -> None:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    model = live_model(python=str(folder))
    model.start(ear)
    broken = ear.final().report
    assert "torch-not-installed" in [one.name for one in broken.findings]
    first = len(ear.events)
    torch = next(folder.glob("lib/python3*/site-packages")) / "torch"
    torch.mkdir()
    (torch / "__init__.py").touch()
    (torch / "version.py").write_text("__version__ = '2.6.0+cpu'\ncuda = None\n")
    model.rerun()
    ear.final(since=first)
    repaired = [event for event in ear.events if isinstance(event, ReportReady)][-1].report
    assert "torch-not-installed" not in [one.name for one in repaired.findings]
    model.close()


def test_switch_target(live: LiveModel, ear: Ear, tmp_path: Path) -> None:
    ear.final()
    live.switch_target(str(empty_patient(tmp_path / "other").root))
    ear.wait(ReportReady, lambda event: event.final and examines(event, "other/bin/python"))


def examines(event: ReportReady, end_of_path: str) -> bool:
    target = event.report.target
    return target is not None and target.path.endswith(end_of_path)


def test_a_target_that_is_none_is_refused_and_the_one_before_stays(
    live: LiveModel, ear: Ear
) -> None:
    ear.final()
    ear.wait(WorkEnded)
    shown, first = ear.state.report, len(ear.events)
    live.switch_target("/nowhere")
    assert "/nowhere" in ear.wait(Failed, since=first).message
    ear.wait(WorkEnded, since=first)
    state = ear.state
    assert (state.final, state.busy) == (True, False)
    assert state.report is not None
    assert shown is not None
    assert state.report.target == shown.target
    first = len(ear.events)
    live.rerun()
    assert examines(ear.final(since=first), Path(sys.executable).name)


def test_open_a_report_and_save_it(ear: Ear, tmp_path: Path) -> None:
    path = machines.file_of("broken_driver")
    model = live_model(path=str(path))
    model.start(ear)
    event = ear.final()
    assert event.source == str(path)
    assert event.report.stack.driver_release == "470.82.01"
    for kind, name in (("json", "a.json"), ("markdown", "a.md"), ("facts", "facts.json")):
        model.save(kind, str(tmp_path / name), event.report)
        ear.wait(Saved, lambda event, name=name: event.path.endswith(name))  # type: ignore[misc]
    saved = json.loads((tmp_path / "a.json").read_text())
    assert saved["verdict"] == event.report.verdict.value
    assert (tmp_path / "a.md").read_text().startswith(f"# envdoctor: {saved['verdict']}\n")
    assert "Driver" in json.loads((tmp_path / "facts.json").read_text())["facts"]
    model.calibrate()
    assert "recorded" in ear.wait(Failed).message
    model.close()


@pytest.mark.parametrize("ask", ["open", "save"])
def test_what_cannot_be_done_is_told(live: LiveModel, ear: Ear, tmp_path: Path, ask: str) -> None:
    report = ear.final().report
    missing = str(tmp_path / "none" / "a.json")
    if ask == "open":
        live.open(missing)
    else:
        live.save("json", missing, report)
    message = ear.wait(Failed).message
    assert missing in message
    assert message.startswith("cannot ")


def test_targets_of_this_machine_are_found(live: LiveModel, ear: Ear) -> None:
    live.find_targets()
    assert ear.wait(TargetsFound).targets


def test_pages_and_predictions(live: LiveModel, ear: Ear) -> None:
    ear.final()
    page = live.page("ED201")
    assert page is not None
    assert "## Fix" in page
    assert live.page("ED000") is None
    gpu = live.gpus()[0]
    live.predict(gpu)
    predicted = ear.wait(Predicted)
    assert predicted.assessment is not None
    assert predicted.assessment.expected
    assert "measure first" in predicted.reason
    live.predict("no such GPU")
    assert ear.wait(Predicted, lambda event: event.assessment is None).reason


def test_nothing_is_told_after_close(ear: Ear) -> None:
    model = live_model()
    model.start(ear)
    ear.wait(ExaminationStarted)
    model.close()
    time.sleep(0.1)
    number = len(ear.events)
    model.rerun()
    time.sleep(1.0)
    assert len(ear.events) == number


def test_the_interpreter_is_that_which_was_asked_for(live: LiveModel, ear: Ear) -> None:
    ear.final()
    interpreter = live._snapshot.value(Interpreter)
    assert interpreter is not None
    assert interpreter.executable == sys.executable


def with_calibration(live: LiveModel, torch_version: str | None = None) -> None:
    conditions = Conditions(started_at=machines.WHEN, torch_version=torch_version)
    measured = msgspec.structs.replace(machines.calibration(), conditions=conditions)
    fact = Observed(value=measured, source="by hand")
    live._snapshot = live._snapshot.with_facts({Calibration: fact})


def test_a_calibration_outlives_a_new_look_at_the_same_target(
    live: LiveModel, ear: Ear, tmp_path: Path
) -> None:
    ear.wait(WorkEnded)
    with_calibration(live)
    for path in (None, sys.executable):
        first = len(ear.events)
        if path is None:
            live.rerun()
        else:
            live.switch_target(path)
        calibration = ear.final(since=first).report.calibration
        assert calibration is not None
        assert calibration.conditions.started_at == machines.WHEN
    first = len(ear.events)
    live.switch_target(str(empty_patient(tmp_path / "other").root))
    assert ear.final(since=first).report.calibration is None


def test_a_calibration_of_another_torch_or_interpreter_does_not_stay() -> None:
    def looked(executable: str, torch_version: str) -> Snapshot:
        interpreter = msgspec.structs.replace(machines._interpreter(), executable=executable)
        runtime = TorchRuntime(
            version=torch_version, cuda=None, hip=None, cuda_available=False, device_count=0
        )
        facts = (interpreter, runtime)
        return Snapshot({type(one): Observed(value=one, source="by hand") for one in facts})

    measured = Observed(value=machines.calibration(), source="by hand")
    version = machines.calibration().conditions.torch_version or ""
    before = looked("a", version).with_facts({Calibration: measured})

    def stays(now: Snapshot) -> bool:
        return with_calibration_of(before, now).value(Calibration) is not None

    assert stays(looked("a", version))
    assert not stays(looked("a", "2.0.0"))
    assert not stays(looked("b", version))
    assert not stays(Snapshot())


def test_what_the_patient_says_moves_no_cursor(tmp_path: Path, ear: Ear) -> None:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    torch = next(folder.glob("lib/python3*/site-packages")) / "torch"
    torch.mkdir()
    (torch / "version.py").write_text("__version__ = '2.6.0+cpu'\ncuda = None\n")
    (torch / "__init__.py").write_text("raise OSError('\\x1b[31mred\\x1b[0m \\x9b2J \\x07gone')\n")
    model = live_model(python=str(folder), static=False)
    model.start(ear)
    report = ear.final().report
    model.close()
    told = [one.message for one in report.findings if "gone" in one.message]
    assert told
    assert all("red \ufffd2J \ufffdgone" in message for message in told)
    details = [event.event.detail for event in ear.events if isinstance(event, ProbeChanged)]
    assert not any("\x1b" in text for text in (*details, str(msgspec.to_builtins(report))))
