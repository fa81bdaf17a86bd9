"""Do the calibration and the plain script agree, and does the figure come out again?

    python benchmarks/gpu_agreement.py REPORT PLAIN [AGAIN]
    python benchmarks/gpu_agreement.py --batches REPORT

REPORT and AGAIN are results of `envdoctor calibrate --json` (or a report with a calibration), PLAIN
that of plain_gpu.py in the same session. Prints figures of cuda:0 and their ratio, and whether each
median of AGAIN lies in the interval of REPORT; exits with 1 if a figure is more than 5 % off or a
median outside, and with 2 if there is nothing to compare. `--batches` prints what plain_gpu.py
takes: the batch of each precision.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BOUND = 0.05
DEVICE = "cuda:0"


def main(arguments: list[str]) -> int:
    if arguments[0] == "--batches":
        batches = batches_of(calibration_of(arguments[1]))
        print(*(f"{precision}={batch}" for precision, batch in batches.items()))
        return 0
    calibration = calibration_of(arguments[0])
    lines = [*compared(calibration, plain_of(arguments[1]))]
    if arguments[2:]:
        lines += repeated(calibration, calibration_of(arguments[2]))
    for good, line in lines:
        print("ok " if good else "OFF", line)
    if not lines:
        print(f"nothing of {DEVICE} to compare")
        return 2
    return 0 if all(good for good, _ in lines) else 1


def calibration_of(path: str) -> dict[str, Any]:
    """The calibration of a report; one without runs where there is none, or no report."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))["calibration"]
    except (OSError, ValueError, KeyError):
        found = None
    return found or {"runs": [], "ceilings": []}


def plain_of(path: str) -> dict[str, float]:
    """The figures of the plain script, as far as it came."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    figures = [json.loads(line) for line in lines]
    return {one["figure"]: one["value"] for one in figures if "figure" in one}


def main_runs(calibration: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The run of each precision with the largest batch, as the plain script does it."""
    found: dict[str, dict[str, Any]] = {}
    for run in calibration["runs"]:
        plain = run["memory_format"] == "channels_last" and not run["compiled"]
        if run["device"] == DEVICE and plain:
            best = found.setdefault(run["precision"], run)
            if run["batch_size"] > best["batch_size"]:
                found[run["precision"]] = run
    return found


def batches_of(calibration: dict[str, Any]) -> dict[str, int]:
    return {name: run["batch_size"] for name, run in main_runs(calibration).items()}


def compared(calibration: dict[str, Any], plain: dict[str, float]) -> Iterator[tuple[bool, str]]:
    ours = {
        one["name"]: one["value"]["median"]
        for one in calibration["ceilings"]
        if one["device"] == DEVICE
    }
    for name, run in main_runs(calibration).items():
        ours[f"ResNet-50 {name} batch {run['batch_size']}"] = run["images_per_s"]["median"]
    for name, theirs in plain.items():
        if name in ours:
            ratio = ours[name] / theirs
            line = f"{name:28} calibrate {ours[name]:9.1f}  plain {theirs:9.1f}  ratio {ratio:.3f}"
            yield abs(ratio - 1) <= BOUND, line


def repeated(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Whether a second measurement's median lies in the interval of the first."""
    before = main_runs(first)
    for name, run in main_runs(second).items():
        if name not in before or run["batch_size"] != before[name]["batch_size"]:
            continue
        interval, median = before[name]["images_per_s"], run["images_per_s"]["median"]
        low, high = interval["low"], interval["high"]
        line = f"{name:28} again {median:9.1f}  interval {low:9.1f} to {high:9.1f}"
        yield low <= median <= high, line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
