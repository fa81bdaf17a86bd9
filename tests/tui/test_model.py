"""The live model on this machine: real probes, real files, real children."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from envdoctor.api import Driver, Interpreter
from envdoctor.plugins import Where
from envdoctor.tui.contract import (
    Event,
    ExaminationStarted,
    Failed,
    Predicted,
    ProbeChanged,
    ReportReady,
    Saved,
    TargetsFound,
)
from envdoctor.tui.model import LiveModel
from envdoctor.tui.rerun import only_for
from tests.tui import machines

E = TypeVar("E")
OPTIONS: dict[str, Any] = {
    "pythons": (sys.executable,),
    "static": True,
    "deep": False,
    "expect": None,
    "timeout_s": 60.0,
    "fail_on": "error",
    "only": (),
    "skip": (),
}


class Ear:
    """Keeps what a model tells."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def wait(self, kind: type[E], wanted: Callable[[E], bool] = lambda event: True) -> E:
        """The first event of that kind that is wanted."""
        deadline = time.monotonic() + 60
        with self._news:
            while True:
                for event in self.events:
                    if isinstance(event, kind) and wanted(event):
                        return event
                if not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no {kind.__name__} among {self.events}")

    def final(self) -> ReportReady:
        return self.wait(ReportReady, lambda event: event.final)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def live(ear: Ear) -> Iterator[LiveModel]:
    model = LiveModel(OPTIONS)
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


def test_rerun_of_one_check_looks_only_at_what_it_needs(live: LiveModel, ear: Ear) -> None:
    before = ear.final().report
    first = len(ear.events)
    live.rerun(("driver-not-loaded",))
    ear.wait(ReportReady, lambda event: event.final and ear.events.index(event) >= first)
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
    model = LiveModel({**OPTIONS, "pythons": (str(folder),)})
    model.start(ear)
    broken = ear.final().report
    assert "torch-not-installed" in [one.name for one in broken.findings]
    first = len(ear.events)
    torch = next(folder.glob("lib/python3*/site-packages")) / "torch"
    torch.mkdir()
    (torch / "__init__.py").touch()
    (torch / "version.py").write_text("__version__ = '2.6.0+cpu'\ncuda = None\n")
    model.rerun()
    ear.wait(ReportReady, lambda event: event.final and ear.events.index(event) >= first)
    repaired = [event for event in ear.events if isinstance(event, ReportReady)][-1].report
    assert "torch-not-installed" not in [one.name for one in repaired.findings]
    model.close()


def test_switch_target(live: LiveModel, ear: Ear, tmp_path: Path) -> None:
    ear.final()
    live.switch_target(str(tmp_path / "nowhere"))
    report = ear.wait(
        ReportReady,
        lambda event: (
            event.final
            and event.report.target is not None
            and event.report.target.path.endswith("nowhere")
        ),
    ).report
    assert report.findings[0].name == "target-unusable"


def test_open_a_report_and_save_it(ear: Ear, tmp_path: Path) -> None:
    path = machines.REPORTS / "broken_driver.json"
    model = LiveModel(OPTIONS, path=str(path))
    model.start(ear)
    event = ear.final()
    assert event.source == str(path)
    assert event.report.stack.driver_release == "470.82.01"
    for kind, name in (("json", "a.json"), ("markdown", "a.md"), ("facts", "facts.json")):
        model.save(kind, str(tmp_path / name))
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
    ear.final()
    missing = str(tmp_path / "none" / "a.json")
    if ask == "open":
        live.open(missing)
    else:
        live.save("json", missing)
    assert missing in ear.wait(Failed).message


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
    assert predicted.calibration is not None
    assert predicted.calibration.expected
    assert "measure first" in predicted.reason
    live.predict("no such GPU")
    assert ear.wait(Predicted, lambda event: event.calibration is None).reason


def test_nothing_is_told_after_close(ear: Ear) -> None:
    model = LiveModel(OPTIONS)
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


def test_what_the_patient_says_moves_no_cursor(tmp_path: Path, ear: Ear) -> None:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    torch = next(folder.glob("lib/python3*/site-packages")) / "torch"
    torch.mkdir()
    (torch / "version.py").write_text("__version__ = '2.6.0+cpu'\ncuda = None\n")
    (torch / "__init__.py").write_text("raise OSError('\\x1b[31mred\\x1b[0m \\x9b2J \\x07gone')\n")
    model = LiveModel({**OPTIONS, "static": False, "pythons": (str(folder),)})
    model.start(ear)
    report = ear.final().report
    model.close()
    told = [one.message for one in report.findings if "gone" in one.message]
    assert told
    assert all("red \ufffd2J \ufffdgone" in message for message in told)
    details = [event.event.detail for event in ear.events if isinstance(event, ProbeChanged)]
    assert not any("\x1b" in text for text in (*details, str(msgspec.to_builtins(report))))
