"""Whether the input pipeline feeds what the devices can process. Pure."""

from collections.abc import Iterable, Iterator

from envdoctor.calibration.speedup import figure, ratio_of
from envdoctor.facts.assessment import FeedRate, Origin
from envdoctor.facts.calibration import Ceiling, InputPipeline, Precision, Spread

_NEARLY_THE_BEST = 0.95
"""The recommended number of workers is the smallest that reaches this share of the best rate."""


def feeds(
    rates: Iterable[tuple[str, Precision, Origin, float]], pipeline: InputPipeline | None
) -> Iterator[FeedRate]:
    """For each device, precision, kind and rate in images/s, whether the pipeline keeps up."""
    fed = pipeline.feeding_rate if pipeline else None
    if pipeline is None or fed is None:
        return
    for device, precision, _, wanted in rates:
        yield feed_rate(device, precision, wanted, fed, _feeder(pipeline))


def recommended_workers(pipeline: InputPipeline) -> int | None:
    """The fewest workers with nearly the best rate; None if no rate was measured."""
    best = pipeline.decoding_rate
    if best is None:
        return None
    return min(
        rate.workers
        for rate in pipeline.rates
        if rate.images_per_s.median >= _NEARLY_THE_BEST * best
    )


def pin_memory_ratio(ceilings: Iterable[Ceiling]) -> Spread | None:
    """How much faster pinned memory is copied to the first GPU than pageable memory."""
    copies: dict[str, Spread] = {}
    for ceiling in ceilings:
        copies.setdefault(ceiling.name, ceiling.value)
    pinned, pageable = copies.get("host to device pinned"), copies.get("host to device pageable")
    return None if pinned is None or pageable is None else ratio_of(pinned, pageable)


def _feeder(pipeline: InputPipeline) -> str:
    """What sets the rate of the pipeline, in words."""
    if pipeline.disk_bound:
        return f"the disk of {pipeline.data}"
    workers = max(pipeline.rates, key=lambda rate: rate.images_per_s.median).workers
    return f"{workers} worker{'s' if workers != 1 else ''}"


def feed_rate(device: str, precision: Precision, wanted: float, fed: float, by: str) -> FeedRate:
    """What the device eats against what the pipeline feeds, both in images/s; `by` feeds it."""
    waits = fed < wanted
    who = "this device" if device == "cpu" else "this GPU"
    outcome = f"{who} will be idle part of the time" if waits else f"{who} will be kept busy"
    return FeedRate(
        device=device,
        precision=precision,
        wanted_images_per_s=wanted,
        fed_images_per_s=fed,
        waits=waits,
        sentence=f"{outcome}: {figure(wanted)} images/s wanted, {figure(fed)} fed by {by}",
    )
