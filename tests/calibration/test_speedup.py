"""The three forms of a speedup agree, and say what the article's table means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.calibration.speedup import in_words, speedup, speedup_of_times
from envdoctor.facts.calibration import Spread
from tests.calibration.synthetic import spread

positive = st.floats(min_value=1e-3, max_value=1e6)


def test_the_article_an_epoch_of_138_minutes_becomes_92() -> None:
    one = speedup_of_times(before=138, after=92, of="A100", against="before")
    assert one.ratio.median == pytest.approx(1.5)
    assert one.time_saved_pct == pytest.approx(100 / 3)
    assert one.throughput_gain_pct == pytest.approx(50)
    assert one.sentence == "1.5x faster: 33 % less time, +50 % throughput"


def test_the_article_eleven_hours_become_seven_and_a_half() -> None:
    one = speedup_of_times(before=11, after=7.5, of="A100", against="before")
    assert one.time_saved_pct == pytest.approx(31.8, abs=0.05)
    assert one.sentence == "1.47x faster: 32 % less time, +47 % throughput"


@given(positive, positive)
def test_the_forms_agree(before: float, after: float) -> None:
    one = speedup_of_times(before=before, after=after, of="a", against="b")
    assert one.ratio.median == pytest.approx(before / after)
    assert after == pytest.approx(before * (1 - one.time_saved_pct / 100), rel=1e-6)
    assert 1 / after == pytest.approx((1 + one.throughput_gain_pct / 100) / before, rel=1e-6)


@given(positive, positive)
def test_there_and_back_is_no_difference(before: float, after: float) -> None:
    there = speedup_of_times(before=before, after=after, of="a", against="b")
    back = speedup_of_times(before=after, after=before, of="b", against="a")
    assert there.ratio.median * back.ratio.median == pytest.approx(1)
    assert (there.time_saved_pct > 0) == (back.time_saved_pct < 0) or before == after


@given(positive, positive, st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_interval_holds_every_ratio_of_the_two(
    fast: float, slow: float, noise: float, other: float
) -> None:
    one = speedup(
        of="a", against="b", kind="measured", fast=spread(fast, noise), slow=spread(slow, other)
    )
    assert one.ratio.low <= one.ratio.median <= one.ratio.high
    assert one.ratio.low == pytest.approx(fast * (1 - noise) / (slow * (1 + other)))


@pytest.mark.parametrize(
    ("ratio", "sentence"),
    [
        (1.0, "no difference"),
        (12.4, "12.4x faster"),
        (2174.0, "2,174x faster"),
        (0.05, "20.0x slower"),
        (2.0, "2.0x faster: 50 % less time, +100 % throughput"),
        (0.5, "2.0x slower: 100 % more time, -50 % throughput"),
        (1.04, "1.04x faster: 3.8 % less time, +4.0 % throughput"),
    ],
)
def test_the_words(ratio: float, sentence: str) -> None:
    assert in_words(Spread(median=ratio, low=ratio, high=ratio)) == sentence


@pytest.mark.parametrize(
    ("fast", "slow", "sentence"),
    [
        (spread(2470, 0.15), spread(5.7, 0.05), "430x faster (ratio 350 to 520)"),
        (spread(2470, 0.15), spread(1500, 0.05), "1.6x faster: 39 % less time, +65 % throughput "),
        (spread(10.0, 0.01), spread(5.0, 0.01), "2.0x faster: 50 % less time, +100 % throughput "),
        # An H100 in fp32, channels_last against contiguous.
        (spread(953.0, 0.05), spread(989.0, 0.05), "no clear difference (ratio 0.9 to 1.1)"),
    ],
)
def test_no_more_digits_than_the_interval_allows(fast: Spread, slow: Spread, sentence: str) -> None:
    one = speedup(of="a", against="b", kind="predicted", fast=fast, slow=slow)
    assert one.sentence.startswith(sentence)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_rate_that_is_not_positive_is_refused(rate: float) -> None:
    bad = Spread(median=rate, low=rate, high=rate)
    with pytest.raises(ValueError, match="positive"):
        speedup(of="a", against="b", kind="measured", fast=bad, slow=spread(1))
