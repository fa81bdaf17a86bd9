"""The runs on one GPU: every precision at the batch that its memory allows, then comparisons."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from .attempt import attempt, run_variant
from .batch import MemoryModel, gpu_advice, gpu_batch, memory_model, probe_sizes
from .channel import Channel
from .devices import FP32, Device, Precision
from .measure import Variant, plain
from .training import training_step
from .workloads import Workload

BUDGET_S = 10.0
COMPARISON_BUDGET_S = 5.0
SMALL_BATCH_DIVISOR = 4


def measure_gpu(
    channel: Channel,
    device: Device,
    precisions: list[Precision],
    settings: dict[str, Any],
    workload: Workload,
    *,
    compare: bool = True,
) -> bool:
    """Measure the precisions in order, each within its own budget; then, to `compare`, the fastest
    in the other memory format and with a smaller batch. Returns whether there is any figure."""
    budget_s = settings.get("budget_s") or BUDGET_S
    device.use()
    rates: dict[Variant, float] = {}
    for precision in precisions:
        if device.lost:
            break
        size = settings.get("batch_size") or _batch_for(channel, device, precision, workload)
        if not size:
            continue
        variant = plain(workload, device, precision, size)
        run = run_variant(channel, variant, budget_s)
        if run is not None:
            # What is compared with it finds its kernels in the same way.
            variant = variant._replace(searched=run["cudnn_search"])
            rates[variant] = size / run["ms_per_step"]
        if precision == FP32 and compare:
            _other_format(channel, variant, budget_s)
        if settings.get("compile"):
            _compiled(channel, variant, budget_s)
    if rates and compare:
        _compare(channel, max(rates, key=lambda variant: rates[variant]), budget_s)
    return bool(rates)


def _other_format(channel: Channel, variant: Variant, budget_s: float) -> None:
    """The same run in the other memory format, where there is one."""
    for other in variant.workload.formats[1:]:
        of_it = variant._replace(memory_format=other)
        run_variant(channel, of_it, min(COMPARISON_BUDGET_S, budget_s))


def _compiled(channel: Channel, variant: Variant, budget_s: float) -> None:
    if hasattr(torch, "compile"):
        run_variant(channel, variant._replace(compiled=True), budget_s)
    else:
        channel.left_out(variant.device.name, "compiled", "needs torch 2.0", failed=False)


def _compare(channel: Channel, best: Variant, budget_s: float) -> None:
    """The same run in the other memory format, and with a smaller batch."""
    if best.precision != FP32:
        _other_format(channel, best, budget_s)
    smaller = best.batch_size // SMALL_BATCH_DIVISOR
    if smaller >= 1:
        run_variant(channel, best._replace(batch_size=smaller), min(COMPARISON_BUDGET_S, budget_s))


def _batch_for(channel: Channel, device: Device, precision: Precision, workload: Workload) -> int:
    """The batch that fits, told with its reasons; 0 if none does or the probe failed."""
    free = device.free_bytes()
    batches = workload.batches
    if free is None:
        return batches.default
    sizes = probe_sizes(free, batches)
    what = f"{precision.name} memory of batches {sizes[0]} and {sizes[1]}"
    probe = partial(probe_memory, channel, device, precision, sizes, workload)
    model = attempt(channel, device, what, probe)
    if model is None:
        return 0
    largest = model.largest(free, batches.granularity)
    chosen = gpu_batch(largest, batches)
    counts_tokens = workload.length(device) is not None
    channel.send(
        "batch",
        device=device.name,
        precision=precision.name,
        bytes_per_image=None if counts_tokens else model.each,
        bytes_per_sequence=model.each if counts_tokens else None,
        bytes_fixed=model.fixed,
        free_bytes=free,
        chosen=chosen,
        largest_safe=largest,
        advice=gpu_advice(largest, batches),
    )
    if not chosen:
        channel.left_out(device.name, precision.name, gpu_advice(largest, batches), failed=True)
    return chosen


def probe_memory(
    channel: Channel,
    device: Device,
    precision: Precision,
    sizes: tuple[int, int],
    workload: Workload,
) -> MemoryModel:
    """Peak memory of two batches, as a line. Raises ValueError if it cannot be that of a step."""
    points = []
    for size in sizes:
        channel.progress(
            device=device.name,
            precision=precision.name,
            phase="warm-up",
            message=f"memory of a batch of {size}",
        )
        device.tidy()
        step = training_step(
            device, precision, size, memory_format=workload.formats[0], workload=workload
        )
        device.search(False)
        device.time(step, 2)
        # Libraries have been loaded by now, and what only the first step needs is given back.
        device.tidy()
        device.reset_peak()
        device.time(step, 1)
        points.append((size, device.peak_bytes() or 0))
        del step
    return memory_model(points[0], points[1], workload.batches.at_rest)
