"""Is the calibration's figure the one that a plain loop reaches, and does it come out again?

    python benchmarks/calibrate_fidelity.py [--pairs 11] [--precision fp32] [-o RESULT.json]

Calibration and plain loop run alternately, each in a process of its own, the first of a pair
alternating too. Reported: the median of the ratios (bound: within 5 %), the spread of the
calibration's medians (bound: 6 % on a shared machine, 3 % on a quiet one, by the noise of a fixed
small kernel), and how often a reported interval holds the next run's median (bound: 9 of 10).
"""

import argparse
import datetime
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from envdoctor.calibration.runner import calibrate
from envdoctor.calibration.target.machine import cpu_name, threads_for
from envdoctor.facts import Observed
from envdoctor.facts.calibration import Calibration, Settings
from envdoctor.probes.context import context_of
from envdoctor.probes.limits import read_limits
from envdoctor.probes.run import Children

PLAIN = Path(__file__).with_name("plain_loop.py")
WARMUP_STEPS = 5
"""Of the plain loop: what one would leave out by hand."""

EARLY_STEPS = ((1, 5), (6, 10), (11, 15), (16, 20))
QUIET_PCT = 3.0
BUSY_PCT = 10.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="default: the budget that users have"
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument(
        "--wait", type=float, default=0.0, help="minutes to wait for an idle machine"
    )
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    limits = read_limits(context_of(Children()))
    threads = threads_for(limits.usable_cpus)
    settings = Settings(
        devices=("cpu",),
        precisions=(options.precision,),
        batch_size=options.batch,
        budget_s=options.seconds,
        ceilings=False,
        pipeline=False,
    )
    pairs = []
    for number in range(options.pairs):
        wait_until_idle(options.wait * 60)
        # The order within a pair alternates, so that a drift of the machine favours neither.
        if number % 2:
            plain = plain_steps_s(options, threads)
            ours = calibration(settings)
        else:
            ours = calibration(settings)
            plain = plain_steps_s(options, threads)
        pairs.append((ours, plain))
        rate, plain_rate = ours.runs[0].images_per_s, plain_images_per_s(plain, options.batch)
        print(
            f"{number + 1:2d}  calibrate {rate.median:.3f} ({rate.low:.3f} to {rate.high:.3f})  "
            f"plain {plain_rate:.3f}  ratio {rate.median / plain_rate:.4f}  "
            f"noise {ours.conditions.noise_pct:.1f} %  load {os.getloadavg()[0]:.2f}",
            flush=True,
        )
    result = summary(pairs, options.precision, options.batch, threads)
    print(json.dumps(result, indent=2))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def wait_until_idle(limit_s: float) -> None:
    """Wait until other programs use less than a tenth of the CPUs, at most so long."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until and psutil.cpu_percent(interval=3.0) > BUSY_PCT:
        time.sleep(2.0)


def calibration(settings: Settings) -> Calibration:
    known = calibrate(sys.executable, settings, children=Children())
    assert isinstance(known, Observed), known
    return known.value


def plain_steps_s(options: argparse.Namespace, threads: int) -> list[float]:
    arguments = [str(options.batch), str(threads), str(options.seconds), options.precision]
    command = [sys.executable, str(PLAIN), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    steps_s: list[float] = json.loads(done.stdout)
    return steps_s


def plain_images_per_s(steps_s: list[float], batch: int) -> float:
    return batch / statistics.median(steps_s[WARMUP_STEPS:])


def early_over_later_pct(plain: list[list[float]]) -> dict[str, float]:
    """How much longer the early steps take than the median of those after them, on average."""
    last = EARLY_STEPS[-1][1]
    return {
        f"steps {first} to {to}": 100
        * (
            statistics.mean(
                seconds / statistics.median(steps_s[last:])
                for steps_s in plain
                for seconds in steps_s[first - 1 : to]
            )
            - 1
        )
        for first, to in EARLY_STEPS
    }


def summary(
    pairs: list[tuple[Calibration, list[float]]], precision: str, batch: int, threads: int
) -> dict[str, object]:
    runs = [ours.runs[0] for ours, _ in pairs]
    medians = [run.images_per_s.median for run in runs]
    plain = [plain_images_per_s(steps_s, batch) for _, steps_s in pairs]
    ratios = [median / rate for median, rate in zip(medians, plain, strict=True)]
    held = [
        this.images_per_s.low <= following.images_per_s.median <= this.images_per_s.high
        for this, following in itertools.pairwise(runs)
    ]
    noise = [ours.conditions.noise_pct or 0.0 for ours, _ in pairs]
    return {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "cpu": cpu_name(),
        "threads": threads,
        "torch": pairs[0][0].conditions.torch_version,
        "precision": precision,
        "batch": batch,
        "median_ratio": statistics.median(ratios),
        "ratios": ratios,
        "calibrate_images_per_s": medians,
        "plain_images_per_s": plain,
        "run_to_run_spread_pct": spread_pct(medians),
        "plain_spread_pct": spread_pct(plain),
        "early_over_later_pct": early_over_later_pct([steps_s for _, steps_s in pairs]),
        "intervals_that_held_the_next_median": f"{sum(held)} of {len(held)}",
        "interval_half_width_pct": statistics.median(
            50 * (run.images_per_s.high - run.images_per_s.low) / run.images_per_s.median
            for run in runs
        ),
        "noise_probe_pct": noise,
        "machine_was_quiet": statistics.median(noise) <= QUIET_PCT,
    }


def spread_pct(rates: list[float]) -> float:
    return 100 * (max(rates) - min(rates)) / statistics.median(rates)


if __name__ == "__main__":
    main()
