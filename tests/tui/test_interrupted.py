"""A wish while something else goes on: with the live model, real threads and real children."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envdoctor.errors import BadInput
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.python import Interpreter
from envdoctor.facts.torch import TorchRuntime
from envdoctor.session import Session
from envdoctor.tui.contract import (
    CalibrationEnded,
    CalibrationStarted,
    Failed,
    FilesFound,
    Predicted,
    ProbeChanged,
    ReadingEnded,
    ReadingStarted,
    ReportReady,
    Saved,
    TargetsFound,
    WorkEnded,
)
from envdoctor.tui.jobs import Job, Jobs
from envdoctor.tui.model import LiveModel
from tests.support.patients import empty_patient, fake_torch
from tests.tui import machines
from tests.tui.live import Ear, live_model, wait_until

HANGS = "import time\ntime.sleep(600)\n"
RECORDED = str(machines.file_of("broken_driver"))


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def hanging_python(tmp_path: Path) -> str:
    """A target whose `import torch` never ends."""
    patient = empty_patient(tmp_path / "hanging")
    fake_torch(patient, HANGS)
    return str(patient.python)


@pytest.fixture
def examining(ear: Ear, hanging_python: str) -> Iterator[LiveModel]:
    """A model in mid-examination."""
    model = live_model(python=hanging_python, static=False)
    model.start(ear)
    ear.wait(ProbeChanged, lambda one: one.event.probe == "import torch")
    yield model
    model.close()


@pytest.fixture
def measuring(ear: Ear, hanging_python: str) -> Iterator[LiveModel]:
    """A model in mid-calibration: its worker waits for torch."""
    model = live_model()
    model.start(ear)
    ear.wait(WorkEnded)
    interpreter = model._snapshot.value(Interpreter)
    assert interpreter is not None
    runtime = TorchRuntime(
        version="2.13.0+cpu", cuda=None, hip=None, cuda_available=False, device_count=0
    )
    found = (type(interpreter)(**{**_fields(interpreter), "executable": hanging_python}), runtime)
    facts = {type(fact): Observed(value=fact, source="by hand") for fact in found}
    model._snapshot = model._snapshot.with_facts(facts)
    model.calibrate()
    ear.wait(CalibrationStarted)
    yield model
    model.close()


def _fields(record: Interpreter) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_whatever_begins_during_a_calibration_ends_it_for_the_screen_too(
    measuring: LiveModel, ear: Ear
) -> None:
    wishes: list[Callable[[], None]] = [
        measuring.rerun,
        lambda: measuring.switch_target("/nowhere"),
        lambda: measuring.open(RECORDED),
    ]
    for wish in wishes:
        first = len(ear.events)
        wish()
        ear.wait(WorkEnded, since=first)
        assert ear.state.measuring is None
        assert not ear.state.busy


def test_a_stopped_calibration_that_has_nothing_yet_says_so(measuring: LiveModel, ear: Ear) -> None:
    measuring.stop()
    assert ear.wait(CalibrationEnded).reason == "stopped before anything was measured"
    ear.wait(WorkEnded, since=ear.events.index(CalibrationStarted()))
    assert not ear.state.busy
    assert ear.state.final


def test_what_is_measured_is_never_the_target_before(measuring: LiveModel, ear: Ear) -> None:
    first = len(ear.events)
    measuring.switch_target("/nowhere")
    measuring.calibrate()
    assert "torch does not work" in ear.wait(CalibrationEnded, since=first).reason
    assert CalibrationStarted() not in ear.events[first:]


def test_a_calibration_that_is_stopped_before_its_worker_begins_ends(ear: Ear) -> None:
    jobs = Jobs(WorkEnded())
    model = live_model()

    def calibrate(job: Job) -> None:
        job.stop()
        model._calibrate(job)

    jobs.start("calibration", calibrate, ear)
    ear.wait(WorkEnded)
    stopped = "stopped before anything was measured"
    assert ear.events == [CalibrationStarted(), CalibrationEnded(reason=stopped), WorkEnded()]


def test_a_mistyped_file_does_not_disturb_an_examination(examining: LiveModel, ear: Ear) -> None:
    examining.open("/nowhere.json")
    assert "/nowhere.json" in ear.wait(Failed).message
    ear.wait(ReadingEnded)
    assert ear.state.examining is not None
    assert ear.state.reading is None
    job = examining._jobs._current
    assert job is not None
    assert not job.stopped


def test_after_a_mistyped_file_the_report_still_stands(ear: Ear) -> None:
    model = live_model()
    model.start(ear)
    ear.wait(WorkEnded)
    before = ear.state
    model.open("/nowhere.json")
    ear.wait(ReadingEnded)
    assert ear.state.report is before.report
    assert ear.state.final
    assert not ear.state.busy
    model.close()


def test_a_file_that_vanished_is_told_and_ends_the_work(ear: Ear, tmp_path: Path) -> None:
    model = live_model(path=str(tmp_path / "gone.json"))
    model.start(ear)
    ear.wait(WorkEnded)
    assert "gone.json" in ear.wait(Failed).message
    assert not ear.state.busy
    model.close()


class SlowDisk(Session):
    """A session on a network disk that does not answer: one file is read once it may be."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.answers = threading.Event()

    def read(self, path: str) -> Snapshot:
        if path == self.path:
            assert self.answers.wait(60)
        return super().read(path)


@pytest.fixture
def slow_disk(tmp_path: Path) -> SlowDisk:
    path = tmp_path / "slow.json"
    path.write_text(Path(RECORDED).read_text())
    return SlowDisk(str(path))


@pytest.fixture
def slow_file(tmp_path: Path) -> Path:
    """A pipe: whoever writes it waits until somebody reads."""
    path = tmp_path / "slow.json"
    os.mkfifo(path)
    return path


def test_a_file_that_comes_too_late_changes_nothing(ear: Ear, slow_disk: SlowDisk) -> None:
    model = live_model(session=slow_disk)
    model.start(ear)
    ear.wait(WorkEnded)
    model.open(slow_disk.path)
    ear.wait(ReadingStarted)
    first = len(ear.events)
    model.rerun()
    ear.wait(WorkEnded, since=first)
    slow_disk.answers.set()
    wait_until(lambda: not _running("reading"), "the reading does not end")
    wait_until(lambda: not _running("showing"), "the file is shown")
    assert model._path is None
    assert {one.source for one in ear.events if isinstance(one, ReportReady)} == {""}
    assert ear.state.reading is None
    model.close()


def _running(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def test_the_newer_of_two_files_is_shown(ear: Ear, slow_disk: SlowDisk) -> None:
    model = live_model(session=slow_disk)
    model.start(ear)
    ear.wait(WorkEnded)
    model.open(slow_disk.path)
    ear.wait(ReadingStarted)
    model.open(RECORDED)
    ear.wait(ReportReady, lambda event: event.source == RECORDED)
    slow_disk.answers.set()
    wait_until(lambda: not _running("reading"), "the reading does not end")
    wait_until(lambda: not _running("showing"), "the file is shown")
    assert model._path == RECORDED
    model.close()


def test_a_superseded_job_neither_tells_nor_changes_anything(ear: Ear) -> None:
    jobs = Jobs(WorkEnded())
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()
    changed: list[str] = []

    def old(job: Job) -> None:
        began.set()
        goes_on.wait(60)
        job.commit(lambda: changed.append("old"), Saved(path="old"))
        ended.set()

    jobs.start("old", old, ear)
    assert began.wait(60)
    jobs.start("new", lambda job: job.tell(Saved(path="new")), ear)
    ear.wait(WorkEnded)
    goes_on.set()
    assert ended.wait(60)
    assert changed == []
    assert ear.events == [Saved(path="new"), WorkEnded()]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BadInput("no such thing"), "no such thing"),
        (ValueError("no such thing"), "work: ValueError('no such thing')"),
    ],
)
def test_a_job_that_fails_has_ended(ear: Ear, error: Exception, message: str) -> None:
    def fail(job: Job) -> None:
        raise error

    jobs = Jobs(WorkEnded())
    jobs.start("work", fail, ear)
    ear.wait(WorkEnded)
    assert ear.events == [Failed(message=message), WorkEnded()]
    wait_until(lambda: jobs._current is None, "the job is kept")


def test_the_older_of_two_predictions_is_not_told(ear: Ear) -> None:
    model = live_model()
    model._listener = ear
    with model._session_lock:
        for gpu in ("A100-SXM4-80GB", "L4"):
            model.predict(gpu)
    wait_until(lambda: not _running("prediction"), "the predictions do not end")
    assert [one.gpu for one in ear.events if isinstance(one, Predicted)] == ["L4"]


def test_the_end_waits_for_a_file_that_is_being_written(ear: Ear, slow_file: Path) -> None:
    model = live_model()
    model._listener = ear
    model.save("json", str(slow_file), machines.read("two_gpus"))
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(slow_file.read_text()))
    reader.start()
    model.close()
    assert Saved(path=str(slow_file)) in ear.events
    reader.join(60)
    assert json.loads(texts[0])["type"] == "report"


def test_a_file_that_cannot_be_written_does_not_hold_the_end_up_for_ever(
    ear: Ear, slow_file: Path
) -> None:
    model = live_model()
    model._listener = ear
    model.save("json", str(slow_file), machines.read("healthy_cpu"))
    model.close()
    assert ear.events == []
    slow_file.read_text()


def test_a_removed_folder_is_no_reason_to_end(
    ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    model = live_model()
    model._listener = ear
    model.find_files()
    assert ear.wait(FilesFound).files == ()
    model.find_targets()
    ear.wait(TargetsFound)
    assert not [one for one in ear.events if isinstance(one, Failed)]


def test_one_check_alone_cannot_be_the_first_look(ear: Ear) -> None:
    model = live_model()
    model._listener = ear
    model.rerun(("driver-not-loaded",))
    assert set(ear.final().report.facts) >= {"Host", "TorchBuild"}
    model.close()
