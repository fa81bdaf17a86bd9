"""What was written in schema 2 is read for ever, and is still of that schema: within a major
version it only grows.

The files of v2/ were written by the program as it was when this test was, and are never made again.
"""

import json
from pathlib import Path

import pytest

from tests.support.doctor import envdoctor, names, report_of, validator

V2 = Path(__file__).parent / "v2"
REPORT = V2 / "report-library-removed.json"


@pytest.mark.parametrize("file", sorted(V2.iterdir()), ids=lambda file: file.stem)
def test_it_is_valid_by_the_schema_of_now(file: Path) -> None:
    document = json.loads(file.read_text())
    assert document["schema_version"] == 2
    validator().validate(document)


def test_its_report_is_diagnosed_as_it_was() -> None:
    before, now = json.loads(REPORT.read_text()), report_of("--facts", REPORT)
    assert now["verdict"] == before["verdict"] == "broken"
    assert next(iter(names(now))) == before["findings"][0]["name"] == "damaged-install"
    assert now["facts"].keys() >= before["facts"].keys()


def test_it_is_compared_with_one_of_schema_1() -> None:
    run = envdoctor("diff", REPORT, V2.with_name("v1") / "facts.json", "--json")
    assert run.exit_code == 1
    assert run.json["differences"][0]["part"] == "files"
