"""The network is GPT-2 with 124 million parameters: its size, its arithmetic, what it may see."""

import json
import math
import re
import time

import pytest
import torch

from envdoctor.calibration.runner import FIRST_STEPS_S
from envdoctor.calibration.target import gpt2, workloads
from envdoctor.calibration.target.cpu import estimated_s
from envdoctor.calibration.target.devices import FP32, Device
from envdoctor.calibration.target.measure import plain
from envdoctor.calibration.target.training import training_step
from tests.support.doctor import envdoctor, validator


@pytest.fixture(scope="module")
def network() -> gpt2.Gpt2:
    """The whole network, as far as its shapes go: memory that is not written to is not taken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt2, "_fill", lambda weight, drawn: None)
        return gpt2.Gpt2()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> gpt2.Gpt2:
    """A layer of it, for 64 different tokens."""
    monkeypatch.setattr(gpt2, "LAYERS", 1)
    for module in (gpt2, workloads):
        monkeypatch.setattr(module, "TOKENS", 64)
    torch.manual_seed(0)
    return gpt2.Gpt2().eval()


def test_it_has_the_published_number_of_parameters(network: gpt2.Gpt2) -> None:
    """With the output tied to the embedding (openai/gpt-2, 124M)."""
    assert sum(one.numel() for one in network.parameters()) == gpt2.PARAMETERS == 124_439_808


def test_its_arithmetic_is_counted_product_by_product(network: gpt2.Gpt2) -> None:
    """6 N + 12 L H Q T operations a token, in which N are the weights of all products."""
    weights = sum(one.weight.numel() for one in network.modules() if isinstance(one, gpt2.Linear))
    weights += network.tokens.weight.numel()
    length = 1024
    assert weights == gpt2.MACS_PER_TOKEN
    a_token = 6 * weights + 12 * gpt2.LAYERS * gpt2.WIDTH * length
    assert gpt2.train_flop(length) == pytest.approx(length * a_token)


def test_no_token_sees_a_later_one(small: gpt2.Gpt2) -> None:
    tokens = torch.randint(0, 64, (1, 12))
    changed = tokens.clone()
    changed[0, 8] = (tokens[0, 8] + 1) % 64
    with torch.no_grad():
        before, after = small(tokens), small(changed)
    assert torch.allclose(before[0, :8], after[0, :8])
    assert not torch.allclose(before[0, 8:], after[0, 8:])


def test_without_the_fused_attention_of_torch_2_it_computes_the_same(
    small: gpt2.Gpt2, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = torch.randint(0, 64, (2, 10))
    with torch.no_grad():
        fused = small(tokens)
        monkeypatch.setattr(gpt2, "_HAS_FUSED_ATTENTION", False)
        written_out = small(tokens)
    torch.testing.assert_close(fused, written_out, rtol=1e-3, atol=1e-3)


def test_it_begins_by_guessing_among_all_tokens(small: gpt2.Gpt2) -> None:
    """As weights of the published deviation do, repeated ones too: the loss is the logarithm."""
    tokens = torch.randint(0, 64, (1, 64))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(small(tokens)[0], tokens[0].roll(-1))
    assert loss.item() == pytest.approx(math.log(64), rel=0.1)


def test_a_step_learns(small: gpt2.Gpt2, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the step that is timed."""
    losses: list[float] = []
    loss_of = torch.nn.CrossEntropyLoss()
    kept = lambda *given: _kept(loss_of(*given), losses)  # noqa: E731
    monkeypatch.setattr(torch.nn, "CrossEntropyLoss", lambda: kept)
    step = training_step(Device("cpu"), FP32, 1, memory_format=None, workload=workloads.GPT2)
    for _ in range(3):
        step()
    assert losses[-1] < losses[0]


def test_a_step_is_estimated_from_a_layer(small: gpt2.Gpt2) -> None:
    """52 forward passes of a layer are three of the network: its output is as much as five."""
    part = workloads.GPT2.part_of_a_step(Device("cpu"))
    assert part is not None
    _, features, times = part
    assert features.shape == (1, 128, 768)
    assert times == pytest.approx(3 * gpt2.MACS_PER_TOKEN / gpt2.MACS_PER_BLOCK)
    assert 52 < times < 53
    assert estimated_s(plain(workloads.GPT2, Device("cpu"), FP32, 1)) > 0


def _kept(loss: torch.Tensor, losses: list[float]) -> torch.Tensor:
    losses.append(loss.item())
    return loss


@pytest.mark.heavy
def test_a_short_budget_is_kept_on_a_cpu() -> None:
    """As far as a machine on which other tests run can tell: no longer than the plan and the time
    that first steps are left."""
    began = time.monotonic()
    run = envdoctor("calibrate", "--model", "gpt2", "--budget", "5", "--json")
    assert time.monotonic() - began < 5.0 + FIRST_STEPS_S
    # A slow import of torch shortens the plan.
    assert re.search(r"\b[3-5] s in all", run.stderr)
    document = json.loads(run.stdout)
    validator().validate(document)
    calibration = document["calibration"]
    assert calibration["settings"]["model"] == "gpt2"
    assert calibration["pipeline"] is None
    for one in calibration["runs"]:
        assert (one["images_per_s"], one["memory_format"]) == (None, None)
        assert one["sequence_length"] == 128
        assert one["tokens_per_s"]["median"] > 0
    assert document["assessment"]["expected"] == []
    assert document["assessment"]["no_reference"].startswith("no reference for gpt2")
