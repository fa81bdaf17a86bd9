"""The statistics, with step times made by hand: spikes, drift, bimodal clocks, slow noise."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.calibration.target.stats import (
    is_stable,
    is_steady,
    median,
    median_interval,
    next_median_interval,
    rate_spread,
)

times = st.lists(st.floats(min_value=1e-4, max_value=1e3), min_size=1, max_size=200)


def quiet(count: int = 20, centre: float = 1.0, noise: float = 0.005, seed: int = 0) -> list[float]:
    source = random.Random(seed)
    return [centre * (1 + source.gauss(0, noise)) for _ in range(count)]


def test_quiet_steps_are_stable() -> None:
    assert is_stable(quiet())


def test_spikes_move_neither_the_median_nor_its_stability() -> None:
    steps = quiet(24)
    for at in (3, 11, 19):
        steps[at] *= 8
    assert is_stable(steps)
    assert median(steps) == pytest.approx(1.0, rel=0.01)


def test_drift_is_not_stable_although_each_half_is() -> None:
    steps = [one * (1 + 0.004 * k) for k, one in enumerate(quiet(40))]
    assert is_stable(quiet(40))
    assert not is_stable(steps)


def test_bimodal_clocks_are_not_stable_and_the_interval_holds_both() -> None:
    steps = [*quiet(20), *quiet(20, centre=1.3)]
    low, high = next_median_interval(steps)
    assert not is_stable(steps)
    assert low < 1.01
    assert high > 1.29


def test_alternating_clocks_are_not_stable() -> None:
    steps = [value for pair in zip(quiet(20), quiet(20, centre=1.3), strict=True) for value in pair]
    assert not is_stable(steps)


@pytest.mark.parametrize("count", range(1, 8))
def test_too_few_steps_are_never_stable(count: int) -> None:
    assert not is_stable([1.0] * count)


def test_a_warm_up_is_over_when_three_steps_agree() -> None:
    assert not is_steady([5.0, 1.0])
    assert not is_steady([5.0, 1.0, 1.0])
    assert is_steady([5.0, 1.0, 1.05, 1.02])


# Conover's table A3 for p = 1/2: ranks of the 95 % interval, counted from 1.
@pytest.mark.parametrize(
    ("count", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (30, 10), (50, 18)]
)
def test_the_interval_of_the_median_is_that_of_the_tables(count: int, rank: int) -> None:
    low, high = median_interval([float(value) for value in range(1, count + 1)])
    assert (low, high) == (rank, count + 1 - rank)


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    source = random.Random(7)
    held = 0
    for _ in range(1000):
        low, high = median_interval([source.expovariate(1.0) for _ in range(25)])
        held += low <= 0.6931 <= high
    assert held >= 950


def test_the_next_run_lies_in_the_interval_when_the_machine_changes_slowly() -> None:
    source = random.Random(3)

    def run() -> list[float]:
        """A level for the process, slow noise as of other programs, and fast noise."""
        level, slow, steps = 1 + source.gauss(0, 0.004), 0.0, []
        for _ in range(25):
            slow = 0.9 * slow + source.gauss(0, 0.006)
            steps.append(level * (1 + slow) * (1 + abs(source.gauss(0, 0.01))))
        return steps

    runs = [run() for _ in range(400)]
    held = 0
    for this, following in itertools.pairwise(runs):
        low, high = next_median_interval(this)
        held += low <= median(following) <= high
    assert held >= 0.9 * 399


@given(times)
def test_the_median_lies_in_both_intervals(values: list[float]) -> None:
    low, high = median_interval(values)
    outer_low, outer_high = next_median_interval(values)
    assert outer_low <= low <= median(values) <= high <= outer_high


@given(times, st.floats(min_value=0.1, max_value=1e4))
def test_a_rate_is_the_amount_over_the_time(values: list[float], amount: float) -> None:
    rate = rate_spread(values, amount)
    assert rate["median"] == pytest.approx(amount / median(values))
    assert rate["low"] <= rate["median"] <= rate["high"]
