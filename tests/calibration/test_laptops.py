"""The GPU of a laptop is expected to do what its power limit allows."""

import json

import pytest

from envdoctor.calibration.assess import assess, predict_model
from envdoctor.knowledge import LaptopGpu, load
from tests.calibration.synthetic import make_calibration, make_run, make_telemetry
from tests.support.doctor import envdoctor

NAME = "NVIDIA GeForce RTX 4090 Laptop GPU"


def laptop(model: str = "GeForce RTX 4090 Laptop GPU") -> LaptopGpu:
    found = load().laptop(model)
    assert found is not None
    return found


def test_its_makers_limits_are_those_of_nvidias_page() -> None:
    known = laptop()
    assert known.source.startswith("https://www.nvidia.com/")
    assert (known.clock_mhz(80), known.clock_mhz(150)) == (1455, 2040)
    assert known.fp32_tflops(150) == pytest.approx(39.7, abs=0.1)
    # Dynamic Boost may lend 25 W of the CPU: that it makes the clock any higher is not published.
    assert known.clock_mhz(175) == known.clock_mhz(150)


def test_the_data_agree_with_those_of_the_model() -> None:
    for one in load()._laptops.values():
        model = load().gpu(f"NVIDIA {one.model}")
        assert model is not None
        assert model.model == one.model
        assert model.sm_count is not None
        assert one.cuda_cores == 128 * model.sm_count
        assert model.fp32_tflops is not None
        # The snapshot's clock is that of some laptop.
        assert one.fp32_tflops(one.power_w[0]) <= model.fp32_tflops <= one.fp32_tflops(999)


OF_THE_RTX_3060 = {80: 1425, 85: 1485, 90: 1530, 95: 1567, 100: 1605, 105: 1642, 110: 1680}
"""Power limits and boost clocks of one model that its makers choose from (ComputerBase's list, as
https://www.tomshardware.com/news/look-closely-before-you-buy-a-geforce-rtx-3000-laptop has it)."""


def test_the_clock_lies_on_a_line_between_the_limits() -> None:
    ends = LaptopGpu(
        model="",
        cuda_cores=3840,
        power_w=(80, 110),
        boost_mhz=(1425, 1680),
        source="",
        retrieved="",
    )
    for limit, clock in OF_THE_RTX_3060.items():
        assert ends.clock_mhz(limit) == pytest.approx(clock, rel=0.02)


def rates(limit_w: float | None) -> tuple[float, float, float]:
    model = load().gpu(NAME)
    assert model is not None
    (rate,) = predict_model(model, load(), power_limit_w=limit_w)
    spread = rate.images_per_s
    return spread.low, spread.median, spread.high


def test_less_power_is_a_lower_rate_and_an_unknown_limit_a_wide_range() -> None:
    least, most, unknown = rates(80), rates(150), rates(None)
    assert least[1] < rates(115)[1] < most[1]
    assert (unknown[0], unknown[2]) == (least[0], most[2])


def test_a_measured_one_is_held_against_its_own_limit() -> None:
    """At 80 W it is as fast as it can be, and slow for 150 W."""
    expected = {}
    for limit in (80.0, 150.0):
        telemetry = make_telemetry(power_limit_w=limit, power_default_limit_w=limit)
        run = make_run(rates(80)[1], precision="fp32", device_name=NAME, telemetry=telemetry)
        (expected[limit],) = assess(make_calibration(run), load()).expected
    assert expected[80.0].measured_over_expected == pytest.approx(1.0)
    assert expected[150.0].measured_over_expected is not None
    assert expected[150.0].measured_over_expected < 0.95
    assert "at 80 W, of 80 to 150, its clock is 1,455 MHz" in expected[80.0].basis


def test_the_command() -> None:
    run = envdoctor("predict", "RTX 4080 Laptop", "--power-limit", "60", "--json")
    assert "its clock is 1,350 MHz" in json.loads(run.stdout)["expected"][0]["basis"]
    refused = envdoctor("predict", "L4", "--power-limit", "60")
    assert refused.exit_code == 2
    assert "what a power limit makes of the L4 is not known" in refused.stderr
