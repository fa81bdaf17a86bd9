"""What the worker decides: batch sizes, precisions, workers, matrices; on numbers made by hand."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.calibration.target import batch, ceilings, cpu, devices, machine, pipeline

IMAGES = batch.IMAGES
TARGET = Path(batch.__file__).parent
GIB = 2**30


@given(
    st.integers(IMAGES.at_rest, 8 * GIB),
    st.integers(10_000_000, GIB),
    st.integers(0, 200 * GIB),
    st.sampled_from([IMAGES.probes, IMAGES.small_probes]),
)
def test_memory_is_predicted_linearly_and_never_exceeded(
    fixed: int, each: int, free: int, sizes: tuple[int, int]
) -> None:
    small, large = sizes
    model = batch.memory_model(
        (small, fixed + small * each), (large, fixed + large * each), IMAGES.at_rest
    )
    largest = model.largest(free, 8)
    assert largest % 8 == 0
    assert largest <= large or fixed + largest * each <= batch.SAFE_SHARE * free
    assert model.fixed + (largest + 8) * model.each > batch.SAFE_SHARE * free - model.each


def test_beyond_the_weights_all_memory_counts_as_growing() -> None:
    rest, each = IMAGES.at_rest, 100_000_000
    model = batch.memory_model((16, rest + 16 * each), (64, rest + 64 * each), rest)
    assert model == batch.MemoryModel(fixed=rest, each=each)
    # A fixed workspace of 640 MB is taken for 10 MB an image.
    with_workspace = batch.memory_model(
        (16, rest + 640_000_000 + 16 * each), (64, rest + 640_000_000 + 64 * each), rest
    )
    assert with_workspace == batch.MemoryModel(fixed=rest, each=each + 10_000_000)


@pytest.mark.parametrize("workspace", [1.0, 1.2, 2.0])
def test_a_larger_workspace_for_the_smaller_batch_promises_no_memory(workspace: float) -> None:
    rest, each = IMAGES.at_rest, 100_000_000
    large = rest + 16 * each
    model = batch.memory_model((8, int(workspace * large)), (16, large), rest)
    assert model == batch.MemoryModel(fixed=rest, each=each)


def test_less_memory_than_the_weights_need_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="less than a batch of 16 needs"):
        batch.memory_model((8, 10), (16, 20), IMAGES.at_rest)


def test_large_batches_are_tried_only_where_there_is_room() -> None:
    assert batch.probe_sizes(80 * GIB, IMAGES) == (16, 64)
    assert batch.probe_sizes(6 * GIB, IMAGES) == (8, 16)


@pytest.mark.parametrize(
    ("largest", "chosen"), [(0, 0), (8, 8), (24, 16), (200, 128), (256, 256), (5000, 256)]
)
def test_the_gpu_batch_is_a_power_of_two_that_is_safe(largest: int, chosen: int) -> None:
    assert batch.gpu_batch(largest, IMAGES) == chosen


def test_gradient_accumulation_is_suggested_where_the_usual_batch_does_not_fit() -> None:
    assert batch.gpu_advice(256, IMAGES) == ""
    assert "accumulate gradients over 4 steps of 64 images" in batch.gpu_advice(64, IMAGES)
    assert "over 3 steps of 86 images" in batch.gpu_advice(104, IMAGES)
    assert "free memory" in batch.gpu_advice(0, IMAGES)


@pytest.mark.parametrize(
    ("seconds", "size"), [(0.01, 8), (0.04, 8), (0.05, 4), (0.2, 4), (0.4, 2), (5.0, 1)]
)
def test_the_cpu_batch_leaves_room_for_twenty_steps(seconds: float, size: int) -> None:
    """By the seconds of a step of one image, in a budget of 10 s."""
    assert batch.cpu_batch(seconds, 10.0) == size


@pytest.mark.parametrize(
    ("capability", "offered"),
    [
        ((6, 1), {"fp32"}),
        ((7, 5), {"fp32", "fp16"}),
        ((8, 0), {"fp32", "tf32", "bf16", "fp16"}),
        ((12, 0), {"fp32", "tf32", "bf16", "fp16"}),
    ],
)
def test_precisions_follow_the_compute_capability(
    capability: tuple[int, int], offered: set[str]
) -> None:
    precisions = devices.gpu_precisions(capability, rocm=False)
    assert {one.name for one, problem in precisions if not problem} == offered
    assert all(problem for one, problem in precisions if one.name not in offered)


def test_tf32_is_left_out_on_rocm() -> None:
    precisions = devices.gpu_precisions((9, 4), rocm=True)
    assert {one.name for one, problem in precisions if problem} == {"tf32"}


@pytest.mark.parametrize("flags", ["avx512_bf16", "amx_bf16", "bf16"])
def test_bfloat16_needs_its_instructions(flags: str) -> None:
    assert devices.bf16_on_cpu(frozenset({flags, "avx2"})) == ""
    assert "emulated" in devices.bf16_on_cpu(frozenset({"avx2", "avx512f"}))


def test_a_cpu_whose_features_cannot_be_read_is_not_said_to_lack_them() -> None:
    assert devices.bf16_on_cpu(frozenset()).startswith("unknown whether")


def test_a_variable_of_the_kernel_is_asked_of_its_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.sysctl("machdep.cpu.brand_string") == ""
    tool = tmp_path / "sysctl"
    tool.write_text('#!/bin/sh\n[ "$1 $2" = "-n machdep.cpu.brand_string" ] && echo "Apple M9"\n')
    tool.chmod(0o755)
    assert machine.sysctl("machdep.cpu.brand_string") == "Apple M9"


@pytest.mark.parametrize(("usable", "threads"), [(0.5, 1), (1.0, 1), (1.9, 1)])
def test_threads_stay_within_the_quota(usable: float, threads: int) -> None:
    assert machine.threads_for(usable) == threads


def test_too_little_memory_is_said_before_it_runs_out() -> None:
    device = devices.Device("cpu")
    assert cpu.memory_problem(4, None, device, IMAGES) == ""
    assert "0.0 GB are free" in cpu.memory_problem(4, 100_000_000, device, IMAGES)
    assert "a batch of 100000 needs about" in cpu.memory_problem(100_000, None, device, IMAGES)


@given(st.floats(0.1, 300))
def test_workers_double_up_to_the_usable_cpus(cpus: float) -> None:
    counts = pipeline.worker_counts(cpus)
    assert counts[0] == 1
    assert counts == sorted(set(counts))
    assert counts[-1] == max(1, min(32, int(cpus)))


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_crop_lies_in_its_image(width: int, height: int) -> None:
    left, top, right, bottom = pipeline.random_crop(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@pytest.mark.parametrize("free", [None, 10**12, 10**8, 10**5])
def test_matrices_fit_into_the_free_memory(free: int | None) -> None:
    size = ceilings.matrix_size("cuda", free, 4)
    assert size >= 64
    assert free is None or size == 64 or 3 * size * size * 4 <= free


@pytest.mark.parametrize("path", [*TARGET.glob("*.py"), TARGET.parent / "worker.py"], ids=str)
def test_what_runs_in_the_target_parses_on_its_oldest_python(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
