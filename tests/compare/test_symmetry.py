"""Over machines that nobody has seen: the comparison reads the same from either side."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from envdoctor.api import Snapshot
from envdoctor.compare.records import Comparison
from envdoctor.comparing import compared, examined
from envdoctor.options import Options
from envdoctor.render.comparison import render_comparison, render_comparison_markdown
from tests.support.generated import machines_of
from tests.support.pairs import session, side

SAMPLE, MANY = range(12), range(300)


def turned(found: Comparison) -> list[tuple[object, ...]]:
    """The differences as they are from the other side, in no order."""
    sides = [(one.part, one.name, one.second, one.first, one.weight) for one in found.differences]
    return sorted(sides, key=str)


def facts_of(found: Comparison) -> list[tuple[object, ...]]:
    sides = [(one.part, one.name, one.first, one.second, one.weight) for one in found.differences]
    return sorted(sides, key=str)


def assert_sound(one: Snapshot, other: Snapshot) -> None:
    first, second = side(one, "a"), side(other, "b")
    found, back = compared(session(), first, second), compared(session(), second, first)
    assert facts_of(found) == turned(back)
    assert found.exit_code == back.exit_code
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found
    assert render_comparison(found)
    assert render_comparison_markdown(found)
    itself = compared(session(), first, first)
    assert (itself.differences, itself.findings) == ((), ())
    assert_roots_are_told(found)


def assert_roots_are_told(found: Comparison) -> None:
    """Every root cause of one side is in the list: explained, or as what was seen to fail."""
    told = {(one.side, one.finding) for each in found.differences for one in each.explains}
    outcomes = {each.name for each in found.differences if each.part == "outcome"}
    for one in found.findings:
        if one.because is None and one.looked_for and (one.side, one.id) not in told:
            assert outcomes, one


def pairs(seeds: range) -> list[tuple[Snapshot, Snapshot]]:
    machines = [snapshot for _, snapshot in machines_of(seeds)]
    return list(pairwise(machines))


def test_any_two_machines() -> None:
    for one, other in pairs(SAMPLE):
        assert_sound(one, other)


@pytest.mark.heavy
def test_many_more_machines() -> None:
    for one, other in pairs(MANY):
        assert_sound(one, other)


@pytest.mark.heavy
def test_real_dumps_beside_each_other(shared: Path) -> None:
    dumps = sorted((shared / "cases" / "collect_env").glob("*.txt"))
    for one, other in pairwise(dumps):
        first, second = (examined(session(), str(path), Options()) for path in (one, other))
        assert_sound(first.snapshot, second.snapshot)
        found = compared(session(), first, second)
        # A text lists few packages: what it does not list is not told as missing.
        missing = [each for each in found.differences if None in (each.first, each.second)]
        assert not [each.name for each in missing if each.part == "variables"]
