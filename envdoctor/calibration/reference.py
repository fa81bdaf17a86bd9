"""Published ResNet-50 training rates, grouped so that like is compared with like.

A series is a precision and a memory format: published AMP rates with channels_last are about 1.46
times those without it, on the same GPU. The rates of NVIDIA's DeepLearningExamples 21.03 state no
memory format; they are taken as channels_last because they are 1.42 to 1.56 times the contiguous
rates of the same GPUs, as 1218 is of 826 images/s on an RTX 3090 where the source states both.
"""

from collections.abc import Iterable

from envdoctor.facts.calibration import Precision
from envdoctor.knowledge import GpuModel, Knowledge, ResnetReference
from envdoctor.record import Record

AMP, TF32, FP32 = "AMP", "TF32", "FP32"
SERIES_OF_PRECISION: dict[Precision, str] = {
    "bf16": AMP,
    "fp16": AMP,
    "tf32": TF32,
    "fp32": FP32,
}

_TIERS = (
    "reference (compute only)",
    "reference",
    "lambda v2",
    "lambda v1",
    "lambda raw (older containers)",
    "older",
)
"""Sources, the best first: newer software, and compute alone before whole training scripts."""

_INPUT_BOUND = "probably input-bound"


class PublishedRate(Record):
    """The published rate of one GPU in one series, images/s, from the best source there is."""

    gpu: str
    series: str
    channels_last: bool
    images_per_s: float
    lowest: float
    highest: float
    source: str


def published_rates(knowledge: Knowledge) -> tuple[PublishedRate, ...]:
    """A rate for every GPU and series: the median of the best tier, the range of all tiers.

    Records that their source calls input-bound are left out, and GPUs that the data do not hold.
    """
    known = {model.model for model in knowledge.gpus}
    groups: dict[tuple[str, str, bool], list[ResnetReference]] = {}
    for reference in knowledge.resnet50_references:
        if reference.gpu not in known or any(_INPUT_BOUND in note for note in reference.notes):
            continue
        key = reference.gpu, _series(reference), _channels_last(reference)
        groups.setdefault(key, []).append(reference)
    return tuple(_best(key, group) for key, group in sorted(groups.items()))


def _best(key: tuple[str, str, bool], group: Iterable[ResnetReference]) -> PublishedRate:
    # Brings `random` and `fractions`, for which those who measure nothing do not wait.
    from statistics import median

    ordered = sorted(group, key=lambda one: _rank(one.tier))
    best = [one for one in ordered if one.tier == ordered[0].tier]
    rates = [one.images_per_s_per_gpu for one in ordered]
    gpu, series, channels_last = key
    return PublishedRate(
        gpu=gpu,
        series=series,
        channels_last=channels_last,
        images_per_s=median(one.images_per_s_per_gpu for one in best),
        lowest=min(rates),
        highest=max(rates),
        source=best[0].source,
    )


def _rank(tier: str) -> int:
    return _TIERS.index(tier) if tier in _TIERS else len(_TIERS)


def _series(reference: ResnetReference) -> str:
    return reference.precision.split()[0]


def _channels_last(reference: ResnetReference) -> bool:
    if reference.memory_format is not None:
        return reference.memory_format == "channels_last"
    return reference.tier == "reference" and _series(reference) == AMP


def channels_last_factors(rates: Iterable[PublishedRate]) -> dict[str, float]:
    """For each GPU with both: the AMP rate with channels_last over that without."""
    amp = {(one.gpu, one.channels_last): one.images_per_s for one in rates if one.series == AMP}
    return {
        gpu: rate / amp[gpu, False]
        for (gpu, channels_last), rate in amp.items()
        if channels_last and (gpu, False) in amp
    }


def peak_tflops(gpu: GpuModel, series: str) -> float | None:
    """The data sheet's dense peak for that series, TFLOP/s; None where the GPU has none."""
    return {
        AMP: gpu.fp16_tensor_tflops,
        TF32: gpu.tf32_tensor_tflops,
        FP32: gpu.fp32_tflops,
    }[series]
