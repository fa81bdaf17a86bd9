"""What is said of a network of tokens, and what is not: of synthetic runs of GPT-2."""

from typing import get_args

import msgspec
import pytest

from envdoctor.calibration.assess import assess
from envdoctor.commands.options import model_option
from envdoctor.facts import Snapshot
from envdoctor.facts.calibration import (
    NAMES,
    UNITS,
    BatchAdvice,
    CalibrationBaseline,
    CalibrationRun,
    Model,
    Settings,
)
from envdoctor.formats import Look
from envdoctor.knowledge import load
from envdoctor.policy.speed import best_rates
from envdoctor.render import html, openmetrics
from envdoctor.render.calibration import render_calibration
from envdoctor.tui.prediction import prediction
from tests.calibration.synthetic import make_calibration, make_token_run, spread
from tests.calibration.test_checks import findings
from tests.support.diagnosis import report_on
from tests.support.doctor import envdoctor

SETTINGS = Settings(model="gpt2", pipeline=False)
RUNS = (
    make_token_run(125.0, device="cpu", precision="fp32", sequence_length=128, batch_size=1),
    make_token_run(40_000.0, precision="fp32"),
    make_token_run(160_000.0),
    make_token_run(155_000.0, batch_size=8),
    make_token_run(210_000.0, compiled=True, first_step_s=41.0, compile_s=40.8),
)
ADVICE = BatchAdvice(
    device="cuda:0",
    precision="bf16",
    bytes_per_image=None,
    bytes_per_sequence=10,
    bytes_fixed=1,
    free_bytes=9,
    chosen=32,
    largest_safe=60,
)
CALIBRATION = make_calibration(*RUNS, settings=SETTINGS, batches=(ADVICE,))


def test_measured_runs_are_compared_and_nothing_is_predicted() -> None:
    assessed = assess(CALIBRATION, load())
    assert {one.kind for one in assessed.speedups} == {"measured"}
    against = {(one.of, one.against) for one in assessed.speedups}
    assert ("cuda:0 bf16", "cuda:0 fp32") in against
    assert ("cuda:0 bf16 compiled", "cuda:0 bf16 eager") in against
    assert ("cuda:0 bf16 batch 32", "cuda:0 bf16 batch 8") in against
    assert (assessed.expected, assessed.epochs, assessed.feeds) == ((), (), ())
    assert assessed.no_reference.startswith("no reference for gpt2")


def test_the_text_counts_tokens_and_says_how_long_a_sequence_was() -> None:
    text = render_calibration(CALIBRATION, assess(CALIBRATION, load()))
    assert "GPT-2 124M training step, synthetic sequences\n" in text
    assert "precision      tokens/s" in text
    assert "images" not in text
    assert "NCHW" not in text
    assert "cpu fp32: 0.98 sequences/s of 128 tokens" in text
    assert "cuda:0 bf16: 156 sequences/s of 1,024 tokens" in text
    assert "cuda:0 bf16: 60 sequences" in text
    assert "no reference for gpt2" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_page_and_the_metrics_count_tokens() -> None:
    report = msgspec.structs.replace(
        report_on(Snapshot()), calibration=CALIBRATION, assessment=assess(CALIBRATION, load())
    )
    page = html.render(report, Look())
    assert "GPT-2 124M training, tokens/s" in page
    assert "No reference for gpt2" in page
    metrics = openmetrics.render(report, Look())
    assert "envdoctor_training_images_per_second" not in metrics
    (line,) = [
        one for one in metrics.splitlines() if "tokens_per_second{" in one and '"cpu"' in one
    ]
    assert 'sequence_length="128"' in line
    assert line.endswith(" 125")


def test_what_another_gpu_would_bring_is_not_known() -> None:
    said = prediction("A100 SXM4 80 GB", CALIBRATION, load())
    assert said.reason.startswith("no reference for gpt2")
    assert said.assessment is not None
    assert said.assessment.expected == ()


def test_a_policy_of_images_asks_nothing_of_tokens() -> None:
    assert best_rates(CALIBRATION.figures) == {}


def test_a_baseline_is_of_the_same_network_and_length() -> None:
    before = CalibrationBaseline(path="old.json", calibration=CALIBRATION)
    slow = make_token_run(100_000.0)
    found = findings(make_calibration(slow, settings=SETTINGS), before)["slower-than-baseline"]
    assert "does 100,000 tokens/s, and did 160,000 on" in found.message
    shorter = msgspec.structs.replace(slow, sequence_length=512)
    assert not findings(make_calibration(shorter, settings=SETTINGS), before)


def test_a_run_without_a_rate_is_none() -> None:
    data = msgspec.to_builtins(make_token_run(1.0))
    with pytest.raises(msgspec.ValidationError, match="has a rate"):
        msgspec.convert({**data, "tokens_per_s": None}, CalibrationRun)


def test_a_run_of_before_other_networks_is_one_of_resnet50() -> None:
    data = msgspec.to_builtins(make_token_run(1.0))
    older = {
        name: value
        for name, value in data.items()
        if name not in ("model", "sequence_length", "tokens_per_s", "first_step_s", "compile_s")
    }
    rate = msgspec.to_builtins(spread(5.0))
    run = msgspec.convert(
        {**older, "images_per_s": rate, "memory_format": "channels_last"}, CalibrationRun
    )
    assert (run.model, run.unit, run.rate.median) == ("resnet50", "images/s", 5.0)


def test_every_network_has_a_name_a_unit_and_is_offered() -> None:
    offered = model_option(lambda: None).__click_params__[0].type.choices
    assert set(get_args(Model)) == set(NAMES) == set(UNITS) == set(offered)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("predict", "L4", "--model", "gpt2"), "no reference for gpt2"),
        (("calibrate", "--model", "gpt2", "--what-if", "L4"), "no reference for gpt2"),
        (("calibrate", "--model", "gpt2", "--data", "."), "--data is of images"),
        (("calibrate", "--model", "gpt2", "--training-rate", "9"), "--training-rate is of images"),
    ],
)
def test_what_is_of_images_alone_is_refused(arguments: tuple[str, ...], words: str) -> None:
    run = envdoctor(*arguments)
    assert run.exit_code == 2
    assert words in run.stderr
