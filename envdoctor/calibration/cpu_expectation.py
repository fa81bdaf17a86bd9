"""What rate a CPU should reach, by what it was itself measured to do. Pure.

No rates of CPUs are published that could be compared (docs/calibration.md). What there is: the
arithmetic of a step at the rate of a large matrix product, and its traffic at the rate of a copy,
both of this machine and this torch. The two are a range, as how near convolutions come to a matrix
product, and what caches spare, is not known of a CPU in advance.
"""

import math
from collections.abc import Iterator

from envdoctor.calibration.speedup import figure
from envdoctor.facts.assessment import ExpectedRate, RateVerdict
from envdoctor.facts.calibration import Calibration, CalibrationRun, Conditions, Spread
from envdoctor.record import Record

_PARAMETERS = 25_557_032
_ACTIVATIONS = 22.2e6
"""Of one image in ResNet-50: the outputs of its convolutions (11.1 million, counted layer by layer
at 224x224) and of the normalisations behind them."""


class _Cost(Record):
    """What an image costs: its arithmetic in that of a matrix product of equal size, how often each
    activation goes to or from memory, and each parameter in a step of the optimizer."""

    arithmetic: float
    activation_passes: float
    parameter_passes: float

    def seconds(self, tflop: float, matmul_tflops: float, copy_gb_s: float, batch: int) -> float:
        """For one image in a batch of so many."""
        activations = 4 * _ACTIVATIONS * self.activation_passes
        parameters = 4 * _PARAMETERS * self.parameter_passes / batch
        gigabytes = (activations + parameters) / 1e9
        return self.arithmetic * tflop / matmul_tflops + gigabytes / copy_gb_s


_LEAST = _Cost(arithmetic=1.0, activation_passes=3.0, parameter_passes=5.0)
"""Every product as fast as a large one; an activation is written once, read once forward and once
backward; SGD reads weight, gradient and momentum, and writes two of them."""

_MOST = _Cost(arithmetic=2.0, activation_passes=14.0, parameter_passes=10.0)
"""Products at half of that rate, which small ones and layouts cost, and no pass spared by a cache:
normalisation reads thrice and writes, the rectifier reads and writes, backward as twice forward;
weights and gradients are converted to and from the other type."""


def expected_of_cpu(
    calibration: Calibration, runs: tuple[CalibrationRun, ...], tflop: float
) -> Iterator[ExpectedRate]:
    """For each of these runs on the CPU, where its limits were measured. `tflop` is the arithmetic
    of training on one image."""
    limits = {one.name: one.value.median for one in calibration.ceilings if one.device == "cpu"}
    copy = limits.get("memory copy")
    for run in runs:
        matmul = limits.get(f"matmul {run.precision}")
        if run.device != "cpu" or not matmul or not copy or run.images_per_s is None:
            continue
        rate = _range(tflop, matmul, copy, run.batch_size)
        yield ExpectedRate(
            device=run.device,
            device_name=run.device_name,
            precision=run.precision,
            memory_format=run.memory_format or "channels_last",
            images_per_s=rate,
            basis=_basis(run, calibration.conditions, matmul, copy),
            measured_over_expected=run.rate.median / rate.median,
            verdict=_verdict(run.rate, rate),
        )


def _verdict(measured: Spread, expected: Spread) -> RateVerdict:
    if measured.high < expected.low:
        return "slower"
    if measured.low > expected.high:
        return "faster"
    # An interval that is wide because the machine was not quiet meets any range.
    return "as-expected" if expected.low <= measured.median <= expected.high else "unknown"


def _range(tflop: float, matmul: float, copy: float, batch: int) -> Spread:
    low, high = (1 / cost.seconds(tflop, matmul, copy, batch) for cost in (_MOST, _LEAST))
    return Spread(median=math.sqrt(low * high), low=low, high=high)


def _basis(run: CalibrationRun, conditions: Conditions, matmul: float, copy: float) -> str:
    measured = (
        f"{figure(matmul)} TFLOP/s of a matrix product and {figure(copy)} GB/s of a copy, as "
        f"measured here in {run.precision}: a step does its arithmetic at half of that or more"
    )
    paper = paper_tflops(run, conditions)
    if paper is None:
        return measured
    low, high = figure(paper.low), figure(paper.high)
    return f"{measured}; {paper.words} are {low} to {high} TFLOP/s on paper"


class PaperPeak(Record):
    """What the threads of a run could compute at most, in TFLOP/s, and by what."""

    low: float
    high: float
    words: str


_FLOP_A_CYCLE = (
    ("avx512f", "AVX-512", (32, 64)),
    ("fma", "AVX2", (16, 32)),
)
"""Operations of a core in a cycle in fp32, with one unit for multiply-add of that width or two;
which a model has is not known from its features (a table by model, after Agner Fog's instruction
tables: https://stackoverflow.com/a/15657772)."""

_AMX_BF16 = (512, 1024)
"""The same of AMX in bf16: a product of 16 x 32 by 32 x 16 takes 16 cycles (TDPBF16PS in Intel's
optimization manual), at a lower clock than else."""


def paper_tflops(run: CalibrationRun, conditions: Conditions) -> PaperPeak | None:
    """By threads, clock and instructions; None where one of them is not known."""
    threads, clock, features = conditions.threads, conditions.cpu_clock_mhz, conditions.cpu_features
    known = next((one for one in _FLOP_A_CYCLE if one[0] in features), None)
    if threads is None or clock is None or known is None:
        return None
    _, name, (low, high) = known
    if run.precision == "bf16" and "amx_bf16" in features:
        name, (low, high) = "AMX", _AMX_BF16
    elif run.precision == "bf16" and "avx512_bf16" in features:
        low, high = 2 * low, 2 * high
    scale = threads * clock * 1e6 / 1e12
    words = f"{threads} thread{'s' if threads != 1 else ''} at {clock:,.0f} MHz with {name}"
    return PaperPeak(low=low * scale, high=high * scale, words=words)
