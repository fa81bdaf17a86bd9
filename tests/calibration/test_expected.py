"""Expected rates: predicted without the number they are tested on, within the stated error."""

from pathlib import Path
from statistics import median

import msgspec
import pytest

from envdoctor.calibration.assess import amp_precision, predict_model
from envdoctor.calibration.expectation import Expectations
from envdoctor.calibration.reference import published_rates
from envdoctor.calibration.roofline import Ceilings, Point, Roofline, fit
from envdoctor.knowledge import Knowledge, load
from tests.calibration.synthetic import make_run, spread

DOCS = Path(__file__).parents[2] / "docs" / "calibration.md"


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def test_leave_one_out_stays_within_fifteen_per_cent(knowledge: Knowledge) -> None:
    predictions = Roofline(knowledge).leave_one_out
    assert len(predictions) >= 35
    assert median(abs(one.error) for one in predictions) <= 0.15
    for series in ("AMP", "TF32", "FP32"):
        errors = [abs(one.error) for one in predictions if one.series == series]
        assert median(errors) <= 0.15, series
        assert max(errors) <= 0.30, series


class _Changed(Knowledge):
    """The knowledge, with the published rates of one GPU multiplied."""

    def __init__(self, gpu: str, factor: float) -> None:
        super().__init__()
        self._gpu, self._factor = gpu, factor

    @property
    def resnet50_references(self):  # type: ignore[no-untyped-def]
        return tuple(
            msgspec.structs.replace(
                one, images_per_s_per_gpu=one.images_per_s_per_gpu * self._factor
            )
            if one.gpu == self._gpu
            else one
            for one in super().resnet50_references
        )


@pytest.mark.parametrize("gpu", ["A100 SXM4 80 GB", "Tesla V100 SXM2 16 GB", "GeForce RTX 3090"])
def test_a_prediction_never_knows_the_rate_it_is_tested_on(knowledge: Knowledge, gpu: str) -> None:
    def predicted(source: Knowledge) -> dict[tuple[str, bool], float]:
        return {
            (one.series, one.channels_last): one.predicted
            for one in Roofline(source).leave_one_out
            if one.gpu == gpu
        }

    assert predicted(knowledge) == pytest.approx(predicted(_Changed(gpu, 3.0)))
    others = {one.predicted for one in Roofline(_Changed(gpu, 3.0)).leave_one_out if one.gpu != gpu}
    assert others != {one.predicted for one in Roofline(knowledge).leave_one_out if one.gpu != gpu}


def test_an_a100_is_expected_at_its_published_rate(knowledge: Knowledge) -> None:
    gpu = knowledge.gpu("NVIDIA A100-SXM4-80GB")
    assert gpu is not None
    rate = Expectations(knowledge).of_model(gpu, "bf16", device="cuda:0", measured=make_run(2400.0))
    assert rate is not None
    assert rate.images_per_s.median == 2470
    assert rate.verdict == "as-expected"
    assert "DeepLearningExamples" in rate.basis


@pytest.mark.parametrize(
    ("measured", "verdict"), [(1000.0, "slower"), (2470.0, "as-expected"), (4000.0, "faster")]
)
def test_the_verdict(knowledge: Knowledge, measured: float, verdict: str) -> None:
    gpu = knowledge.gpu("NVIDIA A100-SXM4-80GB")
    assert gpu is not None
    run = make_run(measured, precision="fp16")
    rate = Expectations(knowledge).of_model(gpu, "fp16", device="cuda:0", measured=run)
    assert rate is not None
    assert rate.verdict == verdict


def test_an_extrapolation_is_no_yardstick(knowledge: Knowledge) -> None:
    """No fp32 rate of a GPU with TF32 is published; A100s in fp32 may not be called slow."""
    gpu = knowledge.gpu("NVIDIA A100-SXM4-80GB")
    assert gpu is not None
    run = make_run(100.0, precision="fp32")
    rate = Expectations(knowledge).of_model(gpu, "fp32", device="cuda:0", measured=run)
    assert rate is not None
    assert rate.verdict == "unknown"
    assert "extrapolation" in rate.basis


@pytest.mark.parametrize(
    ("name", "precision", "verdict"),
    [
        ("NVIDIA H200", "bf16", "unknown"),
        ("NVIDIA B200", "bf16", "unknown"),
        ("NVIDIA L4", "bf16", "slower"),
        ("NVIDIA GeForce RTX 4090", "tf32", "slower"),
    ],
)
def test_what_exceeds_all_that_was_fitted_is_no_yardstick(
    knowledge: Knowledge, name: str, precision: str, verdict: str
) -> None:
    gpu = knowledge.gpu(name)
    assert gpu is not None
    run = make_run(50.0, precision=precision)
    rate = Expectations(knowledge).of_model(gpu, precision, device="cuda:0", measured=run)
    assert rate is not None
    assert rate.verdict == verdict
    assert ("exceeds all of those" in rate.basis) is (verdict == "unknown")


def test_the_gain_of_channels_last_is_not_taken_for_granted(knowledge: Knowledge) -> None:
    """No H100 is published with it: one at its published rate without it is not called slow."""
    gpu = knowledge.gpu("NVIDIA H100 80GB HBM3")
    assert gpu is not None
    rate = Expectations(knowledge).of_model(gpu, "bf16", device="cuda:0", measured=make_run(2790.0))
    assert rate is not None
    assert rate.verdict == "as-expected"
    assert rate.images_per_s.low == pytest.approx(2790 * 0.85, rel=0.02)
    assert "(1.00 to 1.56)" in rate.basis


def test_the_memory_format_is_a_field_with_its_factor(knowledge: Knowledge) -> None:
    """A T4 is published without channels_last alone."""
    gpu = knowledge.gpu("Tesla T4")
    assert gpu is not None
    (contiguous,) = predict_model(gpu, knowledge, ["fp16"], "contiguous")
    (faster,) = predict_model(gpu, knowledge, ["fp16"])
    assert (contiguous.memory_format, contiguous.factor) == ("contiguous", None)
    assert faster.memory_format == "channels_last"
    assert faster.factor is not None
    ratio = faster.images_per_s.median / contiguous.images_per_s.median
    assert faster.factor == pytest.approx(ratio)


def test_a_small_batch_is_not_held_against_a_full_one(knowledge: Knowledge) -> None:
    gpu = knowledge.gpu("NVIDIA A100-SXM4-80GB")
    assert gpu is not None
    run = make_run(450.0, batch_size=8)
    rate = Expectations(knowledge).of_model(gpu, "bf16", device="cuda:0", measured=run)
    assert rate is not None
    assert rate.verdict == "unknown"
    assert "a batch of 8 is too small" in rate.basis


def test_an_uncertain_figure_is_called_slow_only_as_a_whole(knowledge: Knowledge) -> None:
    gpu = knowledge.gpu("NVIDIA A100-SXM4-80GB")
    assert gpu is not None
    verdicts = []
    for noise in (0.02, 0.5):
        run = make_run(1900.0, images_per_s=spread(1900.0, noise))
        rate = Expectations(knowledge).of_model(gpu, "bf16", device="cuda:0", measured=run)
        assert rate is not None
        verdicts.append(rate.verdict)
    assert verdicts == ["slower", "as-expected"]


def test_the_fit_finds_the_coefficients_that_made_the_rates() -> None:
    made = (0.03, 0.9, 0.004)
    points = []
    for number, (matrix, bandwidth, vector) in enumerate(
        [(125, 900, 15), (312, 1555, 19), (70, 936, 35), (40, 448, 20), (360, 960, 91)]
    ):
        ceilings = Ceilings(matrix_tflops=matrix, bandwidth_gb_s=bandwidth, vector_tflops=vector)
        seconds = made[0] / matrix + made[1] / bandwidth + made[2] / vector
        points.append(Point(gpu=str(number), ceilings=ceilings, images_per_s=1 / seconds))
    found = fit(points, 0.0245)
    assert (found.matrix_tflop, found.traffic_gb, found.vector_tflop) == pytest.approx(
        made, rel=1e-3
    )
    bounded = fit(points, 0.05)
    assert bounded.matrix_tflop == 0.05
    assert min(bounded.traffic_gb, bounded.vector_tflop) >= 0


def test_every_gpu_is_predicted_sensibly_or_not_at_all(knowledge: Knowledge) -> None:
    predicted = 0
    for gpu in knowledge.gpus:
        rates = {rate.precision: rate.images_per_s for rate in predict_model(gpu, knowledge)}
        predicted += bool(rates)
        for rate in rates.values():
            assert 0 < rate.low <= rate.median <= rate.high
        amp = rates.get(amp_precision(gpu) or "")
        if "tf32" in rates and amp:
            assert amp.median > rates["tf32"].median, gpu.model
        if "tf32" in rates and "fp32" in rates:
            assert rates["fp32"].median <= rates["tf32"].median, gpu.model
    assert predicted >= 100


def test_channels_last_is_no_gain_without_tensor_cores(knowledge: Knowledge) -> None:
    gpu = knowledge.gpu("GeForce GTX 1080 Ti")
    assert gpu is not None
    assert amp_precision(gpu) is None
    (rate,) = predict_model(gpu, knowledge, ["fp16"])
    assert rate.images_per_s.median == 239.7
    assert "times" not in rate.basis


def test_input_bound_rates_are_no_reference(knowledge: Knowledge) -> None:
    assert "B200" not in {rate.gpu for rate in published_rates(knowledge)}


@pytest.mark.parametrize(
    ("row", "series", "channels_last"),
    [
        ("FP32", "FP32", False),
        ("TF32", "TF32", False),
        ("AMP", "AMP", False),
        ("AMP, channels_last", "AMP", True),
    ],
)
def test_the_documentation_states_the_error(
    knowledge: Knowledge, row: str, series: str, channels_last: bool
) -> None:
    errors = [
        100 * abs(one.error)
        for one in Roofline(knowledge).leave_one_out
        if (one.series, one.channels_last) == (series, channels_last)
    ]
    stated = f"| {row} | {len(errors)} | {median(errors):.1f} % | {max(errors):.0f} % |"
    assert stated in DOCS.read_text(encoding="utf-8")
