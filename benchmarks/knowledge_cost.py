"""What the knowledge and the prescriber cost: run it, it prints a table.

    python benchmarks/knowledge_cost.py

Times are medians over fresh reads; memory is the growth of this process. Ranged reads of wheels
need the package index and are left out with --offline.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from envdoctor.fits import fit
from envdoctor.knowledge import Knowledge, load
from envdoctor.knowledge.refresh import wheel_of
from envdoctor.knowledge.remote import configured_index, files_of, metadata_of
from envdoctor.prescribe import Machine, prescribe

FILES = (
    "torch",
    "drivers",
    "gpus",
    "companions_file",
    "references",
    "systems",
    "chips_file",
    "libraries_file",
)
ROUNDS = 30


def main() -> None:
    """Print file, time and size of each part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--offline", action="store_true")
    before = _memory_mib()
    for name in FILES:
        print(f"read {name:<18}{_median_ms(lambda name=name: getattr(load(), name)):8.2f} ms")
    print(f"memory                 {_memory_mib() - before:8.1f} MiB more")
    knowledge = load()
    _prescriber(knowledge)
    if not parser.parse_args().offline:
        _wheels(knowledge)


def _prescriber(knowledge: Knowledge) -> None:
    path = Path(__file__).parents[1] / "tests/knowledge/machines.json"
    rows = json.loads(path.read_text())
    machines = [(msgspec.convert(row["machine"], Machine), row["torch"]) for row in rows]
    times = [_median_ms(lambda m=m, t=t: prescribe(m, knowledge, t), 5) for m, t in machines]
    print(f"prescribe              {statistics.median(times):8.2f} ms, at most {max(times):.2f}")
    claim = "torch==2.6.0 cuda==12.1 cudnn==8.9"
    print(f"fits                   {_median_ms(lambda: fit(claim, knowledge)):8.2f} ms")


def _wheels(knowledge: Knowledge) -> None:
    files = files_of("torch", configured_index())
    for version in ("1.13.1", "2.6.0", knowledge.newest_torch):
        wheel = wheel_of(version, files)
        if wheel is not None:
            metadata = metadata_of(wheel)
            share = f"{metadata.bytes_read / 2**20:.2f} of {(wheel.size or 0) / 2**20:.0f} MiB"
            print(f"wheel {version:<16} {share} read ({metadata.by})")


def _median_ms(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def _memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
