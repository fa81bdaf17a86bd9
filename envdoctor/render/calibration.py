"""The calibration as text of 80 columns, without colour: measured first, then what it means."""

import textwrap
from collections.abc import Iterable, Iterator

from envdoctor.calibration.assess import duration
from envdoctor.calibration.runs import extra, label, main_runs
from envdoctor.calibration.speedup import figure, in_digits
from envdoctor.facts.assessment import (
    Assessment,
    Epoch,
    ExpectedRate,
    Origin,
    RateVerdict,
    Speedup,
)
from envdoctor.facts.calibration import (
    NAMES,
    BatchAdvice,
    Calibration,
    CalibrationRun,
    Ceiling,
    Conditions,
    InputPipeline,
    Spread,
    Telemetry,
)

WIDTH = 80

_SLOW_START = 1.2
"""A first step that takes so many times as long as a later one is told."""

_COSTLY = 2.0
"""Denormal numbers that cost less are nobody's disease."""

VERDICTS: dict[RateVerdict, str] = {
    "as-expected": "as expected",
    "slower": "slower",
    "faster": "faster",
    "not-measured": "not measured",
    "unknown": "too uncertain to judge by",
}
"""How a measured rate stands to the expected one, in words."""


def render_calibration(calibration: Calibration, assessment: Assessment) -> str:
    """The calibration as plain text, ending with a line break. Pure."""
    sections = (
        _heading(calibration),
        _runs(calibration),
        _section("first steps", _first(calibration.runs)),
        _section("largest safe batch", _batches(calibration.batches)),
        _section("GPUs while they were measured (NVML)", _telemetry(calibration.runs)),
        _section("should reach", _should_reach(assessment)),
        _section("speedups", _speedups(assessment.speedups, "measured")),
        _section("limits of the hardware", _limits(calibration, assessment)),
        _section("input pipeline", _pipeline(calibration.pipeline, assessment)),
        _section("what another GPU would bring here (prediction)", _what_if(assessment)),
        _section("ImageNet-1k epoch (1,281,167 images)", _epochs(assessment.epochs)),
        _section("left out", _left_out(calibration)),
    )
    return "\n".join("\n".join(lines) for section in sections if (lines := list(section))) + "\n"


def render_expected(rates: Iterable[ExpectedRate]) -> str:
    """Expected rates alone, as `envdoctor predict` prints them."""
    return "\n".join(_expected(rates, predictions=True)) + "\n"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    body = list(lines)
    if body:
        yield ""
        yield title
        yield from body


def _heading(calibration: Calibration) -> Iterator[str]:
    conditions = calibration.conditions
    yield f"calibration: {what_is_trained(calibration)}"
    parts = [f"torch {conditions.torch_version}" if conditions.torch_version else ""]
    if conditions.threads is not None:
        parts.append(f"{conditions.threads} thread{'s' if conditions.threads != 1 else ''}")
    parts.append(f"took {duration(conditions.seconds)}")
    yield "  " + ", ".join(part for part in parts if part)
    if not calibration.complete:
        yield from _wrapped(f"PARTIAL: {calibration.incomplete_because}", "  ")


def what_is_trained(calibration: Calibration) -> str:
    """The network and its data, in words; the length of sequences where the devices agree."""
    name = f"{NAMES[calibration.settings.model]} training step, synthetic"
    if calibration.settings.model == "resnet50":
        return f"{name} 224x224 images"
    lengths = {run.sequence_length for run in calibration.runs}
    return f"{name} sequences" + (f" of {lengths.pop()} tokens" if len(lengths) == 1 else "")


def _runs(calibration: Calibration) -> Iterator[str]:
    device = ""
    for run in calibration.runs:
        if run.device != device:
            device = run.device
            yield ""
            yield f"{run.device}  {run.device_name}"
            yield (
                f"  {'precision':<13} {run.unit:>9}  {'(range)':<19} {'ms/step':>9} TFLOP/s"
                f" {'memory':>8}  {'batch':>5}"
            )
        yield _run(run)
    yield from _of_sequences(calibration.runs)
    if calibration.bounds:
        yield from _wrapped(f"> {at_least_in_words(calibration)}", "  ")
    if any(not run.stable and not run.at_least for run in calibration.runs):
        yield from _wrapped(
            "* not stable to 3 % within the budget, which holds too few steps (--budget gives "
            "more), or the machine's clocks moved",
            "  ",
        )


def _of_sequences(runs: Iterable[CalibrationRun]) -> Iterator[str]:
    """How long a sequence was on each device, and how many of them are a second's work."""
    for run in main_runs(runs):
        if run.sequence_length is not None:
            done = f"{figure(run.rate.median / run.sequence_length)} sequences/s"
            text = f"{label(run)}: {done} of {run.sequence_length:,} tokens"
            yield from _wrapped(text, "  ")


def at_least_in_words(calibration: Calibration) -> str:
    """Why figures are bounds, and what follows from that."""
    used = calibration.cpus_of_others
    if not used:
        return (
            "at least so much: only the first steps were done in the time that was planned, so "
            "that no speedup and no epoch is worked out from it; --budget gives more"
        )
    names = ", ".join(f"{one.name} {one.cpus:.1f}" for one in calibration.conditions.busy)
    by = f" ({names})" if names else ""
    return (
        f"at least so much: other programs used {used:.1f} CPUs meanwhile{by}, so that no speedup "
        "and no epoch is worked out from it; measure again when they have ended"
    )


def _run(run: CalibrationRun) -> str:
    rate = run.rate
    mark = " " if run.stable or run.at_least else "*"
    more = ">" if run.at_least else " "
    interval = "at least" if run.at_least else _range(rate)
    memory = "?" if run.peak_memory_bytes is None else f"{run.peak_memory_bytes / 1e9:.1f} GB"
    return (
        f"{more} {run.precision + extra(run):<13} {figure(rate.median):>9}{mark} {interval:<19}"
        f" {run.ms_per_step:>9,.1f} {run.tflops:>7.2f} {memory:>8}  {run.batch_size:>5}"
    )


def _first(runs: Iterable[CalibrationRun]) -> Iterator[str]:
    for name, said in first_steps(runs):
        yield from _wrapped(f"{name}: {said}", "  ")


def first_steps(runs: Iterable[CalibrationRun]) -> Iterator[tuple[str, str]]:
    """What torch.compile took, and how long the first step did where that was clearly longer than
    the later ones: the run, and the figures in words."""
    runs = tuple(runs)
    for run in runs:
        name, step_s = label(run) + extra(run, runs), run.ms_per_step / 1000
        if run.compile_s is not None:
            yield name, f"torch.compile took {duration(run.compile_s, 2)}"
        elif run.first_step_s is not None and run.first_step_s > _SLOW_START * step_s:
            first, searched = duration(run.first_step_s, 2), _SEARCHED if run.cudnn_search else ""
            yield name, f"the first step took {first}{searched}, later ones {duration(step_s, 2)}"
        if run.cudnn_search is False:
            yield name, _NOT_SEARCHED


_SEARCHED = ", in which cuDNN searched for its fastest kernels (torch.backends.cudnn.benchmark)"
_NOT_SEARCHED = (
    "there was no time for cuDNN to search for its fastest kernels (a larger --budget may give "
    "it); the rate is that of torch's default"
)


def _batches(batches: Iterable[BatchAdvice]) -> Iterator[str]:
    for batch in batches:
        advice = f"; {batch.advice}" if batch.advice else ""
        samples = "images" if batch.bytes_per_sequence is None else "sequences"
        text = f"{batch.device} {batch.precision}: {batch.largest_safe} {samples}{advice}"
        yield from _wrapped(text, "  ")


def _telemetry(runs: Iterable[CalibrationRun]) -> Iterator[str]:
    runs = tuple(runs)
    for run in runs:
        if run.telemetry is not None:
            sampled = ", ".join(_sampled(run.telemetry))
            yield from _wrapped(f"{label(run)}{extra(run, runs)}: {sampled}", "  ")


def _sampled(telemetry: Telemetry) -> Iterator[str]:
    """What NVML said of a GPU under load; what it did not say is left out."""
    if telemetry.sm_clock_mhz is not None:
        most = f" of {telemetry.max_sm_clock_mhz:,}" if telemetry.max_sm_clock_mhz else ""
        yield f"SM clock {telemetry.sm_clock_mhz.median:,.0f}{most} MHz"
    if telemetry.power_w is not None:
        most = f" of {telemetry.power_limit_w:.0f}" if telemetry.power_limit_w else ""
        yield f"{telemetry.power_w.median:.0f}{most} W"
    if telemetry.temperature_c is not None:
        yield f"{telemetry.temperature_c} °C"
    if telemetry.pcie_generation is not None and telemetry.pcie_width is not None:
        yield f"PCIe {telemetry.pcie_generation} x{telemetry.pcie_width}"
    if telemetry.other_processes:
        held = telemetry.other_process_bytes
        memory = f" with {held / 1e9:.1f} GB" if held is not None else ""
        yield f"{telemetry.other_processes} other processes{memory}"
    for reason, share in telemetry.throttle_shares.items():
        yield f"{reason} {100 * share:.0f} %"


def _vaguely(rate: Spread) -> str:
    low, high = in_digits(rate.low, rate), in_digits(rate.high, rate)
    return f"{in_digits(rate.median, rate)} images/s ({low} - {high})"


def _range(rate: Spread) -> str:
    return f"({figure(rate.low)} - {figure(rate.high)})"


def _should_reach(assessment: Assessment) -> Iterator[str]:
    yield from _expected(assessment.expected, predictions=False)
    yield from _wrapped(assessment.no_reference, "  ")


def _expected(rates: Iterable[ExpectedRate], *, predictions: bool) -> Iterator[str]:
    for rate in rates:
        if (rate.verdict == "not-measured") is not predictions:
            continue
        yield (f"  {rate.device} {rate.precision}: {_vaguely(rate.images_per_s)}")
        if rate.measured_over_expected is not None:
            share = 100 * rate.measured_over_expected
            yield f"    measured is {share:.0f} % of that: {VERDICTS[rate.verdict]}"
        yield from _wrapped(f"from {rate.basis}", "    ")


def _speedups(speedups: Iterable[Speedup], kind: Origin) -> Iterator[str]:
    for one in speedups:
        if one.kind == kind:
            yield from _wrapped(f"{one.of} against {one.against}:", "  ")
            yield from _wrapped(one.sentence, "    ")


def _limits(calibration: Calibration, assessment: Assessment) -> Iterator[str]:
    yield from map(_ceiling, calibration.ceilings)
    yield from _of_the_cpu(calibration.conditions)
    for one in assessment.matmul_shares:
        step = f"a step in {one.precision} on {one.device}"
        yield from _wrapped(f"{step} computes at {100 * one.share:.0f} % of the matmul", "  ")


def _of_the_cpu(conditions: Conditions) -> Iterator[str]:
    """What its threads gain, and what denormal numbers cost where they cost something."""
    gain, cost = conditions.thread_gain, conditions.denormal_cost
    if gain is not None:
        yield f"  {conditions.threads} threads of the CPU compute {gain:.1f} times as fast as one"
    if cost is not None and cost >= _COSTLY:
        text = (
            f"arithmetic on denormal numbers takes {cost:.0f} times as long: "
            "torch.set_flush_denormal(True) makes them zero"
        )
        yield from _wrapped(text, "  ")


def _ceiling(ceiling: Ceiling) -> str:
    value = f"{figure(ceiling.value.median)} {ceiling.unit}"
    detail = f"  ({ceiling.detail})" if ceiling.detail else ""
    return f"  {ceiling.device + ' ' + ceiling.name:<38} {value:>14}{detail}"[:WIDTH]


def _pipeline(pipeline: InputPipeline | None, assessment: Assessment) -> Iterator[str]:
    if pipeline is None:
        return
    if pipeline.decoder is None:
        yield from _wrapped(pipeline.missing, "  ")
    for rate in pipeline.rates:
        workers = f"{rate.workers} worker{'s' if rate.workers != 1 else ' '}"
        median = figure(rate.images_per_s.median)
        yield f"  {workers:<12} {median:>8} images/s  {_range(rate.images_per_s)}"
    if pipeline.decoder is not None:
        yield from _wrapped(f"decoded with {pipeline.decoder}; {pipeline.image_source}", "  ")
    yield from _workers(pipeline, assessment.recommended_workers)
    if assessment.pin_memory_ratio is not None:
        yield f"  pin_memory copies {figure(assessment.pin_memory_ratio.median)}x as fast"
    if pipeline.data_read_bytes_per_s is not None:
        rate_mb = pipeline.data_read_bytes_per_s / 1e6
        yield from _wrapped(f"reading {pipeline.data}: {figure(rate_mb)} MB/s", "  ")
    if pipeline.checkpoint_write_s is not None and pipeline.checkpoint_bytes is not None:
        size, read_s = pipeline.checkpoint_bytes / 1e6, pipeline.checkpoint_read_s
        read = f", read in {read_s:.2f} s" if read_s is not None else ""
        yield f"  checkpoint of {size:.0f} MB: written in {pipeline.checkpoint_write_s:.2f} s{read}"
    for feed in assessment.feeds:
        yield from _wrapped(f"{feed.device} {feed.precision}: {feed.sentence}", "  ")


def _workers(pipeline: InputPipeline, recommended: int | None) -> Iterator[str]:
    if recommended is None:
        return
    yield f"  recommended num_workers: {recommended}"
    of_those = (one.first_batch_s for one in pipeline.rates if one.workers == recommended)
    first_s = next(of_those, None)
    if first_s is not None:
        text = (
            f"each epoch starts them and waits {first_s:.2f} s for its first batch; "
            "persistent_workers=True starts them once"
        )
        yield from _wrapped(text, "  ")


def _what_if(assessment: Assessment) -> Iterator[str]:
    yield from _expected(assessment.expected, predictions=True)
    yield from _speedups(assessment.speedups, "predicted")


def _epochs(epochs: Iterable[Epoch]) -> Iterator[str]:
    for epoch in epochs:
        predicted = " (prediction)" if epoch.kind == "predicted" else ""
        name = f"{epoch.device} {epoch.precision}{predicted}"
        yield from _wrapped(f"{name}: {epoch.sentence}", "  ")


def _left_out(calibration: Calibration) -> Iterator[str]:
    for one in calibration.left_out:
        yield from _wrapped(f"{one.device} {one.what}: {one.reason}", "  ")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
