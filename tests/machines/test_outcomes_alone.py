"""Outcomes decide: without a single check the verdict on recorded machines is right."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from envdoctor.api import Observed, Snapshot
from envdoctor.diagnose import diagnose
from envdoctor.facts.machine import Expectation
from tests.support.diagnosis import loaded, recorded, services

MACHINES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "machines"


def expected() -> Iterator[Any]:
    """What is expected of each recorded machine; nothing where the shared data is absent."""
    file = MACHINES / "expect.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else ()
    return (pytest.param(one, id=one["name"]) for one in map(json.loads, lines))


def snapshot_of(one: Mapping[str, Any]) -> Snapshot:
    """The recorded facts, and what the user said to expect."""
    snapshot = recorded(str(MACHINES / f"{one['name']}.json"))
    if "--expect" not in one["args"]:
        return snapshot
    device = one["args"][one["args"].index("--expect") + 1]
    wish = Expectation(device=device, evidence="--expect")
    return snapshot.with_facts({Expectation: Observed(value=wish, source="the user")})


@pytest.mark.parametrize("one", list(expected()))
def test_the_verdict_needs_no_check(one: Mapping[str, Any]) -> None:
    snapshot = snapshot_of(one)
    report = diagnose(snapshot, loaded(), services(), wanted=lambda check: False)
    # A warning is what a check has to say; and without any check nobody looked for what may fail.
    same = {"unproven": "healthy", "degraded": "healthy"}
    verdict = same.get(report.verdict.value, report.verdict.value)
    assert verdict in {same.get(word, word) for word in one["verdict"]}
