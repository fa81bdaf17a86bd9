"""The fuzzing lane: every parser in a process of its own, guided by coverage (atheris).

`python -m tests.boundary.fuzz [NAME ...] [--runs N] [--keep] [-o FILE]` prints a row a parser;
`--keep` puts inputs that reach new code into the corpus, `-o` writes the rows as JSON.
"""

import argparse
import datetime
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from envdoctor.derived import observed_types_of
from envdoctor.knowledge import load
from tests.boundary.corpus import keep, kept
from tests.boundary.parser import Parser
from tests.boundary.parsers import parsers
from tests.support.diagnosis import loaded

RUNS = 45_000
SLOW = {
    **dict.fromkeys(("GPU names", "owners", "torch/__init__.py", "ld.so"), 10_000),
    "fits": 2_000,
    "judged texts": 1_500,
}
"""Parsers that go through the whole knowledge or through all checks."""
SEED = 13
LIMIT_S = 3600
MOST_CANDIDATES = 400
"""Of what was found, the shortest are looked at for the corpus."""

_COVERED = re.compile(r"^#\d+\s+(?:INITED|DONE)\s+cov: (\d+)", re.MULTILINE)
_TRIED = re.compile(r"^Done (\d+) runs", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """What came of one parser. Edges are those of libFuzzer in the doctor's own bytecode; those of
    the seeds and the kept corpus, and what was reached beyond them."""

    parser: str
    inputs: int
    edges_of_corpus: int
    new_edges: int
    seconds: float
    crashes: int
    hangs: int


def is_possible() -> bool:
    """Whether the fuzzer is installed (`pip install envdoctor[fuzz]`)."""
    return importlib.util.find_spec("atheris") is not None


def memory_folder() -> str | None:
    """Where files cost least; None for the ordinary place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def fuzzed(name: str, parser: Parser, runs: int, *, corpus: bool = False) -> tuple[Row, list[str]]:
    """Fuzz a parser: its row, and what it did that it may not."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as temporary:
        folder = Path(temporary)
        for part in ("seeds", "found"):
            (folder / part).mkdir()
        for number, seed in enumerate((*parser.seeds, *kept(name))):
            (folder / "seeds" / str(number)).write_bytes(seed)
        command = [sys.executable, "-m", "tests.boundary.fuzz_child"]
        began = time.monotonic()
        child = subprocess.run(
            [*command, name, str(folder), str(runs), str(SEED)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            text=True,
            errors="replace",
        )
        seconds = time.monotonic() - began
        lines = (folder / "failures").read_text("ascii").splitlines()
        failures = [json.loads(line) for line in lines]
        stuck = "libFuzzer: timeout" in child.stdout
        if child.returncode != 0:
            failures.append({"kind": "hang" if stuck else "crash", "error": child.stdout[-3000:]})
        if corpus:
            found = [path.read_bytes() for path in (folder / "found").iterdir()]
            keep(name, parser, sorted(found, key=len)[:MOST_CANDIDATES])
    edges = [int(number) for number in _COVERED.findall(child.stdout)] or [0]
    tried = _TRIED.search(child.stdout)
    row = Row(
        parser=name,
        inputs=int(tried[1]) if tried else 0,
        edges_of_corpus=edges[0],
        new_edges=edges[-1] - edges[0],
        seconds=round(seconds, 1),
        crashes=sum(one["kind"] == "crash" for one in failures),
        hangs=sum(one["kind"] == "hang" for one in failures),
    )
    return row, [one["error"] for one in failures]


def runs_of(name: str) -> int:
    """How many inputs the lane tries of a parser."""
    return SLOW.get(name, RUNS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the parsers that are named, or all; 1 if any failed, 2 where the fuzzer is not there."""
    options = _options(arguments)
    if not is_possible():
        print("the fuzzer is not installed: pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failed = False
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        every = parsers(Path(folder), load(), observed_types_of(loaded()))
        for name in options.names or every:
            runs = options.runs or runs_of(name)
            row, failures = fuzzed(name, every[name], runs, corpus=options.keep)
            rows.append(row)
            failed = failed or bool(failures)
            print(json.dumps(asdict(row)), *failures, sep="\n  ", flush=True)
    if options.o:
        document = {
            "date": datetime.date.today().isoformat(),
            "command": "python -m tests.boundary.fuzz -o benchmarks/results/fuzzing.json",
            "seed": SEED,
            "inputs": sum(row.inputs for row in rows),
            "crashes": sum(row.crashes for row in rows),
            "hangs": sum(row.hangs for row in rows),
            "parsers": [asdict(row) for row in rows],
        }
        options.o.write_text(json.dumps(document, indent=2) + "\n", "ascii")
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz the parsers of the boundary.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("-o", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
