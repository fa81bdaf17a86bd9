"""From what was measured to what it means: expected rates, speedups, epochs, starvation. Pure."""

from collections.abc import Iterable, Iterator

from envdoctor.calibration.comparisons import measured_speedups, predicted_speedups
from envdoctor.calibration.expectation import CHANNELS_LAST, Expectations
from envdoctor.calibration.feeding import feeds, pin_memory_ratio, recommended_workers
from envdoctor.calibration.reference import SERIES_OF_PRECISION
from envdoctor.calibration.roofline import Ceilings
from envdoctor.calibration.runs import main_runs
from envdoctor.facts.assessment import Assessment, Epoch, ExpectedRate, MatmulShare, Origin
from envdoctor.facts.calibration import (
    Calibration,
    CalibrationRun,
    Ceiling,
    MemoryFormat,
    Model,
    Precision,
)
from envdoctor.knowledge import GpuModel, Knowledge

IMAGENET_TRAIN_IMAGES = 1_281_167
"""Images of the ImageNet-1k training set (MLPerf `train_samples`, training_results_v2.1)."""


DEFAULT_WHAT_IF = ("Tesla T4", "GeForce RTX 4090", "A100 SXM4 80 GB")
"""What a machine without a GPU is compared with: the usual ones of clouds and desks."""


def assess(calibration: Calibration, knowledge: Knowledge) -> Assessment:
    """Everything that follows from the measurements and the knowledge."""
    expected: tuple[ExpectedRate, ...] = ()
    if calibration.settings.model == "resnet50":
        expectations = Expectations(knowledge)
        # Those who measure nothing do not wait for it.
        from envdoctor.calibration.cpu_expectation import expected_of_cpu

        of_runs = tuple(_expected_of_runs(calibration, expectations, knowledge))
        expected = (
            *of_runs,
            *_expected_of_what_if(calibration, expectations, knowledge, of_runs),
            *expected_of_cpu(calibration, main_runs(calibration.figures), _tflop(knowledge)),
        )
    pipeline = calibration.pipeline
    fed = pipeline.feeding_rate if pipeline else None
    # A bound is no figure: nothing is compared with it, and no epoch is worked out from it.
    runs = calibration.figures
    images = tuple(run for run in runs if run.images_per_s is not None)
    return Assessment(
        expected=expected,
        no_reference=no_reference(calibration.settings.model),
        speedups=(*measured_speedups(runs), *predicted_speedups(images, expected, fed)),
        epochs=tuple(_epochs(images, expected, fed)),
        feeds=tuple(feeds(_rates(images, expected), pipeline)),
        recommended_workers=recommended_workers(pipeline) if pipeline else None,
        pin_memory_ratio=pin_memory_ratio(calibration.ceilings),
        matmul_shares=tuple(_matmul_shares(runs, calibration.ceilings)),
    )


def _tflop(knowledge: Knowledge) -> float:
    return knowledge.resnet50.train_step_gflop_per_image / 1000


def no_reference(model: Model) -> str:
    """Why nothing is expected of a network; empty where there are published rates of it."""
    if model == "resnet50":
        return ""
    return (
        f"no reference for {model}: no rates of it are published that plain torch could be held "
        "against, so that nothing is expected here, and no other GPU is predicted"
    )


def what_if_models(names: Iterable[str], knowledge: Knowledge) -> tuple[GpuModel, ...]:
    """The GPU models of these names; names that the knowledge does not hold are left out."""
    return tuple(model for name in names if (model := knowledge.gpu(name)) is not None)


def amp_precision(gpu: GpuModel) -> Precision | None:
    """The 16-bit precision that one would train in on that GPU; None without tensor cores."""
    if gpu.bf16_tensor_tflops is not None and gpu.bf16 is not False:
        return "bf16"
    return "fp16" if gpu.fp16_tensor_tflops is not None else None


def model_precisions(gpu: GpuModel) -> tuple[Precision, ...]:
    """The precisions that a GPU model can be predicted in."""
    peaks: tuple[tuple[Precision | None, float | None], ...] = (
        ("fp32", gpu.fp32_tflops),
        ("tf32", gpu.tf32_tensor_tflops),
        (amp_precision(gpu), gpu.fp16_tensor_tflops),
    )
    return tuple(precision for precision, peak in peaks if precision and peak is not None)


def predict_model(
    gpu: GpuModel,
    knowledge: Knowledge,
    precisions: Iterable[Precision] = (),
    memory_format: MemoryFormat = CHANNELS_LAST,
    power_limit_w: float | None = None,
) -> tuple[ExpectedRate, ...]:
    """What that GPU would do, in these precisions or in all that it has; nothing is measured."""
    expectations = Expectations(knowledge)
    rates = (
        expectations.of_model(
            gpu,
            precision,
            device=gpu.model,
            memory_format=memory_format,
            power_limit_w=power_limit_w,
        )
        for precision in tuple(precisions) or model_precisions(gpu)
    )
    return tuple(rate for rate in rates if rate is not None)


def _expected_of_runs(
    calibration: Calibration, expectations: Expectations, knowledge: Knowledge
) -> Iterator[ExpectedRate]:
    for run in main_runs(calibration.runs):
        if run.device == "cpu":
            continue
        gpu = knowledge.gpu(run.device_name)
        rate = gpu and expectations.of_model(
            gpu,
            run.precision,
            device=run.device,
            memory_format=run.memory_format or CHANNELS_LAST,
            measured=run,
            power_limit_w=run.telemetry.power_limit_w if run.telemetry else None,
        )
        rate = rate or _expected_of_ceilings(run, calibration, expectations)
        if rate is not None:
            yield rate


def _expected_of_ceilings(
    run: CalibrationRun, calibration: Calibration, expectations: Expectations
) -> ExpectedRate | None:
    """For a GPU without a whole data sheet, a MIG slice say: from what it was measured to do."""
    measured = {
        one.name: one.value.median for one in calibration.ceilings if one.device == run.device
    }
    matrix, copy = measured.get(f"matmul {run.precision}"), measured.get("memory copy")
    vector = measured.get("matmul fp32")
    if matrix is None or copy is None or vector is None:
        return None
    nvidia = run.device.startswith("cuda") and calibration.conditions.hip is None
    # Published fp32 rates are of GPUs without TF32; see Expectations.
    older = run.precision != "fp32" or "matmul tf32" not in measured
    ceilings = Ceilings(matrix_tflops=matrix, vector_tflops=vector, bandwidth_gb_s=copy)
    return expectations.of_ceilings(run, ceilings, comparable=nvidia and older)


def _expected_of_what_if(
    calibration: Calibration,
    expectations: Expectations,
    knowledge: Knowledge,
    of_runs: Iterable[ExpectedRate],
) -> Iterator[ExpectedRate]:
    # Those who measure nothing do not wait for it.
    from envdoctor.calibration.correction import yardsticks

    measured = yardsticks(main_runs(calibration.figures), of_runs)
    names = calibration.settings.what_if
    if not names and all(run.device == "cpu" for run in calibration.runs):
        names = DEFAULT_WHAT_IF
    for gpu in what_if_models(names, knowledge):
        precision = amp_precision(gpu) or "fp32"
        rate = expectations.of_model(gpu, precision, device=gpu.model)
        if rate is None:
            continue
        yardstick = measured.get(SERIES_OF_PRECISION[precision])
        yield yardstick.corrected(rate) if yardstick else rate


def _rates(
    runs: Iterable[CalibrationRun], expected: Iterable[ExpectedRate]
) -> Iterator[tuple[str, Precision, Origin, float]]:
    """Device, precision, kind and rate of all that is measured or predicted."""
    for run in main_runs(runs):
        yield run.device, run.precision, "measured", run.rate.median
    for rate in expected:
        if rate.verdict == "not-measured":
            yield rate.device, rate.precision, "predicted", rate.images_per_s.median


def _epochs(
    runs: Iterable[CalibrationRun], expected: Iterable[ExpectedRate], fed: float | None
) -> Iterator[Epoch]:
    for device, precision, kind, rate in _rates(runs, expected):
        compute = IMAGENET_TRAIN_IMAGES / rate
        pipeline = None if fed is None else IMAGENET_TRAIN_IMAGES / fed
        yield Epoch(
            device=device,
            precision=precision,
            kind=kind,
            compute_bound_s=compute,
            pipeline_bound_s=pipeline,
            sentence=_epoch_in_words(compute, pipeline, 3 if kind == "measured" else 2),
        )


def _epoch_in_words(compute_s: float, pipeline_s: float | None, digits: int) -> str:
    alone = duration(compute_s, digits)
    if pipeline_s is None or pipeline_s <= compute_s:
        return alone
    return f"{duration(pipeline_s)} behind this input pipeline, {alone} without its limit"


def duration(seconds: float, digits: int = 3) -> str:
    """A duration as one says it: 45 s, 12.5 min, 7.5 h, 3.1 days; of a prediction two digits."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{float(f'{seconds / size:.{digits}g}'):g} {unit}"
    return f"{float(f'{seconds / 86400:.{digits}g}'):g} days"


def _matmul_shares(
    runs: Iterable[CalibrationRun], ceilings: Iterable[Ceiling]
) -> Iterator[MatmulShare]:
    limits = {(one.device, one.name): one.value.median for one in ceilings}
    for run in main_runs(runs):
        limit = limits.get((run.device, f"matmul {run.precision}"))
        if limit:
            share = run.tflops / limit
            yield MatmulShare(device=run.device, precision=run.precision, share=share)
