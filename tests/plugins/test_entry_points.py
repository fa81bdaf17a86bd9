"""Entry points, compared with those that importlib.metadata finds."""

import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest

from envdoctor.entry_points import entry_points

GROUPS = sorted({one.group for found in metadata.distributions() for one in found.entry_points})


NAMES = Counter(found.name for found in metadata.distributions())


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_installed_here(group: str) -> None:
    """Of a distribution that lies twice in one folder it is left open which counts."""
    expected = {
        (one.name, one.value, one.dist.name if one.dist else "")
        for one in metadata.entry_points(group=group)
    }
    found = {tuple(one) for one in entry_points(group)}
    assert {one for one in found ^ expected if NAMES[one[2]] == 1} == set()


def test_the_first_distribution_of_a_name_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, value in (("one", "json:loads"), ("two", "json:dumps")):
        info = tmp_path / folder / "thing-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Name: Thing\n")
        (info / "entry_points.txt").write_text(
            f"# made by hand\n[other]\nx = no:no\n[envdoctor.test]\nx = {value} [extra]\n"
        )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "one"), str(tmp_path / "two")])
    (found,) = entry_points("envdoctor.test")
    assert (found.name, found.distribution) == ("x", "Thing")
    assert found.load()("[1]") == [1]
