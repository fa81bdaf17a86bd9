"""Whether cuDNN searches for the fastest kernels of a run, which can take longer than all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .channel import Channel
from .devices import FP32
from .measure import Variant

SEARCH_STEPS, SEARCH_STEPS_FP32 = 60, 250
SEARCH_LOADS_S = 12.0
"""A search takes as long as so many steps, and the first on a machine reads cuDNN's kernels from
disk. Of ResNet-50 with batches of 256 on an H100 (torch 2.11, cuDNN 9.19;
benchmarks/results/gpu_h100.json) it took 14 s in bf16 and 2.7 s, or 42 steps, in the next process;
18 s in TF32; 68 s in fp32, or 250 steps, as kernels without tensor cores are tried too."""

SEARCH_BUDGETS = 3
"""The search may take so many times the budget of its run. It comes on top of that."""


def with_kernels(
    channel: Channel, variant: Variant, step: Callable[[], Any], budget_s: float
) -> Variant:
    """The variant with its choice: a search where there is time for it, otherwise what cuDNN takes
    by its rules, as it does by default in torch. A choice that was made before is kept."""
    device = variant.device
    if not device.may_search or variant.workload.length(device) is not None:
        return variant
    searched = variant.searched
    if searched is None and not variant.compiled:
        searched = _search_s(variant, step) <= SEARCH_BUDGETS * budget_s
    if searched:
        channel.progress(
            device=device.name,
            precision=variant.precision.name,
            phase="warm-up",
            message="cuDNN searches for its fastest kernels",
        )
    device.search(bool(searched))
    return variant._replace(searched=bool(searched))


def _search_s(variant: Variant, step: Callable[[], Any]) -> float:
    """How long a search would take about."""
    variant.device.search(False)
    variant.device.time(step, 1)
    steps = SEARCH_STEPS_FP32 if variant.precision == FP32 else SEARCH_STEPS
    return SEARCH_LOADS_S + steps * variant.device.time(step, 1)
