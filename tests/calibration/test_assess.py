"""From runs to what they mean, on calibrations made by hand (synthetic)."""

import msgspec
import pytest

from envdoctor.calibration.assess import DEFAULT_WHAT_IF, assess, duration
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Calibration, Ceiling, Conditions, DecodeRate, Settings
from envdoctor.knowledge import load
from tests.calibration.synthetic import make_calibration, make_pipeline, make_run, spread

CPU = (make_run(5.0, device="cpu", precision="fp32"), make_run(9.0, device="cpu"))
GPU = (make_run(400.0, precision="fp32"), make_run(940.0, precision="tf32"), make_run(2400.0))


def assessed(calibration: Calibration) -> Assessment:
    return assess(calibration, load())


def sentence(assessment: Assessment, of: str, against: str) -> str:
    return next(
        one.sentence for one in assessment.speedups if (one.of, one.against) == (of, against)
    )


def test_gpu_against_cpu_and_precisions_against_fp32() -> None:
    result = assessed(make_calibration(*CPU, *GPU))
    assert sentence(result, "cuda:0 bf16", "cpu bf16").startswith("267x faster")
    assert sentence(result, "cuda:0 bf16", "cuda:0 fp32").startswith("6.0x faster")
    assert sentence(result, "cuda:0 tf32", "cuda:0 fp32").startswith("2.4x faster")
    assert sentence(result, "cpu bf16", "cpu fp32").startswith("1.8x faster")


def test_memory_format_compilation_and_batch_are_compared_with_the_plain_run() -> None:
    result = assessed(
        make_calibration(
            *GPU,
            make_run(1700.0, memory_format="contiguous"),
            make_run(3000.0, compiled=True),
            make_run(2000.0, batch_size=64),
        )
    )
    assert sentence(result, "cuda:0 bf16 channels_last", "cuda:0 bf16 contiguous").startswith(
        "1.41x"
    )
    assert sentence(result, "cuda:0 bf16 compiled", "cuda:0 bf16 eager").startswith("1.25x faster")
    assert sentence(result, "cuda:0 bf16 batch 256", "cuda:0 bf16 batch 64").startswith(
        "1.2x faster"
    )


def test_the_faster_memory_format_stands_for_a_precision() -> None:
    """cuDNN's fp32 kernels may be slower in channels_last; AMP must not look the better for it."""
    result = assessed(
        make_calibration(
            *GPU,
            make_run(500.0, precision="fp32", memory_format="contiguous"),
            make_run(1900.0, memory_format="contiguous"),
            make_run(2600.0, memory_format="contiguous", compiled=True),
        )
    )
    assert sentence(result, "cuda:0 bf16", "cuda:0 fp32").startswith("4.8x faster")
    assert sentence(result, "cuda:0 fp32 channels_last", "cuda:0 fp32 contiguous").startswith(
        "1.25x slower"
    )
    assert sentence(result, "cuda:0 bf16 compiled", "cuda:0 bf16 eager").startswith("1.37x")


def test_expected_rates_come_with_the_measured_share() -> None:
    rates = {one.precision: one for one in assessed(make_calibration(*GPU)).expected}
    assert rates["bf16"].measured_over_expected == pytest.approx(2400 / 2470)
    assert rates["tf32"].verdict == "as-expected"


def test_a_machine_without_a_gpu_sees_what_others_would_bring() -> None:
    result = assessed(make_calibration(*CPU))
    assert [one.device for one in result.expected] == list(DEFAULT_WHAT_IF)
    assert {one.verdict for one in result.expected} == {"not-measured"}
    assert {one.kind for one in result.speedups if one.against == "cpu bf16"} == {"predicted"}


def test_what_if_replaces_the_default_list() -> None:
    settings = Settings(what_if=("L4",))
    result = assessed(make_calibration(*CPU, settings=settings))
    assert [one.device for one in result.expected] == ["L4"]


def test_a_prediction_knows_the_input_pipeline() -> None:
    settings = Settings(what_if=("A100-SXM4-80GB",))
    result = assessed(make_calibration(*CPU, settings=settings, pipeline=make_pipeline(480.0)))
    limited = "A100 SXM4 80 GB bf16, fed by this input pipeline"
    assert sentence(result, limited, "cpu bf16").startswith("53.3x faster")
    feed = next(one for one in result.feeds if one.device == "A100 SXM4 80 GB")
    assert feed.sentence == (
        "this GPU will be idle part of the time: 2,470 images/s wanted, 480 fed by 4 workers"
    )


def test_a_device_without_a_data_sheet_is_judged_by_what_it_was_measured_to_do() -> None:
    name = "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    limits = {"matmul fp32": 8.0, "matmul bf16": 110.0, "memory copy": 700.0}
    ceilings = tuple(
        Ceiling(device="cuda:0", name=limit, value=spread(value), unit="TFLOP/s")
        for limit, value in limits.items()
    )
    result = assessed(make_calibration(make_run(300.0, device_name=name), ceilings=ceilings))
    expected = next(one for one in result.expected if one.device == "cuda:0")
    assert 700 < expected.images_per_s.median < 1100
    assert expected.verdict == "slower"
    assert "the measured 110.0 TFLOP/s and 700 GB/s" in expected.basis
    assert not assessed(make_calibration(make_run(300.0, device_name=name))).expected
    amd = Conditions(started_at="2026-11-01T00:00:00+00:00", hip="6.4")
    result = assessed(
        make_calibration(
            make_run(300.0, device_name="AMD Instinct MI300X"), ceilings=ceilings, conditions=amd
        )
    )
    assert result.expected[0].verdict == "unknown"
    assert "no yardstick" in result.expected[0].basis


def test_a_step_stands_beside_the_matrix_product_of_its_precision() -> None:
    limit = Ceiling(device="cpu", name="matmul fp32", value=spread(0.2), unit="TFLOP/s")
    fast = make_run(5.0, device="cpu", precision="fp32")
    busy = msgspec.structs.replace(fast, precision="bf16", at_least=True)
    result = assessed(make_calibration(fast, busy, ceilings=(limit,)))
    (share,) = result.matmul_shares
    assert (share.device, share.precision) == ("cpu", "fp32")
    assert share.share == pytest.approx(5.0 * 0.024534 / 0.2)


def test_the_gain_of_pinned_memory_is_a_ratio_of_two_ceilings() -> None:
    copies = {"host to device pinned": 24.0, "host to device pageable": 8.0}
    ceilings = tuple(
        Ceiling(device="cuda:0", name=name, value=spread(value), unit="GB/s")
        for name, value in copies.items()
    )
    ratio = assessed(make_calibration(*GPU, ceilings=ceilings)).pin_memory_ratio
    assert ratio is not None
    assert ratio.median == pytest.approx(3.0)
    assert assessed(make_calibration(*GPU)).pin_memory_ratio is None


@pytest.mark.parametrize(
    ("rates", "recommended"),
    [
        ({1: 100.0, 2: 199.0, 4: 300.0, 8: 305.0}, 4),
        ({1: 100.0, 2: 90.0}, 1),
        ({}, None),
    ],
)
def test_the_fewest_workers_that_are_nearly_as_fast_are_recommended(
    rates: dict[int, float], recommended: int | None
) -> None:
    measured = tuple(
        DecodeRate(workers=workers, images_per_s=spread(rate)) for workers, rate in rates.items()
    )
    pipeline = msgspec.structs.replace(make_pipeline(1.0), rates=measured)
    assert assessed(make_calibration(pipeline=pipeline)).recommended_workers == recommended


def test_an_epoch_takes_the_longer_of_the_two() -> None:
    result = assessed(make_calibration(make_run(2400.0), pipeline=make_pipeline(480.0)))
    (epoch,) = result.epochs
    assert epoch.compute_bound_s == pytest.approx(1281167 / 2400)
    assert epoch.pipeline_bound_s == pytest.approx(1281167 / 480)
    assert epoch.sentence.startswith("44.5 min behind this input pipeline, 8.9 min")


def test_what_is_known_survives_json() -> None:
    result = assessed(make_calibration(*CPU, *GPU, pipeline=make_pipeline(480.0)))
    assert msgspec.json.decode(msgspec.json.encode(result), type=Assessment) == result


def test_nothing_measured_gives_nothing_to_compare() -> None:
    result = assessed(make_calibration(complete=False, interrupted=True))
    assert result.speedups == ()
    assert all(one.verdict == "not-measured" for one in result.expected)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (92 * 60, "92 min"), (7.5 * 3600, "7.5 h"), (332640, "3.85 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
