"""The limits of the hardware: dense arithmetic, memory, links, launches. A few seconds in all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from . import peers
from .attempt import reason_of
from .channel import Channel
from .devices import Device, Precision
from .stats import rate_spread

SECONDS_EACH = 0.4
FEWEST_SAMPLES = 5
CPU_MATRIX, GPU_MATRIX = 1536, 8192
CPU_COPY_BYTES = 256 * 2**20
"""Larger than the last-level cache of most CPUs."""

GPU_COPY_BYTES = 512 * 2**20
LINK_BYTES = 256 * 2**20
LAUNCHES = 1000
MATRIX_SHARE = 0.5
"""Of the free memory that the matrices of a GEMM may take; a small GPU gets smaller ones."""


def measure_ceilings(
    channel: Channel, devices: list[Device], precisions: dict[str, list[Precision]]
) -> None:
    """The ceilings of every device, in the precisions that were measured on it."""
    for device in devices:
        channel.progress(device=device.name, phase="ceilings", message="limits of the hardware")
        for precision in precisions.get(device.name, []):
            with _told(channel, device, f"matmul {precision.name}"):
                _matmul(channel, device, precision)
        with _told(channel, device, "copy"):
            _copy(channel, device)
        if device.kind == "cuda":
            with _told(channel, device, "links"):
                _host_to_device(channel, device)
                _launch(channel, device)
    gpus = [device for device in devices if device.kind == "cuda"]
    for destination in gpus[1:]:
        with _told(channel, gpus[0], f"copy to {destination.name}"):
            _between(channel, gpus[0], destination)
    if len(gpus) >= 2:
        with _told(channel, gpus[0], "all-reduce"):
            peers.measure_all_reduce(channel, "nccl", len(gpus))


@contextlib.contextmanager
def _told(channel: Channel, device: Device, what: str) -> Iterator[None]:
    """What fails is told, and does not keep the rest from being measured."""
    try:
        yield
    except Exception as error:
        channel.left_out(device.name, what, reason_of(error), failed=True)
    finally:
        device.tidy()


def _sampled(device: Device, step: Callable[[], Any], repeat: int = 1) -> list[float]:
    """Seconds of `step`, after a warm-up of two."""
    device.time(step, 2)
    until = time.monotonic() + SECONDS_EACH
    samples: list[float] = []
    while len(samples) < FEWEST_SAMPLES or time.monotonic() < until:
        samples.append(device.time(step, repeat))
    return samples


def _tell(
    channel: Channel, device: Device, name: str, seconds: list[float], amount: float, unit: str
) -> None:
    channel.send(
        "ceiling", device=device.name, name=name, value=rate_spread(seconds, amount), unit=unit
    )


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


def _host_to_device(channel: Channel, device: Device) -> None:
    target = torch.empty(LINK_BYTES // 4, device=device.torch)
    for name, pinned in (("pinned", True), ("pageable", False)):
        source = torch.ones(LINK_BYTES // 4, pin_memory=pinned)

        def copy(source: Any = source, pinned: bool = pinned) -> None:
            target.copy_(source, non_blocking=pinned)

        seconds = _sampled(device, copy)
        _tell(channel, device, f"host to device {name}", seconds, LINK_BYTES / 1e9, "GB/s")


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


def _between(channel: Channel, source: Device, destination: Device) -> None:
    origin = torch.ones(LINK_BYTES // 4, device=source.torch)
    target = torch.empty(LINK_BYTES // 4, device=destination.torch)
    seconds = _sampled(source, lambda: target.copy_(origin))
    name = f"copy to {destination.name}"
    _tell(channel, source, name, seconds, LINK_BYTES / 1e9, "GB/s")
