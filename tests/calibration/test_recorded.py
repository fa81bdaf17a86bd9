"""A calibration in a file: the measurements are read, what follows from them is worked out anew.

tests/documents/v1 holds what envdoctor 0.1.0 wrote with schema 1, whose calibration still held its
assessment: captured on a machine with two CPUs; of the facts of the report a part was kept.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from envdoctor.calibration.assess import assess
from envdoctor.calibration.baseline import read_baseline
from envdoctor.derived import observed_types_of
from envdoctor.diagnose import diagnose
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.documents import read_snapshot
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugin_loading import load_plugins
from envdoctor.render.json import render_json
from envdoctor.report import Report
from tests.support.doctor import envdoctor, validator

DOCUMENTS = Path(__file__).parents[1] / "documents" / "v1"
REPORT = DOCUMENTS / "report-calibrated.json"
RESULT = DOCUMENTS / "calibrate.json"


def diagnosed(path: Path) -> Report:
    loaded = load_plugins()
    snapshot = read_snapshot(str(path), observed_types_of(loaded))
    return diagnose(snapshot, loaded, {Knowledge: load()})


def changed(path: Path, folder: Path, change: dict[str, Any], kind: str = "Calibration") -> Path:
    """A copy of a report whose fact has other fields."""
    document = json.loads(path.read_text())
    document["facts"][kind]["value"].update(change)
    copy = folder / "changed.json"
    copy.write_text(json.dumps(document))
    return copy


def test_the_captured_files_hold_what_is_derived_now() -> None:
    """Else they would prove nothing."""
    for old in (json.loads(path.read_text())["calibration"] for path in (REPORT, RESULT)):
        assert old["expected"]
        assert old["speedups"]
        assert old["epochs"]
        assert old["pipeline"]["feeds"]
        assert old["pipeline"]["recommended_workers"]


def test_an_old_report_is_assessed_as_it_was() -> None:
    old = json.loads(REPORT.read_text())["calibration"]
    report = diagnosed(REPORT)
    assert report.calibration is not None
    assert [run.images_per_s.median for run in report.calibration.runs] == [
        run["images_per_s"]["median"] for run in old["runs"]
    ]
    now = report.assessment
    assert now is not None
    of_gpus = [one.device for one in now.expected if one.device != "cpu"]
    assert of_gpus == [one["device"] for one in old["expected"]]
    # What follows today from its limits was not yet asked then.
    of_cpu = [one.verdict for one in now.expected if one.device == "cpu"]
    assert of_cpu == ["as-expected", "as-expected"]
    ratios = [one.ratio.median for one in now.speedups]
    assert ratios == pytest.approx([one["ratio"]["median"] for one in old["speedups"]])
    seconds = [one.compute_bound_s for one in now.epochs]
    assert seconds == pytest.approx([one["compute_bound_s"] for one in old["epochs"]])
    # The same said in other words: what will not wait will be kept busy.
    feeds = [one["sentence"].partition(": ")[2] for one in old["pipeline"]["feeds"]]
    assert [one.sentence.partition(": ")[2] for one in now.feeds] == feeds
    assert now.recommended_workers == old["pipeline"]["recommended_workers"]


def test_an_old_verdict_is_not_believed(tmp_path: Path) -> None:
    slow = {"device": "cpu", "verdict": "slower", "measured_over_expected": 0.1}
    report = diagnosed(changed(REPORT, tmp_path, {"expected": [slow], "speedups": "none"}))
    assert report.assessment == diagnosed(REPORT).assessment
    assert "gpu-slower-than-expected" not in {one.name for one in report.findings}


@pytest.mark.parametrize("change", [{"expected": []}, {"expected": "of another shape"}])
def test_a_recorded_assessment_is_neither_believed_nor_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    report = diagnosed(REPORT)
    own = tmp_path / "own.json"
    own.write_text(render_json(report))
    assert json.loads(own.read_text())["facts"]["Assessment"]["source"] == "derived by assess"
    again = diagnosed(changed(own, tmp_path, change, "Assessment"))
    assert again.assessment == report.assessment


def test_a_facts_file_holds_no_assessment() -> None:
    snapshot = read_snapshot(str(REPORT), observed_types_of(load_plugins()))
    assert "expected" not in Calibration.__struct_fields__
    assert {kind.__name__ for kind, _ in snapshot.items()} & {"Assessment", "Prescription"} == set()


def test_an_old_result_is_a_baseline() -> None:
    baseline = read_baseline(str(RESULT), observed_types_of(load_plugins())).value
    assert len(baseline.calibration.runs) == 2
    assert assess(baseline.calibration, load()).speedups


def test_an_old_report_is_checked_and_shown_by_the_command() -> None:
    run = envdoctor("check", "--json", "--facts", REPORT)
    assert run.no_traceback, run.stderr
    validator().validate(run.json)
    assert run.json["assessment"]["expected"]
    assert "expected" not in run.json["calibration"]
    text = envdoctor("check", "--facts", REPORT).stdout
    assert "what another GPU would bring here (prediction)" in text
    assert "recommended num_workers: 2" in text
