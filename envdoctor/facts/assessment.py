"""What follows from a calibration: a derived fact, worked out anew at each reading."""

from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.facts.calibration import MemoryFormat, Precision, Spread
from envdoctor.record import Record

__all__ = [
    "Assessment",
    "Epoch",
    "ExpectedRate",
    "FeedRate",
    "MatmulShare",
    "Origin",
    "RateVerdict",
    "Speedup",
]

RateVerdict = Literal["as-expected", "slower", "faster", "not-measured", "unknown"]
"""How a measured rate stands to the expected one. `not-measured` is a prediction; `unknown`: too
little is known of such a GPU to judge by."""

Origin = Literal["measured", "predicted"]
"""Whether a figure rests on measurements alone, or on a prediction too."""


class ExpectedRate(Record):
    """The rate that a device should reach, and whether it does.

    `basis` says from what: published rates with their source, the roofline, or, of a CPU, what it
    was itself measured to do. `factor` is what a rate without channels_last was multiplied by for
    it; null where the rate is that of the `memory_format` itself, or where the format makes no
    known difference. `correction` is what a prediction was multiplied by because a GPU that was
    measured here does that share of its own reference; null where nothing was.
    """

    device: str
    device_name: str
    precision: Precision
    memory_format: MemoryFormat = "channels_last"
    factor: float | None = None
    correction: float | None = None
    images_per_s: Spread
    basis: str
    measured_over_expected: float | None
    verdict: RateVerdict


class Speedup(Record):
    """How much faster `of` is than `against`, in three forms that agree.

    `ratio` 1.5 is 33.3 % less time and +50 % throughput.
    """

    of: str
    against: str
    kind: Origin
    ratio: Spread
    time_saved_pct: float
    throughput_gain_pct: float
    sentence: str


class Epoch(Record):
    """The projected time of one ImageNet-1k epoch (1,281,167 images), in seconds.

    `pipeline_bound_s` is null where the pipeline was not measured; the real epoch is the longer
    of the two.
    """

    device: str
    precision: Precision
    kind: Origin
    compute_bound_s: float
    pipeline_bound_s: float | None
    sentence: str


class FeedRate(Record):
    """What a device eats against what the pipeline feeds, both in images per second."""

    device: str
    precision: Precision
    wanted_images_per_s: float
    fed_images_per_s: float
    waits: bool
    sentence: str


class MatmulShare(Record):
    """What a training step does per second over what a large matrix product does on the device, in
    the same precision and the same run: 1 would be a step without anything else in it."""

    device: str
    precision: Precision
    share: float


class Assessment(Fact):
    """What a calibration means, by what vendors publish.

    `no_reference` says why nothing is expected of the network that was trained, and no other GPU is
    predicted; empty where that is not so.
    `recommended_workers` is a number of DataLoader workers; `pin_memory_ratio` is how much faster
    pinned memory is copied to the first GPU than pageable memory. Null where it was not measured.
    """

    expected: tuple[ExpectedRate, ...] = ()
    no_reference: str = ""
    speedups: tuple[Speedup, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    feeds: tuple[FeedRate, ...] = ()
    recommended_workers: int | None = None
    pin_memory_ratio: Spread | None = None
    matmul_shares: tuple[MatmulShare, ...] = ()
