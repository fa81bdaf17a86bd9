"""The comparison of a GPU session, on figures made by hand (synthetic)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from envdoctor.facts.calibration import CalibrationRun, Ceiling
from tests.calibration.synthetic import make_calibration, make_run, spread

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_agreement.py"


def agreement(*arguments: Path | str) -> tuple[int, str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def report(path: Path, *runs: CalibrationRun, **ceilings: float) -> Path:
    measured = tuple(
        Ceiling(device="cuda:0", name=name.replace("_", " "), value=spread(rate), unit="")
        for name, rate in ceilings.items()
    )
    calibration = msgspec.to_builtins(make_calibration(*runs, ceilings=measured))
    path.write_text(json.dumps({"calibration": calibration}), encoding="utf-8")
    return path


def plain(path: Path, **figures: float) -> Path:
    lines: list[dict[str, Any]] = [{"device": "synthetic", "torch": "2.11.0"}]
    lines += [{"figure": name.replace("_", " "), "value": one} for name, one in figures.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_the_batches_are_those_of_the_first_gpu(tmp_path: Path) -> None:
    path = report(
        tmp_path / "report.json",
        make_run(1000, precision="bf16", batch_size=128),
        make_run(900, precision="bf16", batch_size=32),
        make_run(1000, precision="bf16", batch_size=256, device="cuda:1"),
        make_run(500, precision="tf32", batch_size=256, memory_format="contiguous"),
    )
    assert agreement("--batches", path) == (0, "bf16=128\n")


def test_a_gpu_without_bfloat16_is_compared_in_what_it_has(tmp_path: Path) -> None:
    first = report(
        tmp_path / "report.json",
        make_run(400, precision="fp16"),
        matmul_fp16=40.0,
        memory_copy=260.0,
    )
    figures = {"ResNet-50_fp16_batch_256": 404.0, "matmul_fp16": 41.0, "memory_copy": 262.0}
    code, said = agreement(first, plain(tmp_path / "plain.jsonl", **figures))
    assert code == 0
    assert said.count("ok ") == 3


def test_a_figure_that_is_off_is_marked(tmp_path: Path) -> None:
    first = report(tmp_path / "report.json", memory_copy=260.0)
    code, said = agreement(first, plain(tmp_path / "plain.jsonl", memory_copy=290.0))
    assert code == 1
    assert said.startswith("OFF memory copy")


def test_a_median_outside_the_first_interval_is_marked(tmp_path: Path) -> None:
    first = report(tmp_path / "report.json", make_run(1000))
    inside = report(tmp_path / "inside.json", make_run(1015))
    outside = report(tmp_path / "outside.json", make_run(1030))
    nothing = tmp_path / "was-interrupted"
    assert agreement(first, nothing, inside)[0] == 0
    code, said = agreement(first, nothing, outside)
    assert code == 1
    assert said.startswith("OFF bf16")


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    code, said = agreement(tmp_path / "none", tmp_path / "none")
    assert (code, said) == (2, "nothing of cuda:0 to compare\n")
    assert agreement("--batches", tmp_path / "none") == (0, "\n")
