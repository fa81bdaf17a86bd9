"""The runs on the CPU: all precisions share one budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from .attempt import attempt, run_variant
from .batch import CPU_SMALL, Batches, cpu_batch
from .channel import Channel
from .devices import Device, Precision
from .machine import status_bytes
from .measure import Variant, first_bound, measure, plain
from .plan import precision_shares
from .training import autocast, training_step
from .workloads import Workload

COMPILED_BUDGET_S = 10.0
COMPARISON_STEPS = 12
"""Fewer steps left in the budget are not worth a comparison of memory formats."""

_ESTIMATES = 3


def measure_cpu(
    channel: Channel,
    device: Device,
    precisions: list[Precision],
    settings: dict[str, Any],
    workload: Workload,
    deadline: float,
) -> None:
    """Measure the precisions in order, until a moment of the monotonic clock; what one leaves of
    the time the next may use."""
    batch_size = settings.get("batch_size")
    limit_bytes = settings.get("memory_limit_bytes")
    problem = memory_problem(batch_size or CPU_SMALL, limit_bytes, device, workload.batches)
    if problem:
        channel.left_out(device.name, "all precisions", problem, failed=True)
        return
    runs: list[dict[str, Any]] = []
    shares = precision_shares(precisions)
    for done, precision in enumerate(precisions):
        share = shares[done] / sum(shares[done:])
        left = max(0.0, deadline - time.monotonic())
        small = plain(workload, device, precision, batch_size or 1)
        run = _run(channel, small, left * share, choose=batch_size is None)
        if run is not None:
            batch_size = run["batch_size"]
            runs.append(run)
    if runs:
        base = plain(workload, device, precisions[0], runs[0]["batch_size"])
        _compare(channel, base, runs[0], deadline, compiled=settings.get("compile"))


def _run(channel: Channel, small: Variant, budget_s: float, *, choose: bool) -> Any:
    if not choose:
        return run_variant(channel, small, budget_s)
    if small.workload.part_of_a_step(small.device) is None:
        choose_and_time = partial(_choose_and_time, channel, small, budget_s)
        return attempt(channel, small.device, small.what, choose_and_time)
    seconds = attempt(channel, small.device, small.what, partial(estimated_s, small))
    size = cpu_batch(seconds or budget_s, budget_s)
    return run_variant(channel, small._replace(batch_size=size), budget_s)


def estimated_s(small: Variant) -> float:
    """The seconds of a step, from those of a part of it."""
    device = small.device
    part = small.workload.part_of_a_step(device)
    assert part is not None
    layer, features, times = part

    def step() -> None:
        with torch.no_grad(), autocast(device, small.precision):
            layer(features)

    device.time(step, 1)
    return min(device.time(step, 1) for _ in range(_ESTIMATES)) * times


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
    step = _step(small)
    warm = [device.time(step, 1), device.time(step, 1)]
    channel.send("first", **first_bound(small, warm))
    size = cpu_batch(min(warm), budget_s)
    variant = small._replace(batch_size=size)
    if size != small.batch_size:
        step, warm = _step(variant), []
    left = budget_s - (time.monotonic() - began)
    return measure(variant, step, budget_s=left, channel=channel, warm=warm)


def _step(variant: Variant) -> Callable[[], None]:
    return training_step(
        variant.device,
        variant.precision,
        variant.batch_size,
        memory_format=variant.memory_format,
        workload=variant.workload,
    )


def _compare(
    channel: Channel,
    base: Variant,
    first: dict[str, Any],
    deadline: float,
    *,
    compiled: bool | None,
) -> None:
    """What the user asked for beyond the plain runs, then what the budget still holds."""
    if compiled and not hasattr(torch, "compile"):
        channel.left_out(base.device.name, "compiled", "torch.compile came with 2.0", failed=False)
    elif compiled:
        run_variant(channel, base._replace(compiled=True), COMPILED_BUDGET_S)
    for other in base.workload.formats[1:]:
        spare = deadline - time.monotonic()
        if spare > COMPARISON_STEPS * first["ms_per_step"] / 1000:
            run_variant(channel, base._replace(memory_format=other), spare)


def memory_problem(
    batch_size: int, limit_bytes: int | None, device: Device, batches: Batches
) -> str:
    """Why a batch would not fit into memory; empty if it does."""
    needed = batches.cpu_fixed + batches.cpu_each * batch_size
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
