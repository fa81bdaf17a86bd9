"""Machines written by hand whose right answers come from published documents.

Each names its source. None was computed by the prescriber.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envdoctor.knowledge import load
from envdoctor.prescribe import Machine, Prescription, prescribe
from envdoctor.prescribe.candidates import candidates

ROWS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("machines.json").read_text())
KNOWLEDGE = load()


def _prescribed(row: dict[str, Any]) -> Prescription:
    return prescribe(msgspec.convert(row["machine"], Machine), KNOWLEDGE, row["torch"])


def test_there_are_enough_and_each_has_a_source() -> None:
    assert len(ROWS) >= 60
    assert all(row["source"] for row in ROWS)
    assert len({row["title"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["title"]))
def test_the_answer_is_the_published_one(row: dict[str, Any]) -> None:
    answer = _prescribed(row)
    best = answer.best
    found = [best.torch, best.variant] if best else None
    assert found == row["best"], answer.none_because
    if row["none_says"]:
        assert row["none_says"] in (answer.none_because or "")
    listed = [[build.torch, build.variant] for build in answer.builds]
    for build in row["listed"]:
        assert build in listed
    for build in row["never"]:
        assert build not in listed


def test_one_does_not_need_to_do_anything_where_it_works_already() -> None:
    row = next(row for row in ROWS if row["title"].startswith("535 runs a cu126"))
    best = _prescribed(row).best
    assert best is not None
    assert best.commands == ()
    assert best.changes == ()


def test_what_was_asked_for_and_does_not_work_is_explained() -> None:
    row = next(row for row in ROWS if row["title"] == "Python 3.13 and torch 2.4")
    best = _prescribed(row).best
    assert best is not None
    assert "torch 2.4.1 itself does not work here" in best.why
    assert "no wheel for Python 3.13" in best.why


def test_a_build_whose_gpus_no_source_lists_is_not_prescribed_and_that_is_said() -> None:
    row = next(row for row in ROWS if row["title"].startswith("535 runs a cu126"))
    machine = msgspec.convert({**row["machine"], "python": "3.12"}, Machine)
    found = {(one.release.version, one.variant.tag): one for one in candidates(machine, KNOWLEDGE)}
    texts = [one.text for one in found["2.12.1", "cu129"].obstacles]
    assert texts == ["no source lists the GPUs that this build is for"]


def test_forward_compatibility_is_offered_to_data_center_gpus_alone() -> None:
    old = {"driver": "525.147.05", "python": "3.15", "glibc": "2.35"}
    for name, offered in (("NVIDIA A100-SXM4-40GB", True), ("NVIDIA GeForce RTX 3090", False)):
        gpus = [{"name": name, "compute_capability": "8.0"}]
        answer = prescribe(msgspec.convert({**old, "gpus": gpus}, Machine), KNOWLEDGE)
        assert ("cuda-compat-13-2" in (answer.none_because or "")) is offered
