"""The limits of the hardware: dense arithmetic, memory, links, launches. A few seconds in all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from . import peers
from .attempt import attempt
from .channel import Channel
from .devices import CudaDevice, Device, Precision
from .stats import rate_spread

GPU_WARM_S, GPU_SAMPLE_S = 0.3, 0.05
"""A GPU needs a while to raise its clocks. A sample holds so many operations that the launch of
the first and the wait for the last (about 10 µs of the 370 that a copy takes) do not count."""

FEWEST_SAMPLES, FEWEST_IN_TIME = 5, 2
"""The latter where the operations take so long that the time for them is spent twice."""

CPU_MATRIX, GPU_MATRIX = 1536, 8192
CPU_COPY_BYTES = 256 * 2**20
"""Larger than the last-level cache of most CPUs."""

GPU_COPY_BYTES = 512 * 2**20
LINK_BYTES = 256 * 2**20
LAUNCHES = 1000
MATRIX_SHARE = 0.5
"""Of the free memory that the matrices of a GEMM may take; a small GPU gets smaller ones."""


def measure_ceilings(
    channel: Channel,
    devices: list[Device],
    precisions: dict[str, list[Precision]],
    cpu_budget_s: float,
) -> None:
    """The ceilings of every device, in the precisions that were measured on it."""
    for device in devices:
        attempt(channel, device, "ceilings", device.use)
        if device.kind == "cpu":
            limits = len(precisions.get(device.name, [])) + 1
            device.timed_s = min(device.timed_s, cpu_budget_s / limits)
        channel.progress(device=device.name, phase="ceilings", message="limits of the hardware")
        for what, action in _of_one(channel, device, precisions.get(device.name, [])):
            attempt(channel, device, what, action)
    gpus = [one for one in devices if isinstance(one, CudaDevice) and not one.lost]
    for destination in gpus[1:]:
        copy = partial(_between, channel, gpus[0], destination)
        attempt(channel, gpus[0], f"copy to {destination.name}", copy)
    if len(gpus) >= 2:
        reduce = partial(peers.measure_all_reduce, channel, "nccl", [gpu.name for gpu in gpus])
        attempt(channel, gpus[0], "all-reduce", reduce)


def _of_one(
    channel: Channel, device: Device, precisions: list[Precision]
) -> Iterator[tuple[str, Callable[[], None]]]:
    """The limits of one device: what each is called, and what measures it."""
    for precision in precisions:
        yield f"matmul {precision.name}", partial(_matmul, channel, device, precision)
    yield "memory copy", partial(_copy, channel, device)
    if device.kind == "cuda":
        yield "host to device pinned", partial(_host_to_device, channel, device, pinned=True)
        yield "host to device pageable", partial(_host_to_device, channel, device, pinned=False)
        yield "kernel launch", partial(_launch, channel, device)


def _sampled(device: Device, step: Callable[[], Any]) -> list[float]:
    """Seconds of one `step`, several times."""
    together = _warm_up(device, step)
    began = time.monotonic()
    samples: list[float] = []
    while True:
        samples.append(device.time(step, together))
        spent = time.monotonic() - began
        fewest = FEWEST_SAMPLES if spent < 2 * device.timed_s else FEWEST_IN_TIME
        if len(samples) >= fewest and spent >= device.timed_s:
            return samples


def _warm_up(device: Device, step: Callable[[], Any]) -> int:
    """Run until the device has found its speed; how many steps one sample is to hold."""
    until = time.monotonic() + (0 if device.kind == "cpu" else GPU_WARM_S)
    one = device.time(step, 2)
    while time.monotonic() < until:
        one = device.time(step, 2)
    return 1 if device.kind == "cpu" else max(1, math.ceil(GPU_SAMPLE_S / max(one, 1e-6)))


def _tell(
    channel: Channel,
    device: Device,
    name: str,
    seconds: list[float],
    amount: float,
    unit: str,
    detail: str = "",
) -> None:
    value = rate_spread(seconds, amount)
    channel.send("ceiling", device=device.name, name=name, value=value, unit=unit, detail=detail)


def _matmul(channel: Channel, device: Device, precision: Precision) -> None:
    device.set_precision(precision)
    kind = getattr(torch, precision.autocast or "float32")
    size = matrix_size(device.kind, device.free_bytes(), torch.finfo(kind).bits // 8)
    left = torch.randn(size, size, device=device.torch).to(kind)
    right = torch.randn(size, size, device=device.torch).to(kind)
    out = torch.empty_like(left)
    seconds = _sampled(device, lambda: torch.mm(left, right, out=out))
    _tell(channel, device, f"matmul {precision.name}", seconds, 2 * size**3 / 1e12, "TFLOP/s")


def matrix_size(kind: str, free_bytes: int | None, item_bytes: int) -> int:
    """The side of three square matrices that fit into a share of the free memory."""
    size = CPU_MATRIX if kind == "cpu" else GPU_MATRIX
    while free_bytes is not None and 3 * size * size * item_bytes > MATRIX_SHARE * free_bytes:
        size //= 2
    return max(size, 64)


def _copy(channel: Channel, device: Device) -> None:
    """Bytes read plus bytes written, as the data sheets of memory count."""
    nbytes = CPU_COPY_BYTES if device.kind == "cpu" else GPU_COPY_BYTES
    source = torch.ones(nbytes // 4, device=device.torch)
    target = torch.empty_like(source)
    seconds = _sampled(device, lambda: target.copy_(source))
    _tell(channel, device, "memory copy", seconds, 2 * nbytes / 1e9, "GB/s")


def _host_to_device(channel: Channel, device: Device, *, pinned: bool) -> None:
    target = torch.empty(LINK_BYTES // 4, device=device.torch)
    source = torch.ones(LINK_BYTES // 4)
    source = source.pin_memory() if pinned else source
    seconds = _sampled(device, lambda: target.copy_(source, non_blocking=pinned))
    name = "host to device " + ("pinned" if pinned else "pageable")
    _tell(channel, device, name, seconds, LINK_BYTES / 1e9, "GB/s")


def _launch(channel: Channel, device: Device) -> None:
    """Host time of a launch: a kernel so small that the queue never fills the device."""
    small = torch.zeros(1, device=device.torch)
    seconds = _host_seconds(device, lambda: small.add_(1))
    microseconds = sorted(1e6 * one for one in seconds)
    middle = microseconds[len(microseconds) // 2]
    value = {"median": middle, "low": microseconds[0], "high": microseconds[-1]}
    channel.send("ceiling", device=device.name, name="kernel launch", value=value, unit="µs")


def _host_seconds(device: Device, step: Callable[[], Any]) -> list[float]:
    samples = []
    for _ in range(FEWEST_SAMPLES + 1):
        device.synchronize()
        started = time.perf_counter()
        for _ in range(LAUNCHES):
            step()
        samples.append((time.perf_counter() - started) / LAUNCHES)
    return samples[1:]


def _between(channel: Channel, source: CudaDevice, destination: CudaDevice) -> None:
    origin = torch.ones(LINK_BYTES // 4, device=source.torch)
    target = torch.empty(LINK_BYTES // 4, device=destination.torch)
    seconds = _sampled(source, lambda: target.copy_(origin))
    way = "peer access" if source.reaches(destination) else "no peer access, through the host"
    name = f"copy to {destination.name}"
    _tell(channel, source, name, seconds, LINK_BYTES / 1e9, "GB/s", way)
