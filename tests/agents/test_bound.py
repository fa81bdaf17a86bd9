"""An answer fits into a context window, says what was cut, and cuts no command."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from envdoctor.agents.bound import LEFT_OUT, MOST_CHARACTERS, compact, in_bounds
from envdoctor.agents.digest import of_report
from tests.support.cases import CASES
from tests.support.diagnosis import report_on

_texts = some.text(max_size=300)
_values = some.recursive(
    _texts | some.integers() | some.none() | some.booleans(),
    lambda inner: (
        some.lists(inner, max_size=30)
        | some.dictionaries(some.sampled_from(["a", "b", "commands", "findings"]), inner)
    ),
    max_leaves=40,
)


@settings(max_examples=30, deadline=None)
@given(some.dictionaries(some.sampled_from(["x", "y", "z"]), _values), some.integers(400, 3000))
def test_whatever_it_is_it_fits(value: dict[str, Any], most: int) -> None:
    short = in_bounds(value, most)
    assert len(compact(short)) <= most
    assert json.loads(compact(short)) == short
    if len(compact(value)) <= most:
        assert short == value


def test_the_first_are_kept_and_the_rest_are_counted() -> None:
    many = {"findings": [{"id": f"ED{number}", "message": "m" * 400} for number in range(100)]}
    short = in_bounds(many)
    kept = len(short["findings"])
    assert short["findings"][0]["id"] == "ED0"
    assert short[LEFT_OUT] == {"findings": 100 - kept}


def test_commands_are_whole_or_not_there() -> None:
    long, fine = "pip install " + "x" * 3000, "pip install torch==2.13.0"
    fixes = [{"commands": [fine]}, {"commands": ["cd /", long]}, {"summary": "s" * 20_000}]
    short = in_bounds({"fixes": fixes})
    assert short["fixes"][0]["commands"] == [fine]
    assert short["fixes"][1]["commands"] == []
    assert short[LEFT_OUT]["commands"] == 2


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_known_machine_fits_and_keeps_its_root_cause(name: str) -> None:
    report = json.loads(msgspec.json.encode(report_on(CASES[name].snapshot)))
    short = in_bounds(of_report(report))
    assert len(compact(short)) <= MOST_CHARACTERS
    assert short["verdict"] == report["verdict"]
    if report["findings"]:
        root, first = report["findings"][0], short["findings"][0]
        assert (first["id"], first["message"]) == (root["id"], root["message"])
        commands = [one["commands"] for one in root["fixes"] if one["commands"]]
        assert [one["commands"] for one in first.get("fixes", ()) if "commands" in one] == commands
