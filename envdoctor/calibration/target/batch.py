"""Which batch size is measured: decided from memory and time, never found by crashing."""

from __future__ import annotations

from typing import NamedTuple

CPU_SMALL = 4
CPU_STEPS = {8: 30, 4: 12, 2: 12}
"""The largest CPU batch is taken of which the budget holds so many steps: of the largest the twenty
that are wanted, with room for the warm-up and for a slower moment; of the others those that an
interval needs, with the warm-up."""

SAFE_SHARE = 0.85
"""Of the free memory; the rest is for fragmentation and for what cuDNN tries out."""


class Batches(NamedTuple):
    """Which batches of a network are tried, in samples, and the memory that they need, in bytes.

    `at_rest` are weights, gradients and what the optimizer keeps, in fp32, whatever the batch. On a
    GPU the memory of the batches `probes` is measured, of `small_probes` where less than
    `probe_bytes` are free; the batch is a multiple of `granularity`, and `largest` at most, beyond
    which throughput is flat; `default` is that of a GPU that does not say what is free; `usual` is
    the batch that one trains with. `cpu_fixed` and `cpu_each` are the resident memory of an fp32
    run on a CPU: of the interpreter with torch and all that is at rest, and of each sample.
    """

    sample: str
    at_rest: int
    probes: tuple[int, int]
    small_probes: tuple[int, int]
    probe_bytes: int
    granularity: int
    largest: int
    default: int
    usual: int
    cpu_fixed: int
    cpu_each: int


IMAGES = Batches(
    sample="image",
    at_rest=3 * 4 * 25_557_032,
    probes=(16, 64),
    small_probes=(8, 16),
    # 64 images in fp32 take 7 GB.
    probe_bytes=12_000_000_000,
    # What tensor cores like.
    granularity=8,
    # The batch of a GPU in the published runs.
    largest=256,
    default=16,
    usual=256,
    # torch 2.13, x86_64: 0.80 GB with a batch of 1, 1.09 GB with 4.
    cpu_fixed=700_000_000,
    cpu_each=110_000_000,
)
SEQUENCES = Batches(
    sample="sequence",
    at_rest=4 * 4 * 124_439_808,
    # At 1,024 tokens a sequence takes 0.2 GB for its logits in fp32, several times over.
    probes=(2, 8),
    small_probes=(1, 2),
    probe_bytes=20_000_000_000,
    granularity=1,
    largest=32,
    default=1,
    # Half a million tokens (Brown et al., arXiv:2005.14165, table 2.1, the network of 125M).
    usual=512,
    # torch 2.13, x86_64, 128 tokens: 2.85 GB with a batch of 1, 3.09 GB with 4.
    cpu_fixed=2_750_000_000,
    cpu_each=110_000_000,
)


class MemoryModel(NamedTuple):
    """Memory of a training run: a fixed part and a part for each sample, in bytes."""

    fixed: int
    each: int

    def largest(self, free_bytes: int, granularity: int) -> int:
        """The largest safe batch, a multiple of `granularity`; 0 if none is safe."""
        room = int(free_bytes * SAFE_SHARE) - self.fixed
        return max(0, room // self.each // granularity * granularity)


def probe_sizes(free_bytes: int, batches: Batches) -> tuple[int, int]:
    """The two batches whose memory is measured: far apart where there is room for it."""
    return batches.probes if free_bytes >= batches.probe_bytes else batches.small_probes


def memory_model(small: tuple[int, int], large: tuple[int, int], at_rest: int) -> MemoryModel:
    """The more careful of two lines through measured points (batch size, peak bytes).

    One goes through both points. The other takes all that the larger batch needs beyond
    what is `at_rest` as growing with the batch: cuDNN may want a larger workspace for the smaller
    batch, and then the first line is too flat. Raises ValueError if there is nothing beyond.
    """
    through_both = (large[1] - small[1]) // (large[0] - small[0])
    proportional = (large[1] - at_rest) // large[0]
    if proportional <= 0:
        raise ValueError(f"{large[1]} bytes are less than a batch of {large[0]} needs")
    each = max(through_both, proportional)
    return MemoryModel(fixed=max(0, large[1] - each * large[0]), each=each)


def gpu_batch(largest_safe: int, batches: Batches) -> int:
    """The batch to measure: the largest power of two that is safe, within bounds; 0 if none."""
    size = batches.largest
    while size > largest_safe:
        size //= 2
    return size if size >= 1 else 0


def gpu_advice(largest_safe: int, batches: Batches) -> str:
    """What to do where the usual batch does not fit; empty where it does."""
    usual, few = batches.usual, batches.granularity
    if largest_safe >= usual:
        return ""
    if largest_safe <= 0:
        return f"not even a batch of {few} fits safely; free memory on this GPU first"
    steps = -(-usual // largest_safe)
    return (
        f"for the usual batch of {usual}, accumulate gradients over {steps} steps of "
        f"{-(-usual // steps)} {batches.sample}s"
    )


def cpu_batch(seconds_for_one: float, budget_s: float) -> int:
    """The largest batch that the budget holds enough steps of; one sample where it holds of
    none."""
    fitting = [
        size for size, steps in CPU_STEPS.items() if seconds_for_one * size * steps <= budget_s
    ]
    return max(fitting, default=1)
