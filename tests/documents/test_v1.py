"""What envdoctor 0.1.0 wrote is read for ever: facts files, reports and calibrations of schema 1.

The files of v1/ were written by the program at 07553ab and are never made again.
"""

import json
from pathlib import Path

import pytest

from envdoctor.api import Reason, TorchRuntime, Unknown
from envdoctor.calibration.baseline import read_baseline
from envdoctor.derived import observed_types_of
from envdoctor.facts.calibration import Calibration
from tests.support.diagnosis import loaded, recorded, report_on
from tests.support.doctor import envdoctor, names, report_of

V1 = Path(__file__).parent / "v1"

FACTS = ("facts.json", "facts-library-removed.json", "facts-static.json")
REPORTS = ("report-library-removed.json", "report-calibrated.json")
CALIBRATIONS = ("calibrate.json", "report-calibrated.json")


def test_every_file_is_of_schema_1_and_has_its_test() -> None:
    there = {path.name: json.loads(path.read_text()) for path in V1.glob("*.json")}
    assert set(there) == {*FACTS, *REPORTS, *CALIBRATIONS}
    assert {one["schema_version"] for one in there.values()} == {1}


@pytest.mark.parametrize(
    ("name", "verdict", "first"),
    [
        ("facts.json", "healthy", None),
        ("facts-static.json", "unproven", None),
        ("facts-library-removed.json", "broken", "damaged-install"),
        ("report-library-removed.json", "broken", "damaged-install"),
    ],
)
def test_its_facts_are_diagnosed(name: str, verdict: str, first: str | None) -> None:
    report = report_of("--facts", V1 / name)
    assert report["verdict"] == verdict
    assert next(iter(names(report)), None) == first


def test_its_one_reason_for_not_having_looked_is_read_as_the_two_of_now() -> None:
    text = (V1 / "facts-static.json").read_text()
    assert "not-run" in text
    runtime = recorded(str(V1 / "facts-static.json")).get(TorchRuntime)
    assert isinstance(runtime, Unknown)
    assert runtime.reason is Reason.SWITCHED_OFF


def test_what_is_newer_than_the_file_makes_nothing_incomplete() -> None:
    report = report_on(recorded(str(V1 / "facts.json")))
    assert [one.state for one in report.outcomes] == ["works", "works"]


@pytest.mark.parametrize("name", [*FACTS, *REPORTS])
def test_the_view_reads_it(name: str) -> None:
    """Its way to a file is the same in a pipe, where it prints the text."""
    run = envdoctor("tui", V1 / name)
    assert run.stdout.startswith(f"verdict: {report_on(recorded(str(V1 / name))).verdict.value}")


def test_the_view_shows_it(tmp_path: Path) -> None:
    picture = tmp_path / "view.svg"
    report = V1 / "report-library-removed.json"
    assert envdoctor("tui", report, "--screenshot", picture).exit_code == 1
    assert "damaged-install" in picture.read_text()


def test_its_calibration_is_a_measurement_still() -> None:
    calibration = recorded(str(V1 / "report-calibrated.json")).value(Calibration)
    assert calibration is not None
    assert all(run.images_per_s.median > 0 for run in calibration.runs)


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_its_calibration_is_a_baseline(name: str) -> None:
    baseline = read_baseline(str(V1 / name), observed_types_of(loaded())).value
    assert [run.device for run in baseline.calibration.runs] == ["cpu", "cpu"]
