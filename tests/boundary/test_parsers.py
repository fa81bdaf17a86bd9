"""No parser fails, or takes long, whatever it is given. The heavy lane tries a million inputs."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envdoctor.derived import observed_types_of
from envdoctor.knowledge import load
from tests.boundary.corpus import FOLDER, kept
from tests.boundary.fuzz import fuzzed, is_possible, memory_folder, runs_of
from tests.boundary.parser import Parser, changed, failure_of
from tests.boundary.parsers import parsers
from tests.support.diagnosis import loaded

NAMES = (
    *("elf", "fatbin", "ld.so.cache", "metadata", "RECORD", "facts", "stage records", "NVML"),
    *(
        "calibration",
        "collective",
        "version.py",
        "versions",
        "NVML samples",
        "baseline",
        "redaction",
    ),
    *("judged texts", "fits", "GPU names", "proc", "cgroup and CPU lists"),
    *("kernel log", "kernel modules", "PCI", "os-release"),
    *("toolkit", "pyvenv.cfg", ".pth", "files of a dist-info", "owners", "torch/__init__.py"),
    *("ld.so", "strings of a library", "variables", "what is attached", "PCI configuration"),
    *("network", "cuInit"),
)
SLOW = ("fits", "GPU names", "judged texts", "NVML", "variables")
LONG_BYTES = 64_000


@pytest.fixture(scope="module")
def every() -> Iterator[dict[str, Parser]]:
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        yield parsers(Path(folder), load(), observed_types_of(loaded()))


def failures(parser: Parser, inputs: Iterator[bytes]) -> list[str]:
    return [str(one) for one in (failure_of(parser, data) for data in inputs) if one]


def test_every_parser_is_tried(every: dict[str, Parser]) -> None:
    assert tuple(every) == NAMES
    assert sum(map(runs_of, NAMES)) >= 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_is_read(every: dict[str, Parser], name: str) -> None:
    for seed in every[name].seeds:
        every[name].read(seed)


@pytest.mark.parametrize("name", NAMES)
def test_changed_inputs(every: dict[str, Parser], name: str) -> None:
    parser = every[name]

    def inputs() -> Iterator[bytes]:
        for number in range(20 if name in SLOW else 100):
            random_ = random.Random(number)
            yield changed(random_.choice(parser.seeds), parser.words, random_)

    assert failures(parser, inputs()) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_input_that_reached_other_code(every: dict[str, Parser], name: str) -> None:
    assert failures(every[name], iter(kept(name))) == []


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 400_000


@pytest.mark.parametrize("name", NAMES)
def test_a_long_input_is_no_hang(every: dict[str, Parser], name: str) -> None:
    """A word or a part of a seed again and again: what a pattern stumbles over that backtracks."""
    parser = every[name]
    longest = LONG_BYTES // 4 if name in SLOW else LONG_BYTES
    parts = {seed[at : at + 8] for seed in parser.seeds for at in range(0, min(len(seed), 64), 16)}

    def inputs() -> Iterator[bytes]:
        for part in sorted(parts | {*parser.words} - {b""}):
            for before in (b"", parser.seeds[0][: len(parser.seeds[0]) // 2]):
                yield before + part * (longest // len(part)) + b"!"

    assert failures(parser, inputs()) == []


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_a_million_inputs_guided_by_coverage(every: dict[str, Parser], name: str) -> None:
    if not is_possible():
        pytest.skip("atheris is not installed (`pip install -e .[fuzz]`)")
    row, failed = fuzzed(name, every[name], runs_of(name))
    assert failed == []
    assert row.inputs >= runs_of(name)
