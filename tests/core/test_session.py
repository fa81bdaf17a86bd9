"""A session as a program uses it: reports out, progress told, nothing printed, no process left."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from envdoctor.errors import BadInput
from envdoctor.findings import Severity
from envdoctor.options import Options
from envdoctor.report import Report
from envdoctor.session import Listener, Session
from tests.tui import machines

RECORDED = str(machines.file_of("broken_driver"))
HERE = Options(python=sys.executable, static=True)


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


def test_it_examines_tells_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    before = children()
    report = Session().examine(HERE, Listener(probe=lambda event: told.append(event.probe)))
    assert isinstance(report, Report)
    assert report.target is not None
    assert os.path.samefile(report.target.path, sys.executable)
    assert {"target", "host", "driver"} <= set(told)
    assert capfd.readouterr() == ("", "")
    deadline = time.monotonic() + 10
    while not children() <= before and time.monotonic() < deadline:
        # The guard looks at every process before it ends.
        time.sleep(0.02)
    assert children() <= before


def test_a_recorded_machine_is_judged_by_what_is_expected_now() -> None:
    session = Session()
    report = session.examine_recorded(RECORDED, Options(expect="cpu", fail_on="warning"))
    assert report.selection.expect == "cpu"
    assert report.selection.fail_on is Severity.WARNING
    assert session.examine_recorded(RECORDED, Options()).selection.expect is None


def test_a_measurement_that_is_switched_off_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    diagnosed: list[Report] = []
    options = Options(python=sys.executable, static=True, calibrate=True)
    report = Session().examine(options, Listener(diagnosed=diagnosed.append))
    assert report.calibration is None
    assert report.facts["Calibration"]["reason"] == "switched-off"
    (before,) = diagnosed
    assert "Calibration" not in before.facts
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "options",
    [Options(only=("driver-to-old",)), Options(skip=("ED9999",)), Options(only=("",))],
)
def test_what_does_not_exist_is_refused_before_anything_is_looked_at(options: Options) -> None:
    told: list[object] = []
    with pytest.raises(BadInput):
        Session().examine(options, Listener(probe=told.append))
    with pytest.raises(BadInput):
        Session().examine_recorded(RECORDED, options)
    assert told == []


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        Session().examine_recorded(str(tmp_path / "none"), Options())


def test_a_session_works_in_any_thread() -> None:
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(Session().examine(HERE)))
    thread.start()
    thread.join(timeout=60)
    assert len(reports) == 1
