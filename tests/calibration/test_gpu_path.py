"""What is written for GPUs, run on the CPU as far as it goes; no GPU is at hand in the tests."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from envdoctor.calibration.target import gpu
from envdoctor.calibration.target.attempt import attempt, reason_of
from envdoctor.calibration.target.channel import Channel
from envdoctor.calibration.target.devices import BF16, FP16, FP32, Device
from envdoctor.calibration.target.measure import Variant
from envdoctor.calibration.target.training import CONTIGUOUS, training_step
from envdoctor.probes.channel import anonymous_file, read_all


class Told:
    """A channel, and what was said on it."""

    def __init__(self, fd: int) -> None:
        self.channel = Channel(fd)

    def all(self, event: str) -> list[dict[str, Any]]:
        lines = read_all(self.channel.fd).splitlines()
        return [one["data"] for one in map(json.loads, lines) if one["event"] == event]


@pytest.fixture
def told() -> Iterator[Told]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with anonymous_file() as fd:
        yield Told(os.dup(fd))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", [FP32, BF16, FP16], ids=lambda one: one.name)
def test_a_step_trains_in_every_precision(told: Told, precision: Any) -> None:
    """fp16 goes through the GradScaler."""
    device = Device("cpu")
    step = training_step(device, precision, 1, memory_format=CONTIGUOUS)
    assert device.time(step, 1) > 0


def test_running_out_of_memory_is_told_and_the_next_run_goes_on(told: Told) -> None:
    def greedy() -> None:
        torch.empty(1 << 60)

    variant = Variant(Device("cpu"), FP32, 64)
    assert attempt(told.channel, variant, greedy) is None
    assert attempt(told.channel, variant, lambda: "next") == "next"
    (left,) = told.all("left_out")
    assert left["what"] == "fp32 batch 64 channels_last"
    assert left["failed"] is True
    assert "memory" in left["reason"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_every_kind_of_no_memory_is_called_the_same(error: Exception) -> None:
    assert reason_of(error).startswith("out of memory: ")
    assert "\n" not in reason_of(error)


def test_other_errors_keep_their_name() -> None:
    assert reason_of(ValueError("wrong\nlong")) == "ValueError: wrong"


@pytest.mark.heavy
def test_the_runs_of_a_gpu_on_the_cpu(told: Told) -> None:
    device = Device("cpu")
    gpu.measure_gpu(told.channel, device, [FP32], {"batch_size": 4, "budget_s": 1.0})
    runs = {(one["memory_format"], one["batch_size"]) for one in told.all("run")}
    assert runs == {("channels_last", 4), ("contiguous", 4), ("channels_last", 1)}
    assert told.all("left_out") == []


@pytest.mark.heavy
def test_memory_is_measured_at_two_sizes(told: Told) -> None:
    model = gpu.probe_memory(told.channel, Device("cpu"), FP32)
    assert 20e6 < model.per_image < 400e6
    assert model.largest(64 * 2**30) >= 64
