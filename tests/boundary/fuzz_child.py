"""One parser, fuzzed by coverage: `python -m tests.boundary.fuzz_child NAME FOLDER RUNS SEED`.

FOLDER/seeds holds what to begin with; FOLDER/found takes what reached new code, FOLDER/failures
what the parser may not do, a JSON object a line. libFuzzer ends the process, and says on standard
error how far it came.
"""

import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import atheris

from tests.boundary.parser import Parser, changed, failure_of

with atheris.instrument_imports(include=["envdoctor", "envdoctor_checks"]):
    from envdoctor.derived import observed_types_of
    from envdoctor.knowledge import load
    from tests.boundary.parsers import parsers
    from tests.support.diagnosis import loaded

STUCK_S = 60
"""After which libFuzzer itself ends the process: code in C that no signal interrupts."""
MOST_OF_ONE_PLACE = 3
"""Failures at one line that are written down."""


def main(name: str, folder: Path, runs: int, seed: int) -> None:
    """Fuzz one parser; does not return."""
    with tempfile.TemporaryDirectory(dir=folder) as files:
        parser = parsers(Path(files), load(), observed_types_of(loaded()))[name]
        failures = (folder / "failures").open("a", encoding="ascii")
        seen = Counter[str]()

        def one_input(data: bytes) -> None:
            failure = failure_of(parser, data)
            if failure is None:
                return
            seen[failure.place] += 1
            if seen[failure.place] <= MOST_OF_ONE_PLACE:
                line = {"kind": failure.kind, "error": str(failure), "input": repr(data)}
                failures.write(json.dumps(line) + "\n")
                failures.flush()

        atheris.Setup(
            [
                sys.argv[0],
                *_options(parser, runs, seed),
                str(folder / "found"),
                str(folder / "seeds"),
            ],
            one_input,
            custom_mutator=lambda data, longest, number: _mutated(parser, data, longest, number),
        )
        atheris.Fuzz()


def _options(parser: Parser, runs: int, seed: int) -> list[str]:
    longest = max(parser.longest, *map(len, parser.seeds))
    return [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-max_len={longest}",
        f"-timeout={STUCK_S}",
        "-rss_limit_mb=3000",
        "-artifact_prefix=/dev/null",
        "-len_control=0",
    ]


def _mutated(parser: Parser, data: bytes, longest: int, number: int) -> bytes:
    """Half of the time as libFuzzer does it, else by words of what the parser reads."""
    random_ = random.Random(number)
    if random_.random() < 0.5:
        return bytes(atheris.Mutate(data, longest))
    return changed(data, parser.words, random_)[:longest]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
