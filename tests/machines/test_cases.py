"""What the doctor says of broken machines: the first finding, and the whole answer as a golden.

Every case has its first finding; those with a file in tests/reports have a golden as well (a new
one begins as an empty file). `pytest tests/machines --write-goldens` writes them anew; read the
diff. A golden holds the answer alone, so that a check which does not fire changes none.
"""

import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from envdoctor.api import (
    Code,
    DriverRelease,
    Fact,
    Findings,
    Observed,
    Severity,
    check,
)
from envdoctor.plugins import Loaded, Plugin
from envdoctor.render.json import render_json
from envdoctor.report import Report
from tests.captured import CAPTURED
from tests.support.cases import CASES
from tests.support.diagnosis import loaded, recorded, report_on
from tests.support.doctor import validator
from tests.support.golden import compare, golden_of

REPORTS = Path(__file__).parents[1] / "reports"


@pytest.mark.parametrize("name", CASES)
def test_the_first_finding_is_the_cause(name: str) -> None:
    case = CASES[name]
    report = report_on(case.snapshot)
    first = report.findings[0].name if report.findings else None
    assert (first, report.exit_code) == (case.first, case.exit_code)
    errors = [one for one in report.findings if one.severity is Severity.ERROR]
    assert all(one.because for one in errors[1:]), "two errors for one cause are shown as equals"


@pytest.mark.parametrize("name", CASES)
def test_the_report_of_every_case_is_valid(name: str) -> None:
    report = report_on(CASES[name].snapshot)
    validator().validate(json.loads(render_json(report)))
    assert golden_of(report)


GOLDENS = sorted(REPORTS.glob("*.txt"))


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.stem)
def test_the_answer_is_the_reviewed_one(golden: Path, write_goldens: bool) -> None:
    compare(report_on(CASES[golden.stem].snapshot), golden, write=write_goldens)


def test_there_are_goldens_and_each_belongs_to_a_case() -> None:
    assert len(GOLDENS) > 30
    assert {path.stem for path in GOLDENS} <= set(CASES)
    captured = {path.with_suffix(".txt") for path in CAPTURED}
    assert set(CAPTURED[0].parent.glob("*.txt")) == captured


# --- captured machines ---

OF_CAPTURED = {
    "h100": ("healthy", "damaged-install"),
    "healthy-cpu": ("healthy", None),
    "import-aborts": ("broken", "damaged-install"),
    "library-removed": ("broken", "damaged-install"),
    "library-truncated": ("broken", "damaged-install"),
    "shadowed-by-the-folder": ("broken", "module-shadowing"),
    "static": ("unproven", None),
    "without-torch": ("broken", "torch-not-installed"),
}
"""The verdict and the first finding; what was broken is in the `captured_with` of each file."""


def test_every_captured_machine_says_where_it_is_from() -> None:
    assert {path.stem for path in CAPTURED} == set(OF_CAPTURED)
    for path in CAPTURED:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["provenance"] == "captured"
        assert document["captured_with"].startswith("`envdoctor collect ")
        assert document["captured_at"][:4].isdigit()
        assert document["facts"]["Host"]["value"]["cpu_name"] in document["captured_with"]


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_a_captured_machine_gets_the_reviewed_answer(path: Path, write_goldens: bool) -> None:
    report = report_on(recorded(str(path)))
    first = report.findings[0].name if report.findings else None
    assert (report.verdict.value, first) == OF_CAPTURED[path.stem]
    compare(report, path.with_suffix(".txt"), write=write_goldens)


# --- what changes a golden, and what does not ---

QUIET = Code(
    id="XX001", name="quiet", family="quiet", severity=Severity.ERROR, message="never said"
)


@check(QUIET)
def quiet(release: DriverRelease) -> Findings:
    """A check that looks and does not fire."""
    if release.release == "no such release":
        yield QUIET.finding()


class NobodyObserves(Fact):
    """A fact that no probe provides."""


@check(QUIET)
def looks_for_what_is_not_there(missing: NobodyObserves) -> Findings:
    """A check of a fact that no machine here has."""
    yield QUIET.finding()


@pytest.mark.parametrize("name", CASES)
def test_a_check_that_does_not_fire_changes_no_golden(name: str) -> None:
    more = Plugin(name="more", version="1", checks=(quiet, looks_for_what_is_not_there))
    report = report_on(CASES[name].snapshot, Loaded(plugins=(*loaded().plugins, more)))
    assert golden_of(report) == golden_of(report_on(CASES[name].snapshot))


def test_a_check_that_fires_changes_the_golden() -> None:
    snapshot = CASES["healthy-gpu"].snapshot
    without = Loaded(plugins=tuple(replace(one, checks=()) for one in loaded().plugins))
    broken = CASES["gpu-lost"].snapshot
    assert golden_of(report_on(snapshot)) == golden_of(report_on(snapshot, without))
    assert golden_of(report_on(broken)) != golden_of(report_on(broken, without))


def changed(name: str, kind: str, **fields: object) -> Report:
    snapshot = CASES[name].snapshot
    types = {fact_type.__name__: fact_type for fact_type, _ in snapshot.items()}
    fact = snapshot.value(types[kind])
    assert fact is not None
    other = msgspec.structs.replace(fact, **fields)
    return report_on(snapshot.with_facts({types[kind]: Observed(value=other, source="synthetic")}))


def test_a_golden_fails_when_a_fact_changes() -> None:
    name = "driver-470-cuda-12"
    now = golden_of(changed(name, "Driver", release="520.61.05"))
    before = golden_of(report_on(CASES[name].snapshot))
    assert now != before
    assert now.replace("520.61.05", "470.82.01") == before


def test_every_text_fits_in_80_columns_but_for_what_is_pasted() -> None:
    for path in (*REPORTS.glob("*.txt"), *CAPTURED[0].parent.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            pasted = line.startswith((" " * 12, "  run "))
            assert len(line) <= 80 or " " not in line.strip() or pasted, line
