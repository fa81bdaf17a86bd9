"""The text of a calibration: 80 columns, says what the JSON says, marks what is partial."""

import pytest

from envdoctor.calibration.assess import assess
from envdoctor.calibration.runs import extra, label
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import BatchAdvice, Ceiling, LeftOut, Settings, Telemetry
from envdoctor.knowledge import load
from envdoctor.render.calibration import first_steps, render_calibration
from tests.calibration.synthetic import (
    make_calibration,
    make_pipeline,
    make_run,
    make_telemetry,
    spread,
)

FULL = make_calibration(
    make_run(5.0, device="cpu", precision="fp32", stable=False),
    make_run(400.0, precision="fp32"),
    make_run(2400.0, device_name="NVIDIA A100-SXM4-80GB with a name that goes on and on"),
    make_run(2500.0, compiled=True, telemetry=make_telemetry(other_processes=2)),
    settings=Settings(what_if=("H100 PCIe", "L4")),
    pipeline=make_pipeline(480.0),
    ceilings=(Ceiling(device="cuda:0", name="matmul bf16", value=spread(250), unit="TFLOP/s"),),
    left_out=(LeftOut(device="cpu", what="bf16", reason="no instructions " * 9, failed=False),),
    batches=(
        BatchAdvice(
            device="cuda:0",
            precision="fp32",
            bytes_per_image=10,
            bytes_fixed=1,
            free_bytes=9,
            chosen=64,
            largest_safe=64,
            advice="accumulate gradients over 4 steps of 64 images",
        ),
    ),
)


def test_no_line_is_longer_than_80_columns() -> None:
    text = render_calibration(FULL, assess(FULL, load()))
    assert [line for line in text.splitlines() if len(line) > 80 and " " in line.strip()] == []
    assert text.endswith("\n")


@pytest.mark.parametrize(
    "expected",
    [
        "bf16              2,400",
        "fp32                5.0*",
        "not stable to 3 %",
        "matmul bf16                        250 TFLOP/s",
        "this GPU will be idle part of the time: 2,400",
        "cuda:0 fp32: 64 images; accumulate gradients over 4 steps",
        "4 workers         480 images/s",
        "(prediction)",
        "cuda:0 bf16 compiled: SM clock 1,400 of 1,410 MHz, 390 of 400 W, 61 °C, PCIe 4",
        "x16, 2 other processes, SwPowerCap 100 %",
    ],
)
def test_the_text_says(expected: str) -> None:
    assert expected in render_calibration(FULL, assess(FULL, load()))


def test_telemetry_says_nothing_of_what_the_driver_does_not_tell() -> None:
    silent = Telemetry(samples=4, temperature_c=61)
    run = make_run(2400.0, telemetry=silent)
    text = render_calibration(make_calibration(run), Assessment())
    assert "  cuda:0 bf16: 61 °C\n" in text


def test_a_partial_calibration_is_marked_in_its_heading() -> None:
    partial = make_calibration(complete=False, incomplete_because="interrupted by the user")
    heading, _, _ = render_calibration(partial, Assessment()).partition("\n\n")
    assert "PARTIAL: interrupted by the user" in heading


def test_runs_of_one_precision_are_told_apart() -> None:
    """As of an H100: both formats, and a smaller batch; the expected rate is of the usual one."""
    runs = (
        make_run(3975.0, first_step_s=2.7),
        make_run(2239.0, memory_format="contiguous", telemetry=make_telemetry()),
        make_run(3160.0, batch_size=64, telemetry=make_telemetry()),
    )
    names = [label(run) + extra(run, runs) for run in runs]
    assert names == ["cuda:0 bf16", "cuda:0 bf16 NCHW", "cuda:0 bf16 batch 64"]
    calibration = make_calibration(*runs)
    text = render_calibration(calibration, assess(calibration, load()))
    assert "cuda:0 bf16 NCHW: SM clock" in text
    assert "cuda:0 bf16 batch 64: SM clock" in text


@pytest.mark.parametrize(
    ("searched", "said"),
    [
        (True, "the first step took 14 s, in which cuDNN searched for its fastest kernels"),
        (False, "no time for cuDNN to search for its fastest kernels"),
        (None, "the first step took 14 s, later ones"),
    ],
)
def test_a_search_for_kernels_is_told(searched: bool | None, said: str) -> None:
    run = make_run(3963.0, first_step_s=14.0, cudnn_search=searched)
    assert any(said in words for _, words in first_steps((run,)))


def test_a_slow_run_without_a_search_is_not_called_slow() -> None:
    """Nobody knows by how much torch's default is slower on another GPU."""
    verdicts = {}
    for searched in (True, False):
        calibration = make_calibration(make_run(1000.0, cudnn_search=searched))
        (rate,) = (one for one in assess(calibration, load()).expected if one.precision == "bf16")
        verdicts[searched] = rate.verdict
    assert verdicts == {True: "slower", False: "unknown"}
