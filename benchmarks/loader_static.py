"""How long the static resolution takes: `python benchmarks/loader_static.py VENV [RUNS]`.

Prints the median and the extremes in seconds, warm (the first run is left out), of everything that
the probe does: reading the ELF files and RECORDs, following the loader's rules, comparing symbols,
looking up owners. The target of the project is 0.5 s on torch 2.6.0+cu124.
"""

import os
import statistics
import sys
import time

from envdoctor.collect import collect
from envdoctor.facts import Snapshot
from envdoctor.facts.machine import Environment
from envdoctor.facts.python import Distributions, Interpreter
from envdoctor.facts.torch import TorchBuild
from envdoctor.knowledge import Knowledge, load
from envdoctor.options import Options
from envdoctor.plugin_loading import load_plugins
from envdoctor.probes.context import context_of
from envdoctor.probes.loader import observe_libraries
from envdoctor.probes.run import Children


def examine(python: str) -> Snapshot:
    """The facts that the probe reads."""
    children = Children()
    try:
        return collect(
            Options(python=python, static=True),
            load_plugins(),
            children=children,
            services={Knowledge: load()},
        )
    finally:
        children.kill_all()


def main() -> None:
    """Measure, and say what was measured."""
    python, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10
    snapshot = examine(python)
    interpreter, torch = snapshot.value(Interpreter), snapshot.value(TorchBuild)
    if interpreter is None or torch is None:
        sys.exit(f"no torch can be examined at `{python}`")
    context = context_of(Children())
    distributions, environment = snapshot.value(Distributions), snapshot.value(Environment)
    knowledge, seconds = load(), []
    for _ in range(runs + 1):
        started = time.perf_counter()
        observe_libraries(interpreter, torch, distributions, environment, knowledge, context)
        seconds.append(time.perf_counter() - started)
    warm = seconds[1:]
    print(
        f"torch {torch.version}, {os.cpu_count()} CPUs, {runs} runs: median "
        f"{statistics.median(warm):.3f} s, {min(warm):.3f} to {max(warm):.3f} s"
    )


if __name__ == "__main__":
    main()
