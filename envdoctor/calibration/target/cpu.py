"""The runs on the CPU: all precisions share one budget."""

from __future__ import annotations

import time
from typing import Any

import torch

from .attempt import attempt, run_variant
from .batch import CPU_SMALL, cpu_batch
from .channel import Channel
from .devices import Device, Precision
from .machine import status_bytes
from .measure import Variant, first_bound, measure
from .plan import precision_shares
from .training import CONTIGUOUS, training_step

COMPILED_BUDGET_S = 10.0
COMPARISON_STEPS = 12
"""Fewer steps left in the budget are not worth a comparison of memory formats."""

FIXED_BYTES = 700_000_000
BYTES_PER_IMAGE = 110_000_000
"""Resident memory of an fp32 run (torch 2.13, x86_64: 0.80 GB with a batch of 1, 1.09 GB with 4):
the interpreter with torch, weights, gradients, momentum and buffers; activations of one image."""


def measure_cpu(
    channel: Channel,
    device: Device,
    precisions: list[Precision],
    settings: dict[str, Any],
    deadline: float,
) -> None:
    """Measure the precisions in order, until a moment of the monotonic clock; what one leaves of
    the time the next may use."""
    batch_size = settings.get("batch_size")
    problem = memory_problem(batch_size or CPU_SMALL, settings.get("memory_limit_bytes"), device)
    if problem:
        channel.left_out(device.name, "all precisions", problem, failed=True)
        return
    runs: list[dict[str, Any]] = []
    shares = precision_shares(precisions)
    for done, precision in enumerate(precisions):
        share = shares[done] / sum(shares[done:])
        left = max(0.0, deadline - time.monotonic())
        run = _run(channel, device, precision, batch_size, left * share)
        if run is not None:
            batch_size = run["batch_size"]
            runs.append(run)
    if runs:
        _compare(channel, device, precisions, runs[0], deadline, compiled=settings.get("compile"))


def _run(
    channel: Channel, device: Device, precision: Precision, batch_size: int | None, budget_s: float
) -> Any:
    if batch_size is not None:
        return run_variant(channel, Variant(device, precision, batch_size), budget_s)
    small = Variant(device, precision, 1)
    return attempt(channel, device, small.what, lambda: _choose_and_time(channel, small, budget_s))


def _choose_and_time(channel: Channel, small: Variant, budget_s: float) -> Any:
    """Two steps of the smallest batch say which is affordable."""
    began = time.monotonic()
    device = small.device
    channel.progress(
        device=device.name,
        precision=small.precision.name,
        phase="warm-up",
        budget_s=budget_s,
        message="choosing the batch size",
    )
    step = training_step(device, small.precision, small.batch_size)
    warm = [device.time(step, 1), device.time(step, 1)]
    channel.send("first", **first_bound(small, warm))
    size = cpu_batch(min(warm), budget_s)
    if size != small.batch_size:
        step, warm = training_step(device, small.precision, size), []
    variant = small._replace(batch_size=size)
    left = budget_s - (time.monotonic() - began)
    return measure(variant, step, budget_s=left, channel=channel, warm=warm)


def _compare(
    channel: Channel,
    device: Device,
    precisions: list[Precision],
    first: dict[str, Any],
    deadline: float,
    *,
    compiled: bool | None,
) -> None:
    """What the user asked for beyond the plain runs, then what the budget still holds."""
    base = Variant(device, precisions[0], first["batch_size"])
    if compiled and not hasattr(torch, "compile"):
        channel.left_out(device.name, "compiled", "torch.compile came with 2.0", failed=False)
    elif compiled:
        run_variant(channel, base._replace(compiled=True), COMPILED_BUDGET_S)
    spare = deadline - time.monotonic()
    if spare > COMPARISON_STEPS * first["ms_per_step"] / 1000:
        run_variant(channel, base._replace(memory_format=CONTIGUOUS), spare)


def memory_problem(batch_size: int, limit_bytes: int | None, device: Device) -> str:
    """Why a batch would not fit into memory; empty if it does."""
    needed = FIXED_BYTES + BYTES_PER_IMAGE * batch_size
    rooms = [device.free_bytes()]
    if limit_bytes is not None:
        rooms.append(limit_bytes - (status_bytes("VmRSS") or 0))
    free = min((room for room in rooms if room is not None), default=needed)
    if free >= needed:
        return ""
    return (
        f"a batch of {batch_size} needs about {needed / 1e9:.1f} GB of memory, "
        f"{max(free, 0) / 1e9:.1f} GB are free"
    )
