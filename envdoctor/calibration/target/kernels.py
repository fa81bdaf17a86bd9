"""Whether cuDNN searches for the fastest kernels of a run, which can take longer than all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .channel import Channel
from .devices import FP32
from .measure import Variant

SEARCH_LOADS_S = 12.0
SEARCH_STEPS, SEARCH_STEPS_FP32 = 60, 210
"""A search may have to read cuDNN's kernels from disk, and takes as long as so many steps. Of
ResNet-50 with batches of 256 on an H100 (torch 2.11, cuDNN 9.19; benchmarks/results/gpu_h100.json)
it took 14 s in bf16, and 2.7 s or 42 steps in the next process; 18 s in TF32; in fp32 68 s, and in
the other memory format 17 s or 62 steps, why is not known."""

SEARCH_BUDGETS, SEARCH_MOST_S = 3, 120.0
"""The search may take so many times the budget of its run, on top of that, and never longer than
this: nothing is heard of it meanwhile."""


def may_take_s(budget_s: float) -> float:
    """How long a search may take beside a run of that budget."""
    return min(SEARCH_MOST_S, SEARCH_BUDGETS * budget_s)


def with_kernels(
    channel: Channel, variant: Variant, step: Callable[[], Any], budget_s: float
) -> tuple[Variant, list[float]]:
    """The variant with its choice, and the seconds of a first step where one was made for it: a
    search where there is time for it, otherwise what cuDNN takes by its rules, as it does by
    default in torch. A choice that was made before is kept."""
    device = variant.device
    if not device.may_search or variant.workload.length(device) is not None:
        return variant, []
    device.search(bool(variant.searched))
    if variant.searched is not None or variant.compiled:
        return variant, []
    first_s = device.time(step, 1)
    steps = SEARCH_STEPS_FP32 if variant.precision == FP32 else SEARCH_STEPS
    takes_s = SEARCH_LOADS_S + steps * device.time(step, 1)
    if takes_s > may_take_s(budget_s):
        return variant._replace(searched=False), [first_s]
    channel.progress(
        device=device.name,
        precision=variant.precision.name,
        phase="warm-up",
        message=f"cuDNN searches for its fastest kernels, up to {takes_s:.0f} s",
    )
    device.search(True)
    return variant._replace(searched=True), [first_s + device.time(step, 1)]
