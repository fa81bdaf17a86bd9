"""What is written for GPUs, run on the CPU as far as it goes; no GPU is at hand in the tests."""

import time
from functools import partial
from typing import Any

import pytest
import torch

from envdoctor.calibration.target import ceilings, devices, gpu, kernels, plan, session, training
from envdoctor.calibration.target.attempt import attempt, reason_of
from envdoctor.calibration.target.batch import IMAGES, SEQUENCES
from envdoctor.calibration.target.devices import BF16, FP16, FP32, CudaDevice, Device
from envdoctor.calibration.target.kernels import with_kernels
from envdoctor.calibration.target.measure import Variant, measure
from envdoctor.calibration.target.training import training_step
from envdoctor.calibration.target.workloads import CONTIGUOUS, GPT2, RESNET50
from tests.calibration.conftest import Told
from tests.calibration.wall_cuda import ILLEGAL, WallCuda

TINY = {"batch_size": 4, "budget_s": 0.05, "usable_cpus": 1.0}


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> WallCuda:
    """Four GPUs made of ordinary memory."""
    double = WallCuda(4)
    double.replace(monkeypatch)
    return double


@pytest.mark.parametrize("precision", [FP32, BF16, FP16], ids=lambda one: one.name)
def test_a_step_trains_in_every_precision(cuda: WallCuda, precision: Any) -> None:
    """fp16 goes through the GradScaler."""
    device = Device("cpu")
    step = training_step(device, precision, 1, memory_format=CONTIGUOUS)
    assert device.time(step, 1) > 0


def test_running_out_of_memory_is_told_and_the_next_run_goes_on(told: Told) -> None:
    def greedy() -> None:
        torch.empty(1 << 60)

    device = Device("cpu")
    assert attempt(told.channel, device, "fp32 batch 64", greedy) is None
    assert attempt(told.channel, device, "fp32 batch 32", lambda: "next") == "next"
    (left,) = told.all("left_out")
    assert left["what"] == "fp32 batch 64"
    assert left["failed"] is True
    assert "memory" in left["reason"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_every_kind_of_no_memory_is_called_the_same(error: Exception) -> None:
    assert reason_of(error).startswith("out of memory: ")
    assert "\n" not in reason_of(error)


def test_other_errors_keep_their_name() -> None:
    assert reason_of(ValueError("wrong\nlong")) == "ValueError: wrong"


def test_every_precision_of_a_gpu_is_run_and_compared(told: Told, cuda: WallCuda) -> None:
    session.run(told.channel, {**TINY, "devices": ["cuda:1"]})
    runs = {(one["precision"], one["memory_format"], one["batch_size"]) for one in told.all("run")}
    plain = {(name, "channels_last", 4) for name in ("fp32", "tf32", "bf16", "fp16")}
    # fp32 in both formats whatever is fastest: cuDNN's fp32 kernels may be slower in channels_last.
    assert runs >= plain | {("fp32", "contiguous", 4)}
    assert {size for _, _, size in runs} == {4, 1}
    assert {one["device"] for one in told.all("run")} == {"cuda:1"}
    assert told.all("left_out") == []


def test_the_peak_is_that_of_the_steps_and_not_of_the_warm_up(told: Told, cuda: WallCuda) -> None:
    """cuDNN tries its kernels with workspaces that later steps do not need."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == 1:
            cuda.peak = 2**40

    variant = Variant(devices.device_named("cuda:0"), BF16, 4)
    run = measure(variant, step, budget_s=0.05, channel=told.channel)
    assert run["peak_memory_bytes"] == 2**30


def test_a_network_of_tokens_is_run_in_no_memory_format(told: Told, cuda: WallCuda) -> None:
    gpu.measure_gpu(told.channel, devices.device_named("cuda:0"), [FP32, FP16], TINY, GPT2)
    assert told.all("left_out") == []
    runs = told.all("run")
    assert {one["precision"] for one in runs} == {"fp32", "fp16"}
    assert {one["batch_size"] for one in runs} == {4, 1}
    assert {(one["memory_format"], one["images_per_s"]) for one in runs} == {(None, None)}
    for run in runs:
        tokens_of_a_step = run["batch_size"] * run["sequence_length"]
        rate = run["tokens_per_s"]["median"]
        assert rate == pytest.approx(tokens_of_a_step / run["ms_per_step"] * 1000)
    assert {one["unit"] for one in told.all("progress") if "unit" in one} == {"tokens/s"}


def test_the_batch_of_sequences_is_chosen_by_their_memory(
    told: Told, cuda: WallCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index: 5 * 2**30)
    settings = {**TINY, "batch_size": None}
    gpu.measure_gpu(told.channel, devices.device_named("cuda:0"), [BF16], settings, GPT2)
    (batch,) = told.all("batch")
    # Of 16 GiB free two sequences are tried, which are small enough for every GPU of 8 GB.
    each = (5 * 2**30 - SEQUENCES.at_rest) // 2
    assert (batch["bytes_per_image"], batch["bytes_per_sequence"]) == (None, each)
    assert batch["chosen"] == 4
    assert "for the usual batch of 512" in batch["advice"]
    assert "sequences" in batch["advice"]


def test_memory_that_does_not_grow_with_the_batch_gives_a_careful_batch(
    told: Told, cuda: WallCuda
) -> None:
    """As where cuDNN takes the larger workspace for the smaller batch."""
    session.run(told.channel, {**TINY, "batch_size": None, "devices": ["cuda:0"]})
    assert told.all("left_out") == []
    assert [one["chosen"] for one in told.all("batch")] == [256, 256, 256, 256]
    each = (2**30 - IMAGES.at_rest) // 64
    assert {one["bytes_per_image"] for one in told.all("batch")} == {each}


def test_the_time_of_the_host_is_told_apart(told: Told, cuda: WallCuda) -> None:
    """Not in fp16, whose loss scaling waits for the GPU, and not on a CPU."""
    session.run(told.channel, {**TINY, "devices": ["cpu", "cuda:0"]})
    for run in told.all("run"):
        known = run["device"] == "cuda:0" and run["precision"] != "fp16"
        assert (run["host_share"] is not None) is known
        assert not known or run["host_share"] > 0


def test_only_the_wanted_gpus_are_compared_with_each_other(told: Told, cuda: WallCuda) -> None:
    wanted = ["cuda:2", "cuda:3"]
    settings = {**TINY, "devices": wanted, "precisions": ["bf16"], "ceilings": True}
    session.run(told.channel, settings)
    links = [one for one in told.all("ceiling") if one["name"].startswith("copy to")]
    (link,) = links
    assert (link["device"], link["name"]) == ("cuda:2", "copy to cuda:3")
    assert link["detail"] == "peer access"
    # Its processes have a torch of their own, in which there is no such GPU.
    (reduce,) = [one for one in told.all("left_out") if one["what"] == "all-reduce"]
    assert "the process of the all-reduce on cuda:" in reduce["reason"]
    assert any(name in reduce["reason"] for name in wanted)


def test_a_gpu_that_is_lost_is_told_once_and_the_others_go_on(told: Told, cuda: WallCuda) -> None:
    cuda.breaks_after[0] = 30
    settings = {**TINY, "devices": ["cuda:0", "cuda:1"], "ceilings": True}
    session.run(told.channel, settings)
    lost = [one for one in told.all("left_out") if one["device"] == "cuda:0"]
    assert [one["what"] for one in lost[1:]] == ["everything after this"]
    assert all(ILLEGAL in one["reason"] for one in lost)
    intact = {one["precision"] for one in told.all("run") if one["device"] == "cuda:1"}
    assert intact == {"fp32", "tf32", "bf16", "fp16"}
    ceilings_of = {one["device"] for one in told.all("ceiling")}
    assert ceilings_of == {"cuda:1"}
    # Ordinary memory cannot be pinned where torch has no CUDA: that alone is missing.
    missing = [one["what"] for one in told.all("left_out") if one["device"] == "cuda:1"]
    assert missing == ["host to device pinned"]


def test_a_sample_of_a_gpu_holds_many_operations(
    cuda: WallCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single one, after the queue was empty, is timed with its launch."""
    monkeypatch.setattr(ceilings, "GPU_SAMPLE_S", 10.0)
    step = partial(time.sleep, 0.001)
    assert 1 < ceilings._warm_up(devices.device_named("cuda:0"), step) <= 10_000
    assert ceilings._warm_up(Device("cpu"), step) == 1


def test_the_noise_of_the_machine_is_that_before_or_after(told: Told, cuda: WallCuda) -> None:
    session.run(told.channel, {**TINY, "devices": ["cpu"]})
    before, *_, after = told.all("conditions")
    assert after["noise_pct"] >= before["noise_pct"]


def test_a_gpu_without_an_address_is_named_by_its_uuid(cuda: WallCuda) -> None:
    device = devices.device_named("cuda:0")
    assert device.bus_id() is None
    assert device.uuid() == f"GPU-{cuda.properties['uuid']}"
    cuda.properties = {"pci_bus_id": 7, "pci_device_id": 0, "pci_domain_id": 0}
    assert device.bus_id() == "00000000:07:00.0"
    assert device.uuid() is None


@pytest.fixture
def as_torch_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)


def slept(variant: Variant, seconds: float, told: Told, budget_s: float) -> Variant:
    """What is chosen for a step that takes so long."""
    chosen, _ = with_kernels(told.channel, variant, partial(time.sleep, seconds), budget_s)
    return chosen


@pytest.mark.usefixtures("as_torch_comes")
def test_kernels_are_searched_for_where_there_is_time(told: Told, cuda: WallCuda) -> None:
    """On an H100 a step takes 0.065 s in bf16; in fp32 0.27 s, and many kernels are slow."""
    variant = Variant(devices.device_named("cuda:0"), BF16, 4)
    quick = slept(variant, 0.065, told, budget_s=10.0)
    assert (quick.searched, torch.backends.cudnn.benchmark) == (True, True)
    slow = slept(variant._replace(precision=FP32), 0.27, told, budget_s=10.0)
    assert (slow.searched, torch.backends.cudnn.benchmark) == (False, False)
    assert slept(variant, 0.065, told, budget_s=3.0).searched is False


@pytest.mark.usefixtures("as_torch_comes")
def test_what_is_compared_finds_its_kernels_in_the_same_way(
    told: Told, cuda: WallCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = Variant(devices.device_named("cuda:0"), BF16, 4, searched=False)
    assert slept(variant, 0.0, told, budget_s=10.0).searched is False
    assert torch.backends.cudnn.benchmark is False
    # There is time for the first run alone.
    allowed = iter((1e9,))
    monkeypatch.setattr(kernels, "may_take_s", lambda budget_s: next(allowed, 0.0))
    gpu.measure_gpu(told.channel, devices.device_named("cuda:0"), [BF16], TINY, RESNET50)
    runs = {(one["memory_format"], one["batch_size"]) for one in told.all("run")}
    assert len(runs) == 3
    assert {one["cudnn_search"] for one in told.all("run")} == {True}


@pytest.mark.usefixtures("as_torch_comes")
def test_the_first_step_is_told_with_its_search(told: Told, cuda: WallCuda) -> None:
    seconds = iter((0.5, 0.0, 0.3))
    variant = Variant(devices.device_named("cuda:0"), BF16, 4)

    def step() -> None:
        time.sleep(next(seconds))

    chosen, warm = with_kernels(told.channel, variant, step, 10.0)
    assert chosen.searched is True
    assert len(warm) == 1
    assert warm[0] >= 0.8


@pytest.mark.usefixtures("as_torch_comes")
def test_nothing_is_searched_for_where_it_makes_no_difference(
    told: Told, cuda: WallCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU, a network without convolutions, and MIOpen, whose search takes minutes."""
    gpu_0 = devices.device_named("cuda:0")
    for variant in (Variant(Device("cpu"), BF16, 4), Variant(gpu_0, BF16, 4, workload=GPT2)):
        assert slept(variant, 0.0, told, budget_s=10.0).searched is None
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert slept(Variant(gpu_0, BF16, 4), 0.0, told, budget_s=10.0).searched is None
    assert torch.backends.cudnn.benchmark is False


def test_a_run_says_that_miopen_may_not_know_its_format(monkeypatch: pytest.MonkeyPatch) -> None:
    device = CudaDevice("cuda:0")
    monkeypatch.delenv("PYTORCH_MIOPEN_SUGGEST_NHWC", raising=False)
    assert device.note("channels_last") == ""
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert "PYTORCH_MIOPEN_SUGGEST_NHWC=1 is not set" in device.note("channels_last")
    assert device.note("contiguous") == ""
    monkeypatch.setenv("PYTORCH_MIOPEN_SUGGEST_NHWC", "1")
    assert device.note("channels_last") == ""


def test_of_gpus_that_are_alike_one_is_measured_in_everything(
    told: Told, cuda: WallCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of eight would take eight times as long, and the slow one of them shows at once."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "ordinary memory")
    session.run(told.channel, {**TINY, "devices": ["cuda:1", "cuda:2"]})
    runs = {(run["device"], run["precision"], run["memory_format"]) for run in told.all("run")}
    of_first = {precision for device, precision, _ in runs if device == "cuda:1"}
    assert of_first == {"fp32", "tf32", "bf16", "fp16"}
    of_second = {run[1:] for run in runs if run[0] == "cuda:2"}
    assert of_second == {("bf16", "channels_last")}
    (left,) = told.all("left_out")
    assert (left["device"], left["what"], left["failed"]) == ("cuda:2", "fp32, tf32, fp16", False)
    assert "--precision" in left["reason"]


def test_what_is_asked_for_is_measured_on_every_gpu(
    told: Told, cuda: WallCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "ordinary memory")
    settings = {**TINY, "devices": ["cuda:1", "cuda:2"], "precisions": ["tf32", "fp16"]}
    session.run(told.channel, settings)
    measured = {(one["device"], one["precision"]) for one in told.all("run")}
    assert measured == {(f"cuda:{i}", name) for i in (1, 2) for name in ("tf32", "fp16")}
    assert told.all("left_out") == []


@pytest.mark.parametrize(
    ("precisions", "settings", "said"),
    [
        # On an H100 three precisions search, 14 to 18 s each, and two comparisons.
        ([FP32, devices.TF32, BF16, FP16], {}, "104 s"),
        ([BF16], {}, "56 s"),
        ([FP32], {}, "10 s"),
        ([], {}, "0 s"),
        # There is no time for a search, and nothing to search for.
        ([BF16], {"budget_s": 3.0}, "7 s"),
        ([BF16], {"model": "gpt2"}, "10 s"),
        ([BF16], {"budget_s": 60.0}, "70 s"),
    ],
)
def test_the_plan_counts_what_a_search_takes(
    told: Told, cuda: WallCuda, precisions: list[Any], settings: dict[str, Any], said: str
) -> None:
    gpu_0 = devices.device_named("cuda:0")
    budget = plan.CpuBudget(0.0, 0.0, 0.0)
    plan.tell_plan(told.channel, [gpu_0], {"cuda:0": precisions}, budget, settings)
    (plan_,) = told.all("plan")
    assert plan_["message"].endswith(f"{said} in all")


def test_a_gpu_that_fails_leaves_everything_to_the_next_of_its_kind(
    told: Told, cuda: WallCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "ordinary memory")
    cuda.breaks_after[1] = 1
    session.run(told.channel, {**TINY, "devices": ["cuda:1", "cuda:2"]})
    measured = {one["precision"] for one in told.all("run") if one["device"] == "cuda:2"}
    assert measured == {"fp32", "tf32", "bf16", "fp16"}
    assert {one["device"] for one in told.all("left_out")} == {"cuda:1"}


def test_a_precision_without_autocast_is_left_out() -> None:
    assert devices.autocast_problem("cpu", "bfloat16") == ""
    assert "has no autocast for meta" in devices.autocast_problem("meta", "float16")


@pytest.mark.heavy
def test_compiled_variants_do_not_count_towards_a_common_limit() -> None:
    """More of them than torch compiles anew for one function: none falls back to plain Python."""
    from torch._dynamo.utils import counters

    for size in range(1, torch._dynamo.config.recompile_limit + 4):
        compiled = training.compile_afresh(torch.nn.Linear(4, 4))
        counters.clear()
        compiled(torch.zeros(size, 4)).sum().backward()
        assert counters["stats"]["unique_graphs"] == 1, size


@pytest.mark.heavy
def test_the_runs_of_a_gpu_on_the_cpu(told: Told) -> None:
    device = Device("cpu")
    settings = {"batch_size": 4, "budget_s": 1.0}
    gpu.measure_gpu(told.channel, device, [FP32], settings, RESNET50)
    runs = {(one["memory_format"], one["batch_size"]) for one in told.all("run")}
    assert runs == {("channels_last", 4), ("contiguous", 4), ("channels_last", 1)}
    assert told.all("left_out") == []


@pytest.mark.heavy
def test_memory_is_measured_at_two_sizes(told: Told) -> None:
    model = gpu.probe_memory(told.channel, Device("cpu"), FP32, (8, 16), RESNET50)
    assert 20e6 < model.each < 400e6
    assert model.largest(64 * 2**30, IMAGES.granularity) >= 64
