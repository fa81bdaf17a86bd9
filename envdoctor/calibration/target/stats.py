"""Statistics of step times: robust against spikes, honest about drift and bimodal clocks.

Everything here is about the median, because one descheduled step must not move the figure, and
about intervals that assume no distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

CONFIDENCE = 0.95
TOLERANCE = 0.03
"""A figure is stable when the confidence interval of its median is within this of the median."""

MIN_SAMPLES = 8
"""Fewer samples bound the median's 95 % interval only by their extremes."""

STEADY_WITHIN = 0.10
STEADY_SAMPLES = 3
BETWEEN_RUNS = 0.05
"""What no run can see of itself: how far the medians of two runs lie apart.

The machine changes over minutes, and processes that run in turn change with it. Measured on shared
machines of 2 CPUs (2026-11-24 and 25, benchmarks/calibrate_fidelity.py, whose last result is in
benchmarks/results): the medians of calibrations and of plain loops, 11 of each run alternately, had
standard deviations of 0.9 to 4.9 %."""

_BLOCKS = 5


def median(values: Sequence[float]) -> float:
    """The middle value. Raises ValueError if there is none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval that holds the true median with at least that confidence.

    From order statistics: the number of samples below the median is binomial with p = 1/2
    (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2). With fewer samples than
    that needs, the extremes.
    """
    ordered = sorted(values)
    count = len(ordered)
    tail, rank = 0.0, 0
    while rank < count // 2:
        tail += math.comb(count, rank) / 2.0**count
        if 2 * tail > 1 - confidence:
            break
        rank += 1
    lowest = max(rank - 1, 0)
    return ordered[lowest], ordered[count - 1 - lowest]


def half_width(values: Sequence[float]) -> float:
    """Half the width of the median's confidence interval, relative to the median."""
    low, high = median_interval(values)
    return (high - low) / 2 / median(values)


def drift(values: Sequence[float]) -> float:
    """How far the medians of the first and the second half are apart, relative to the median."""
    middle = len(values) // 2
    return abs(median(values[:middle]) - median(values[middle:])) / median(values)


def is_stable(values: Sequence[float]) -> bool:
    """Whether the median is known to 3 %: enough samples, a narrow interval, and no drift."""
    return (
        len(values) >= MIN_SAMPLES
        and half_width(values) <= TOLERANCE
        and drift(values) <= TOLERANCE
    )


def is_steady(values: Sequence[float]) -> bool:
    """Whether the warm-up is over: the last samples are within 10 % of each other."""
    last = list(values)[-STEADY_SAMPLES:]
    return len(last) == STEADY_SAMPLES and max(last) <= min(last) * (1 + STEADY_WITHIN)


def next_median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the median of another run is to be expected.

    Wider than the confidence interval, which knows nothing of slow changes: it spans the medians
    of consecutive blocks of this run as well, and how far two runs lie apart.
    """
    low, high = median_interval(values)
    if len(values) >= 2 * _BLOCKS:
        medians = [median(block) for block in _blocks(values)]
        low, high = min(low, *medians), max(high, *medians)
    return low * (1 - BETWEEN_RUNS), high * (1 + BETWEEN_RUNS)


def _blocks(values: Sequence[float]) -> list[Sequence[float]]:
    edges = [len(values) * k // _BLOCKS for k in range(_BLOCKS + 1)]
    return [values[edges[k] : edges[k + 1]] for k in range(_BLOCKS)]


def rate_spread(seconds: Sequence[float], amount: float) -> dict[str, float]:
    """The rate at which `amount` is done in each of the timed `seconds`, as a Spread."""
    low, high = next_median_interval(seconds)
    return {
        "median": amount / median(seconds),
        "low": amount / high,
        "high": amount / low,
    }
