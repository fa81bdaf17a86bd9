"""Whether the machine trains as fast as it should, and what it waits for if not."""

from envdoctor.api import (
    Assessment,
    Calibration,
    CalibrationBaseline,
    CalibrationRun,
    Code,
    Confidence,
    Evidence,
    ExpectedRate,
    Finding,
    Findings,
    Fix,
    Layer,
    Safety,
    Severity,
    check,
    doctor,
    figure,
    label,
    main_runs,
)

GPU_SLOWER = Code(
    id="ED600",
    name="gpu-slower-than-expected",
    family="gpu-slower-than-expected",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="a device trains ResNet-50 more slowly than expected",
    detailed="{device} trains ResNet-50 at {measured} images/s in {precision}, {percent:.0f} % of "
    "the expected {expected}",
)
PIPELINE_STARVED = Code(
    id="ED604",
    name="pipeline-starved",
    family="slow-dataloader",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="the input pipeline feeds a device less than it wants",
    detailed="{device} can process {wanted} images/s but is fed {fed}: it waits {percent:.0f} % of "
    "the time",
)
SLOWER_THAN_BASELINE = Code(
    id="ED611",
    name="slower-than-baseline",
    family="slower-than-baseline",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="a rate is lower than in the baseline",
    detailed="{run} does {now}, and did {before} on {date}: {percent:.0f} % less",
)
LAUNCH_LIMITED = Code(
    id="ED612",
    name="launch-limited",
    family="slow-cpu-fallback",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="the CPU launches kernels more slowly than the GPU runs them",
    detailed="the CPU launches kernels more slowly than {device} runs them: {how}",
    explains=("ED600",),
)

_LAUNCH_BOUND = 0.5
"""A step of a quarter of the images should take about a quarter of the time."""

_HOST_BOUND = 0.9
"""Of the time of a step, needed to hand it over: the GPU then runs dry between kernels."""


@check(GPU_SLOWER)
def gpu_slower_than_expected(assessment: Assessment) -> Findings:
    """A GPU whose measured rate lies below the range that is expected of its model."""
    slow = [one for one in assessment.expected if one.verdict == "slower" and one.device != "cpu"]
    for device in dict.fromkeys(one.device for one in slow):
        those = sorted((one for one in slow if one.device == device), key=_share)
        worst = those[0]
        yield GPU_SLOWER.finding(
            subjects=(device,),
            confidence=Confidence.LIKELY,
            device=device,
            precision=worst.precision,
            measured=figure(worst.images_per_s.median * _share(worst)),
            expected=figure(worst.images_per_s.median),
            percent=100 * _share(worst),
            evidence=tuple(map(_against_expected, those)),
            fixes=(
                Fix(
                    summary="check what else uses the GPU, and its clocks",
                    commands=("nvidia-smi", "nvidia-smi -q -d PERFORMANCE,CLOCK,POWER"),
                    safety=Safety.SAFE,
                ),
            ),
            notes=(f"the expected rate is from {worst.basis}",),
        )


@check(PIPELINE_STARVED)
def pipeline_starved(calibration: Calibration, assessment: Assessment) -> Findings:
    """An input pipeline that was measured to feed less than a measured device eats."""
    measured = {(run.device, run.precision) for run in calibration.runs}
    waiting = [
        feed
        for feed in assessment.feeds
        if feed.waits and (feed.device, feed.precision) in measured
    ]
    if waiting:
        worst = max(waiting, key=lambda feed: feed.wanted_images_per_s)
        yield starved(
            worst.device,
            worst.wanted_images_per_s,
            worst.fed_images_per_s,
            "the input pipeline as measured",
            worst.sentence,
        )


def starved(device: str, wanted: float, fed: float, what: str, sentence: str) -> Finding:
    """That `what` feeds a device less than it wants, both in images/s."""
    return PIPELINE_STARVED.finding(
        subjects=(f"{device}:{what.rpartition(' ')[2]}",),
        # Of training on such images; another network may want fewer.
        confidence=Confidence.LIKELY,
        device=device,
        wanted=figure(wanted),
        fed=figure(fed),
        percent=100 * (1 - fed / wanted),
        evidence=(Evidence(label=what, value=sentence, source="calibration"),),
        fixes=(
            Fix(
                summary="give the DataLoader as many workers as there are usable CPUs, with "
                "pin_memory=True and persistent_workers=True",
            ),
            Fix(
                summary="make decoding cheaper: store images at the size that is trained on, or "
                "decode on the GPU (NVIDIA DALI, torchvision.io.decode_jpeg(device='cuda'))",
            ),
            Fix(
                summary="measure the pipeline with your own images",
                commands=("envdoctor calibrate --data /path/to/images",),
                safety=Safety.SAFE,
            ),
        ),
    )


@check(SLOWER_THAN_BASELINE)
def slower_than_baseline(calibration: Calibration, baseline: CalibrationBaseline) -> Findings:
    """A run whose whole interval lies below that of the same run in the older calibration."""
    before = {_key(run): run for run in baseline.calibration.figures}
    for run in calibration.figures:
        old = before.get(_key(run))
        if old is None or run.rate.high >= old.rate.low:
            continue
        yield SLOWER_THAN_BASELINE.finding(
            subjects=(":".join(map(str, _differs_by(run))),),
            run=f"{label(run)} (batch {run.batch_size}, {_shape(run)})",
            now=f"{figure(run.rate.median)} {run.unit}",
            before=figure(old.rate.median),
            date=baseline.calibration.conditions.started_at[:10],
            percent=100 * (1 - run.rate.median / old.rate.median),
            evidence=(
                _measured(run),
                Evidence(label="then", value=_range(old), source=baseline.path),
                *_changes(calibration, baseline.calibration),
            ),
            fixes=(
                doctor.measure_again(
                    baseline.path,
                    "measure again on an otherwise idle machine; if it stays, compare what "
                    "changed since",
                ),
            ),
            notes=("the intervals of the two measurements do not overlap",),
        )


@check(LAUNCH_LIMITED)
def launch_limited(calibration: Calibration) -> Findings:
    """A host that needs nearly the whole time of a step to hand it over to the GPU."""
    for run in main_runs(calibration.runs):
        if run.host_share is not None and run.host_share >= _HOST_BOUND:
            yield _launch_limited(
                run,
                f"handing over a step of {run.batch_size} {run.samples} takes "
                f"{100 * run.host_share:.0f} % of its time",
                _measured(run),
            )


@check(LAUNCH_LIMITED)
def step_does_not_shrink(calibration: Calibration) -> Findings:
    """A step of a quarter of the images, or fewer, that takes more than half of the time."""
    runs = calibration.runs
    for large in (run for run in main_runs(runs) if run.device != "cpu"):
        for small in runs:
            same = _key(small)[:-1] == _key(large)[:-1]
            share = small.ms_per_step / large.ms_per_step
            if not same or small.batch_size * 4 > large.batch_size or share < _LAUNCH_BOUND:
                continue
            yield _launch_limited(
                large,
                f"a step of {small.batch_size} {small.samples} takes {100 * share:.0f} % of the "
                f"time of one of {large.batch_size}",
                _measured(small),
                _measured(large),
                subject=f"{large.device}:{large.precision}:batch",
            )


def _launch_limited(
    run: CalibrationRun, how: str, *evidence: Evidence, subject: str = ""
) -> Finding:
    return LAUNCH_LIMITED.finding(
        subjects=(subject or f"{run.device}:{run.precision}",),
        confidence=Confidence.LIKELY,
        device=run.device,
        how=how,
        evidence=evidence,
        fixes=(
            Fix(summary="train with a larger batch, torch.compile or CUDA graphs"),
            Fix(summary="and free the CPU: fewer processes a core, a faster clock"),
        ),
    )


def _differs_by(run: CalibrationRun) -> tuple[object, ...]:
    shape = run.memory_format or run.sequence_length
    return run.device, run.precision, shape, run.batch_size


def _shape(run: CalibrationRun) -> str:
    return run.memory_format or f"sequences of {run.sequence_length} tokens"


def _key(run: CalibrationRun) -> tuple[object, ...]:
    return (
        run.model,
        run.device,
        run.device_name,
        run.precision,
        run.memory_format,
        run.sequence_length,
        run.compiled,
        run.batch_size,
    )


def _changes(now: Calibration, then: Calibration) -> tuple[Evidence, ...]:
    rows = (
        ("torch", then.conditions.torch_version, now.conditions.torch_version),
        ("threads", then.conditions.threads, now.conditions.threads),
    )
    return tuple(
        Evidence(label=name, value=f"{old} then, {new} now", source="calibration")
        for name, old, new in rows
        if old != new
    )


def _measured(run: CalibrationRun) -> Evidence:
    return Evidence(label=label(run), value=_range(run), source="calibration")


def _range(run: CalibrationRun) -> str:
    rate = run.rate
    return f"{figure(rate.median)} {run.unit} ({figure(rate.low)} to {figure(rate.high)})"


def _share(expected: ExpectedRate) -> float:
    return expected.measured_over_expected or 0.0


def _against_expected(expected: ExpectedRate) -> Evidence:
    measured = figure(expected.images_per_s.median * _share(expected))
    return Evidence(
        label=f"{expected.device} {expected.precision}",
        value=f"{measured} images/s, expected {_interval(expected)}",
        source="calibration",
    )


def _interval(expected: ExpectedRate) -> str:
    rate = expected.images_per_s
    return f"{figure(rate.low)} to {figure(rate.high)} images/s"
