"""No parser fails, or takes long, whatever it is given. The heavy lane tries a million inputs."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envdoctor.derived import observed_types_of
from envdoctor.knowledge import load
from tests.boundary.parsers import Parser, failures, parsers
from tests.support.diagnosis import loaded

NAMES = (
    *("elf", "fatbin", "ld.so.cache", "metadata", "RECORD", "facts", "stage records", "NVML"),
    *("calibration", "version.py", "versions", "fits", "GPU names"),
)
SLOW = ("fits", "GPU names", "metadata")
"""They look through the whole knowledge or a folder for each input."""


@pytest.fixture(scope="module")
def every() -> Iterator[dict[str, Parser]]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield parsers(Path(folder), load(), observed_types_of(loaded()))


def test_every_parser_is_tried(every: dict[str, Parser]) -> None:
    assert tuple(every) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_is_read(every: dict[str, Parser], name: str) -> None:
    for seed in every[name].seeds:
        every[name].read(seed)


@pytest.mark.parametrize("name", NAMES)
def test_changed_inputs(every: dict[str, Parser], name: str) -> None:
    assert list(failures(name, every[name], range(100))) == []


@pytest.mark.heavy
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NAMES)
def test_a_million_changed_inputs(every: dict[str, Parser], name: str) -> None:
    seeds = range(1_000, 26_000 if name in SLOW else 100_000)
    assert list(failures(name, every[name], seeds)) == []
