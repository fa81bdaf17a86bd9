"""What the doctor says of broken machines: the first finding, and the whole text as a golden.

`pytest tests/machines --write-goldens` writes tests/facts and tests/reports anew; read the diff.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from envdoctor.api import Driver, Fact, Observed, Snapshot
from envdoctor.diagnose import diagnose
from envdoctor.facts.documents import FactsDocument, facts_document, read_snapshot
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugins import Loaded, load_plugins
from envdoctor.render.json import render_json
from envdoctor.render.text import render_text
from envdoctor.report import Report
from tests.support.cases import CASES
from tests.support.doctor import validator

FACTS = Path(__file__).parents[1] / "facts"
REPORTS = Path(__file__).parents[1] / "reports"
MOMENT = "2026-11-23T12:00:00+00:00"


@pytest.fixture(scope="session")
def loaded() -> Loaded:
    return load_plugins()


@pytest.fixture(scope="session")
def services() -> Mapping[type, object]:
    return {Knowledge: load()}


def report_on(snapshot: Snapshot, loaded: Loaded, services: Mapping[type, object]) -> Report:
    return diagnose(snapshot, loaded, services, created_at=MOMENT)


@pytest.mark.parametrize("name", CASES)
def test_the_first_finding_is_the_cause(
    name: str, loaded: Loaded, services: Mapping[type, object]
) -> None:
    case = CASES[name]
    report = report_on(case.snapshot, loaded, services)
    first = report.findings[0].name if report.findings else None
    assert (first, report.exit_code) == (case.first, case.exit_code)
    errors = [one for one in report.findings if one.severity.value == "error"]
    assert all(one.because for one in errors[1:]), "two errors for one cause are shown as equals"


@pytest.mark.parametrize("name", CASES)
def test_recorded_facts_give_the_reviewed_report(
    name: str, loaded: Loaded, services: Mapping[type, object], write_goldens: bool
) -> None:
    facts, golden = FACTS / f"{name}.json", REPORTS / f"{name}.txt"
    if write_goldens:
        document = msgspec.structs.replace(
            facts_document(CASES[name].snapshot),
            captured_at=MOMENT,
            provenance="synthetic",
            captured_with="tests/support/cases.py",
        )
        facts.write_text(render_json(document))
    report = report_on(read_snapshot(str(facts), loaded.fact_types), loaded, services)
    validator().validate(json.loads(render_json(report)))
    text = render_text(report)
    if write_goldens:
        golden.write_text(text)
    assert text == golden.read_text()


def test_the_recorded_facts_are_the_cases() -> None:
    assert {path.stem for path in FACTS.glob("*.json")} >= set(CASES)
    for name, case in CASES.items():
        document = msgspec.json.decode((FACTS / f"{name}.json").read_bytes(), type=FactsDocument)
        assert document.provenance == "synthetic"
        now = facts_document(case.snapshot).facts
        assert document.facts == msgspec.json.decode(msgspec.json.encode(now))


def test_a_golden_fails_when_a_fact_changes(
    loaded: Loaded, services: Mapping[type, object]
) -> None:
    snapshot = CASES["driver-470-cuda-12"].snapshot
    driver = snapshot.value(Driver)
    assert driver is not None
    changed: Fact = msgspec.structs.replace(driver, release="520.61.05")
    report = report_on(
        snapshot.with_facts({Driver: Observed(value=changed, source="synthetic")}), loaded, services
    )
    golden = (REPORTS / "driver-470-cuda-12.txt").read_text()
    assert render_text(report) != golden
    assert render_text(report).replace("520.61.05", "470.82.01") == golden


def test_every_text_fits_in_80_columns_but_for_what_is_pasted() -> None:
    for path in REPORTS.glob("*.txt"):
        for line in path.read_text().splitlines():
            assert len(line) <= 80 or " " not in line.strip() or line.startswith(" " * 14), line
