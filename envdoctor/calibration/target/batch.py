"""Which batch size is measured: decided from memory and time, never found by crashing."""

from __future__ import annotations

from typing import NamedTuple

CPU_SMALL = 4
CPU_STEPS = {8: 30, 4: 12, 2: 12}
"""The largest CPU batch is taken of which the budget holds so many steps: of the largest the twenty
that are wanted, with room for the warm-up and for a slower moment; of the others those that an
interval needs, with the warm-up."""

PROBE_SIZES, SMALL_PROBE_SIZES = (16, 64), (8, 16)
PROBE_BYTES = 12_000_000_000
"""Free memory from which on the larger sizes are tried: 64 images in fp32 take 7 GB."""

AT_REST_BYTES = 3 * 4 * 25_557_032
"""Weights, gradients and momentum in fp32, whatever the batch."""

SAFE_SHARE = 0.85
"""Of the free memory; the rest is for fragmentation and for what cuDNN tries out."""

GPU_LARGEST = 256
"""Throughput is flat beyond: the batch of a GPU in the published runs."""

GPU_STEP = 8
"""Sizes are multiples of this, the granularity that tensor cores like."""

USUAL_BATCH = 256


class MemoryModel(NamedTuple):
    """Memory of a training run: a fixed part and a part for each image, in bytes."""

    fixed: int
    per_image: int

    def largest(self, free_bytes: int) -> int:
        """The largest safe batch, a multiple of eight; 0 if none is safe."""
        room = int(free_bytes * SAFE_SHARE) - self.fixed
        return max(0, room // self.per_image // GPU_STEP * GPU_STEP)


def probe_sizes(free_bytes: int) -> tuple[int, int]:
    """The two batches whose memory is measured: far apart where there is room for it."""
    return PROBE_SIZES if free_bytes >= PROBE_BYTES else SMALL_PROBE_SIZES


def memory_model(small: tuple[int, int], large: tuple[int, int]) -> MemoryModel:
    """The more careful of two lines through measured points (batch size, peak bytes).

    One goes through both points. The other takes all that the larger batch needs beyond
    `AT_REST_BYTES` as growing with the batch: cuDNN may want a larger workspace for the smaller
    batch, and then the first line is too flat. Raises ValueError if there is nothing beyond.
    """
    through_both = (large[1] - small[1]) // (large[0] - small[0])
    proportional = (large[1] - AT_REST_BYTES) // large[0]
    if proportional <= 0:
        raise ValueError(f"{large[1]} bytes are less than a batch of {large[0]} needs")
    per_image = max(through_both, proportional)
    return MemoryModel(fixed=max(0, large[1] - per_image * large[0]), per_image=per_image)


def gpu_batch(largest_safe: int) -> int:
    """The batch to measure: the largest power of two that is safe, 256 at most; 0 if none."""
    size = GPU_LARGEST
    while size > largest_safe:
        size //= 2
    return size if size >= 1 else 0


def gpu_advice(largest_safe: int) -> str:
    """What to do where the usual batch does not fit; empty where it does."""
    if largest_safe >= USUAL_BATCH:
        return ""
    if largest_safe <= 0:
        return "not even a batch of 8 fits safely; free memory on this GPU first"
    steps = -(-USUAL_BATCH // largest_safe)
    return (
        f"for the usual batch of {USUAL_BATCH}, accumulate gradients over {steps} steps of "
        f"{-(-USUAL_BATCH // steps)} images"
    )


def cpu_batch(seconds_for_one: float, budget_s: float) -> int:
    """The largest batch that the budget holds enough steps of; one image where it holds of none."""
    fitting = [
        size for size, steps in CPU_STEPS.items() if seconds_for_one * size * steps <= budget_s
    ]
    return max(fitting, default=1)
