"""A measured GPU corrects the prediction of others, unless what holds it back is its own."""

import pytest

from envdoctor.calibration.assess import assess
from envdoctor.calibration.correction import own_cause
from envdoctor.facts.assessment import ExpectedRate
from envdoctor.facts.calibration import Settings, Telemetry
from envdoctor.knowledge import load
from envdoctor.render.calibration import render_calibration
from tests.calibration.synthetic import make_calibration, make_run, make_telemetry, spread

PUBLISHED = 2470.0
"""An A100 SXM4 in AMP with channels_last (DeepLearningExamples)."""


def predicted(*shares: float, gpu: str = "A100 PCIe 40 GB", **telemetry: object) -> ExpectedRate:
    """That GPU beside A100s that do these shares of their reference."""
    runs = [
        make_run(share * PUBLISHED, device=f"cuda:{index}", telemetry=make_telemetry(**telemetry))
        for index, share in enumerate(shares)
    ]
    result = assess(make_calibration(*runs, settings=Settings(what_if=(gpu,))), load())
    return next(one for one in result.expected if one.verdict == "not-measured")


UNCORRECTED = predicted(1.0)


def test_a_gpu_at_its_reference_corrects_nothing() -> None:
    assert UNCORRECTED.correction is None
    assert "times 1.0" not in UNCORRECTED.basis
    assert predicted(0.99) == UNCORRECTED


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_the_host_or_the_software_of_one_gpu_is_that_of_all(share: float) -> None:
    """The range holds what is published as well: which of the two it is was not seen."""
    rate, before = predicted(share), UNCORRECTED.images_per_s
    assert rate.correction == pytest.approx(share)
    assert rate.images_per_s.median == pytest.approx(share * before.median)
    assert rate.images_per_s.low == pytest.approx(before.low * min(1.0, share))
    assert rate.images_per_s.high == pytest.approx(before.high * max(1.0, share))
    assert f"times {share:.2f}, as cuda:0 here does {share:.2f} of its reference" in rate.basis


@pytest.mark.parametrize(
    ("telemetry", "words"),
    [
        ({"power_limit_w": 250.0}, "its power limit of 250 W, 400 W by default"),
        ({"throttle_shares": {"SwThermalSlowdown": 0.5}}, "heat"),
        ({"other_processes": 1, "busy_before_pct": 60}, "other programs on it"),
        ({"sm_clock_mhz": spread(800), "throttle_shares": {}}, "its clock of 800 of 1,410 MHz"),
    ],
)
def test_a_power_cap_of_one_gpu_is_no_other_gpus(telemetry: dict[str, object], words: str) -> None:
    rate = predicted(0.9, **telemetry)
    assert (rate.correction, rate.images_per_s) == (None, UNCORRECTED.images_per_s)
    assert "does 0.90 of its reference in bf16, which has its own cause: " + words in rate.basis


@pytest.mark.parametrize(
    "telemetry",
    [
        None,
        make_telemetry(),
        # A rare slowdown, an idle process, and a card at its power limit by design.
        make_telemetry(throttle_shares={"HwThermalSlowdown": 0.02, "SwPowerCap": 1.0}),
        make_telemetry(other_processes=1, busy_before_pct=0),
        make_telemetry(sm_clock_mhz=spread(800)),
        Telemetry(samples=3),
    ],
)
def test_what_every_gpu_does_under_load_is_no_cause(telemetry: Telemetry | None) -> None:
    assert own_cause(telemetry) == ""


def test_of_several_gpus_the_one_nearest_to_its_reference_counts() -> None:
    assert predicted(0.6, 0.95).correction == pytest.approx(0.95)


def test_what_is_too_uncertain_to_judge_corrects_nothing() -> None:
    """An H200 exceeds all GPUs of the fit, and a batch of 8 leaves every GPU idle."""
    settings = Settings(what_if=("L4",))
    for run in (
        make_run(1500.0, device_name="NVIDIA H200"),
        make_run(0.4 * PUBLISHED, batch_size=8),
        make_run(5.0, device="cpu"),
    ):
        result = assess(make_calibration(run, settings=settings), load())
        rate = next(one for one in result.expected if one.verdict == "not-measured")
        assert rate.correction is None


def test_the_text_says_what_was_corrected() -> None:
    run = make_run(0.9 * PUBLISHED, telemetry=make_telemetry(power_limit_w=250.0))
    calibration = make_calibration(run, settings=Settings(what_if=("A100 PCIe 40 GB",)))
    text = " ".join(render_calibration(calibration, assess(calibration, load())).split())
    assert "its power limit of 250 W, 400 W by default" in text
