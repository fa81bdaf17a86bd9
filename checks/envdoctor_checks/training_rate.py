"""What the rate of the user's own training (`--training-rate`) says about it."""

from envdoctor.api import (
    Calibration,
    CalibrationRun,
    Code,
    Confidence,
    Evidence,
    Findings,
    Fix,
    Knowledge,
    Layer,
    Record,
    Severity,
    Site,
    check,
    figure,
    interpreters,
    label,
    main_runs,
    predict_model,
    throughput_gain_pct,
    time_saved_pct,
)
from envdoctor_checks.performance import PIPELINE_STARVED, starved

CPU_FALLBACK = Code(
    id="ED605",
    name="slow-cpu-fallback",
    family="slow-cpu-fallback",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    fault="environment",
    message="your training runs at the rate of the CPU",
    detailed="your training runs at {rate} images/s, which the CPU alone reaches ({cpu}); {device} "
    "does {gpu}",
    explains=("ED604",),
)
FP32_TRAINING = Code(
    id="ED610",
    name="fp32-training",
    family="fp32-training",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    fault="environment",
    message="your training runs in a slower precision than the GPU offers",
    detailed="your training runs at the rate of {slow} on {device}; {fast} is {ratio}x faster "
    "({saved:.0f} % less time, {gain:+.0f} % throughput)",
)

_NEAR = 1.25
"""Two rates of one precision, in two programs, lie closer together than two precisions do."""

_WORTH_SAYING = 1.5
_STARVED = 0.5


class Reachable(Record):
    """What a GPU reaches in a precision, images/s: as measured here, else as expected."""

    device: str
    precision: str
    images_per_s: float
    source: str


@check(PIPELINE_STARVED)
def training_below_device(calibration: Calibration, known: Knowledge) -> Findings:
    """The user's training reaches less than half of what the GPU does, and the rate of none of
    its precisions: something else than the GPU sets it."""
    rate, reachable = calibration.settings.training_rate, _reachable(calibration, known)
    if rate is None or not reachable or _nearest(rate, reachable) is not None:
        return
    best = max(reachable, key=lambda one: one.images_per_s)
    if rate < _STARVED * best.images_per_s:
        sentence = f"{figure(rate)} of {figure(best.images_per_s)} images/s"
        yield starved(best.device, best.images_per_s, rate, "your training", sentence)


@check(CPU_FALLBACK)
def slow_cpu_fallback(calibration: Calibration, known: Knowledge, site: Site) -> Findings:
    """The user's training on a GPU machine is no faster than the CPU alone."""
    rate, reachable = calibration.settings.training_rate, _reachable(calibration, known)
    cpus = [run for run in main_runs(calibration.figures) if run.device == "cpu"]
    if rate is None or not reachable or not cpus:
        return
    best = max(reachable, key=lambda one: one.images_per_s)
    fastest = max(cpus, key=lambda run: run.rate.median)
    if rate > _NEAR * fastest.rate.high or rate >= _STARVED * best.images_per_s:
        return
    yield CPU_FALLBACK.finding(
        subjects=(best.device,),
        confidence=Confidence.LIKELY,
        rate=figure(rate),
        cpu=figure(fastest.rate.median),
        device=best.device,
        gpu=figure(best.images_per_s),
        evidence=(
            _own(rate),
            Evidence(
                label=label(fastest),
                value=f"{figure(fastest.rate.median)} images/s",
                source="calibration",
            ),
        ),
        fixes=(
            interpreters.try_in_target(
                site.target,
                "import torch; print(torch.cuda.is_available())",
                summary="make sure that model and batches are moved to the GPU",
            ),
        ),
    )


@check(FP32_TRAINING)
def fp32_training(calibration: Calibration, known: Knowledge) -> Findings:
    """The user's training runs at the rate of a precision that another one clearly exceeds."""
    rate, reachable = calibration.settings.training_rate, _reachable(calibration, known)
    slow = _nearest(rate, reachable) if rate is not None else None
    if rate is None or slow is None or slow.precision not in _REMEDIES:
        return
    fast = max(reachable, key=lambda one: one.images_per_s)
    ratio = fast.images_per_s / slow.images_per_s
    if ratio < _WORTH_SAYING:
        return
    tf32 = any(one.precision == "tf32" for one in reachable)
    yield FP32_TRAINING.finding(
        subjects=(fast.device,),
        confidence=Confidence.LIKELY,
        device=fast.device,
        slow=slow.precision,
        fast=fast.precision,
        ratio=figure(ratio),
        saved=time_saved_pct(ratio),
        gain=throughput_gain_pct(ratio),
        evidence=(_own(rate), _evidence(slow), _evidence(fast)),
        fixes=tuple(
            Fix(summary=summary.format(kind=_TORCH_TYPE[fast.precision]))
            for summary, needs_tf32 in _REMEDIES[slow.precision]
            if tf32 or not needs_tf32
        ),
    )


_REMEDIES = {
    "fp32": (
        (
            "allow TF32, which is switched off: torch.backends.cudnn.allow_tf32 = True and "
            "torch.backends.cuda.matmul.allow_tf32 = True, without NVIDIA_TF32_OVERRIDE=0",
            True,
        ),
        ("train with torch.autocast('cuda', {kind}) and channels_last", False),
    ),
    "tf32": (("train with torch.autocast('cuda', {kind}) and channels_last", False),),
}
"""For each precision what makes it faster, and whether that needs a GPU with TF32. Convolutions
use TF32 unless it is switched off (torch.backends.cudnn.allow_tf32, True by default)."""

_TORCH_TYPE = {
    "bf16": "torch.bfloat16",
    "fp16": "torch.float16, with a GradScaler",
    "tf32": "torch.float16, with a GradScaler",
}


def _reachable(calibration: Calibration, known: Knowledge) -> list[Reachable]:
    """All precisions of the fastest GPU here, which trained on images as the user's own does."""
    runs = [run for run in main_runs(calibration.runs) if run.device != "cpu" and run.images_per_s]
    if not runs:
        return []
    fastest = max(runs, key=lambda run: run.rate.median)
    own = [run for run in runs if run.device == fastest.device]
    rates = {run.precision: _of_run(run) for run in own}
    model = known.gpu(fastest.device_name)
    for one in predict_model(model, known) if model else ():
        expected = Reachable(
            device=fastest.device,
            precision=one.precision,
            images_per_s=one.images_per_s.median,
            source=one.basis,
        )
        rates.setdefault(one.precision, expected)
    return list(rates.values())


def _of_run(run: CalibrationRun) -> Reachable:
    return Reachable(
        device=run.device,
        precision=run.precision,
        images_per_s=run.rate.median,
        source="calibration",
    )


def _nearest(rate: float, reachable: list[Reachable]) -> Reachable | None:
    """The precision whose rate the training reaches; None if it reaches none of them."""

    def distance(one: Reachable) -> float:
        return max(rate / one.images_per_s, one.images_per_s / rate)

    nearest = min(reachable, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= _NEAR else None


def _own(rate: float) -> Evidence:
    return Evidence(label="your rate", value=f"{rate:g} images/s", source="--training-rate")


def _evidence(one: Reachable) -> Evidence:
    value = f"{figure(one.images_per_s)} images/s"
    return Evidence(label=f"{one.device} {one.precision}", value=value, source=one.source)
