"""Speedups in words that cannot be misread: three forms of one ratio.

With r = old time / new time: r times faster, 100 (1 - 1/r) % less time, +100 (r - 1) % throughput.
Halving the time is 2x, 50 % less time, +100 %: whoever quotes one form alone is misunderstood.
"""

from envdoctor.facts.assessment import Origin, Speedup
from envdoctor.facts.calibration import CalibrationRun, Spread

_MEANINGLESS = 0.005
"""A ratio this close to 1 is called no difference."""

TOO_LARGE = 10.0
"""Beyond, the other two forms say nothing any more: 99.9 % less time, +195,773 % throughput."""

_VAGUE = 0.1
"""Half the interval of a figure, relative to it, from which on only two digits are meant."""


def time_saved_pct(ratio: float) -> float:
    """Per cent less time at that ratio of rates; negative where it takes longer."""
    return 100.0 * (1.0 - 1.0 / ratio)


def throughput_gain_pct(ratio: float) -> float:
    """Per cent more done in the same time; negative where it is less."""
    return 100.0 * (ratio - 1.0)


def speedup(*, of: str, against: str, kind: Origin, fast: Spread, slow: Spread) -> Speedup:
    """How much faster `of` (at the rates `fast`) is than `against` (at the rates `slow`).

    The interval is the widest that both allow. Raises ValueError for a rate that is not positive.
    """
    ratio = ratio_of(fast, slow)
    return Speedup(
        of=of,
        against=against,
        kind=kind,
        ratio=ratio,
        time_saved_pct=time_saved_pct(ratio.median),
        throughput_gain_pct=throughput_gain_pct(ratio.median),
        sentence=in_words(ratio),
    )


def ratio_of(fast: Spread, slow: Spread) -> Spread:
    """The ratio of two rates, with the widest interval that both allow.

    Raises ValueError for a rate that is not positive.
    """
    if min(fast.low, slow.low) <= 0:
        raise ValueError("a rate must be positive")
    return Spread(
        median=fast.median / slow.median, low=fast.low / slow.high, high=fast.high / slow.low
    )


def speedup_of_times(*, before: float, after: float, of: str, against: str) -> Speedup:
    """The speedup from a time to a shorter one, in any unit, taken as exact.

    Raises ValueError for a time that is not positive.
    """
    if min(before, after) <= 0:
        raise ValueError("a time must be positive")
    return speedup(
        of=of, against=against, kind="measured", fast=_exactly(1 / after), slow=_exactly(1 / before)
    )


def in_words(ratio: Spread) -> str:
    """The three forms in one sentence: `1.5x faster: 33 % less time, +50 % throughput`; of a large
    ratio the first alone. With the interval, and no more digits than that allows."""
    middle = ratio.median
    low, high = in_digits(ratio.low, ratio), in_digits(ratio.high, ratio)
    interval = "" if low == high else f" (ratio {low} to {high})"
    if abs(middle - 1) < _MEANINGLESS:
        return f"no difference{interval}"
    if is_unclear(ratio):
        return f"no clear difference{interval}"
    if middle >= TOO_LARGE:
        return f"{in_digits(middle, ratio)}x faster{interval}"
    if 1 / middle >= TOO_LARGE:
        return f"{in_digits(1 / middle, ratio)}x slower{interval}"
    gain, saved = throughput_gain_pct(middle), time_saved_pct(middle)
    more = f"{gain:+.{_decimals(gain)}f} % throughput{interval}"
    if middle > 1:
        share = f"{saved:.{_decimals(saved)}f} % less time"
        return f"{in_digits(middle, ratio)}x faster: {share}, {more}"
    share = f"{-saved:.{_decimals(saved)}f} % more time"
    return f"{in_digits(1 / middle, ratio)}x slower: {share}, {more}"


def is_unclear(ratio: Spread) -> bool:
    """Whether the interval holds that both are as fast, and more than that."""
    return ratio.low <= 1 <= ratio.high and ratio.low < ratio.high


def rate_in_words(run: CalibrationRun) -> str:
    """The rate of a run as one says it: `5.7 images/s`, or that it is a bound."""
    return f"{'at least ' if run.at_least else ''}{figure(run.rate.median)} {run.unit}"


def in_digits(value: float, spread: Spread) -> str:
    """A figure with no more digits than its interval allows: 1,581 of (975 to 1,864) is 1,600."""
    if spread.high - spread.low < 2 * _VAGUE * spread.median or value <= 0:
        return figure(value)
    rounded = float(f"{value:.1e}")
    return f"{rounded:,.0f}" if rounded >= TOO_LARGE else f"{rounded:.1f}"


def figure(value: float) -> str:
    """A positive figure with as many digits as one can trust that was measured: 0.46, 5.1, 12.4,
    232."""
    if value < 1:
        return f"{value:.2f}"
    rounded = f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    return rounded if value >= 2 else f"{value:.2f}".rstrip("0").rstrip(".")


def _decimals(percent: float) -> int:
    return 1 if abs(percent) < 10 else 0


def _exactly(rate: float) -> Spread:
    return Spread(median=rate, low=rate, high=rate)
