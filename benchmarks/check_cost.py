"""What a diagnosis costs beside a plain import: `python benchmarks/check_cost.py [--python PATH]`.

Runs `python -c "import torch"` of the target, with the libraries built on torch that it has and
that the doctor imports too, `envdoctor check` and `envdoctor check --static` in turn, and prints
medians, their ratio, the doctor's own peak memory, and `envdoctor --version`. The doctor is
compiled to bytecode first, as an installer leaves it.
"""

import argparse
import compileall
import datetime
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time

from envdoctor.companions import LIBRARIES


def seconds_of(argv: list[str]) -> float:
    """Wall time of one run."""
    started = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


OWN_MEMORY = """
import os, resource, runpy, sys
sys.argv = ["envdoctor", "check", *sys.argv[1:]]
end = os._exit
def tell_and_end(code):
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr, flush=True)
    end(code)
os._exit = tell_and_end
runpy.run_module("envdoctor", run_name="__main__")
"""


def own_memory_mb(target: str) -> float:
    """Peak resident memory of the doctor's process, without its children."""
    done = subprocess.run(
        [sys.executable, "-c", OWN_MEMORY, "--python", target],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(done.stderr.split()[-1]) / 1024


def compile_the_doctor() -> None:
    """Leave bytecode beside the doctor's own files, even where Python is forbidden to."""
    for name in ("envdoctor", "envdoctor_checks"):
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            compileall.compile_dir(folder, quiet=1)


COMPANIONS = """
import importlib.util, sys
print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name)])
"""
LIGHT = [one.module for one in LIBRARIES if not one.compiled]


def imports_of(python: str) -> str:
    """The statement that imports what the doctor imports in that target."""
    found = subprocess.run(
        [python, "-c", COMPANIONS, *LIGHT], capture_output=True, text=True, check=True
    )
    return "import " + ", ".join(["torch", *found.stdout.split()])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the target interpreter")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    doctor = [sys.executable, "-m", "envdoctor"]
    compile_the_doctor()
    imports = imports_of(options.python)
    commands = {
        "import": [options.python, "-c", imports],
        "check": [*doctor, "check", "--python", options.python],
        "check --static": [*doctor, "check", "--static", "--python", options.python],
        "--version": [*doctor, "--version"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, argv in commands.items():
            times[name].append(seconds_of(argv))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = [a / b for a, b in zip(times["check"], times["import"], strict=True)]
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} CPUs, {options.python}")
    print(imports)
    print(f"medians of {options.rounds} alternated rounds; load {os.getloadavg()[0]:.1f}")
    limits = {"check --static": "  (at most 0.35)", "--version": "  (at most 0.05)"}
    for name, median in medians.items():
        spread = f"(from {min(times[name]):.3f} to {max(times[name]):.3f})"
        print(f"  {name:16} {median:6.3f} s  {spread}{limits.get(name, '')}")
    print(f"  check / import   {statistics.median(ratios):6.2f}    (at most 1.10)")
    print(f"  doctor's memory  {own_memory_mb(options.python):6.1f} MB (at most 60)")


if __name__ == "__main__":
    main()
