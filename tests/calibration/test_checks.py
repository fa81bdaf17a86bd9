"""Every performance finding on a case that fires it and on its healthy neighbour (synthetic)."""

from typing import Any

import msgspec
import pytest

from envdoctor.diagnose import diagnose
from envdoctor.facts import Fact, Observed, Snapshot
from envdoctor.facts.calibration import (
    CalibrationBaseline,
    Conditions,
    Settings,
    Telemetry,
)
from envdoctor.facts.machine import Environment, Gpu, Gpus, Host, Limits, PciDevice, PciGpus
from envdoctor.facts.torch import TorchDevice, TorchRuntime
from envdoctor.findings import Finding
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugin_loading import load_plugins
from tests.calibration.synthetic import (
    make_calibration,
    make_pipeline,
    make_run,
    make_telemetry,
    spread,
)


def findings(*facts: Fact) -> dict[str, Finding]:
    """What the performance checks say, by name."""
    return {one.name: one for one in all_findings(*facts)}


def all_findings(*facts: Fact) -> tuple[Finding, ...]:
    """What the performance checks say, in their order."""
    snapshot = Snapshot({type(one): Observed(value=one, source="synthetic") for one in facts})
    report = diagnose(
        snapshot,
        load_plugins(),
        {Knowledge: load()},
        wanted=lambda check: check.topic == "speed",
    )
    assert not [one for one in report.findings if one.name == "check-crashed"], report.findings
    return report.findings


def make_gpu(**fields: Any) -> Gpu:
    values: dict[str, Any] = {
        "index": 0,
        "name": "NVIDIA A100-SXM4-80GB",
        "memory_bytes": 85_899_345_920,
        "memory_used_bytes": 600_000_000,
        "power_limit_w": 400.0,
        "power_default_limit_w": 400.0,
        "pcie_generation": 1,
        "pcie_max_generation": 4,
        "pcie_width": 16,
        "pcie_max_width": 16,
    }
    return Gpu(**{**values, **fields})


def make_limits(**fields: Any) -> Limits:
    values: dict[str, Any] = {
        "usable_cpus": 8.0,
        "affinity_cpus": 8,
        "cgroup_cpu_quota": None,
        "cgroup_memory_bytes": None,
        "shm_bytes": None,
        "shm_free_bytes": None,
    }
    return Limits(**{**values, **fields})


GPU_RUNS = (make_run(400.0, precision="fp32"), make_run(2400.0, telemetry=make_telemetry()))


def test_a_healthy_machine_has_no_finding() -> None:
    """An idle link at generation 1 and a GPU at its power limit under load are normal."""
    assert not findings(
        make_calibration(*GPU_RUNS, pipeline=make_pipeline(5000.0)),
        Gpus(devices=(make_gpu(),)),
        make_limits(),
        Environment(variables={}),
    )


def test_the_article_232_images_on_an_a100_are_starved() -> None:
    settings = Settings(training_rate=232.0)
    found = findings(make_calibration(*GPU_RUNS, settings=settings))
    assert list(found) == ["pipeline-starved"]
    assert found["pipeline-starved"].message == (
        "cuda:0 can process 2,400 images/s but is fed 232: it waits 90 % of the time"
    )
    assert found["pipeline-starved"].family == "slow-dataloader"


def test_what_was_not_measured_is_held_against_the_expected_rate() -> None:
    settings = Settings(training_rate=232.0)
    found = findings(make_calibration(make_run(938.0, precision="tf32"), settings=settings))
    assert "can process 2,470 images/s but is fed 232" in found["pipeline-starved"].message


@pytest.mark.parametrize("rate", [938.0, 1100.0])
def test_untouched_code_runs_in_tf32_and_is_not_starved(rate: float) -> None:
    """An A100 reaches 938 images/s in TF32 (DeepLearningExamples); convolutions use it."""
    runs = (*GPU_RUNS, make_run(940.0, precision="tf32"))
    found = findings(make_calibration(*runs, settings=Settings(training_rate=rate)))
    assert list(found) == ["fp32-training"]
    assert "at the rate of tf32" in found["fp32-training"].message
    assert "channels_last" in found["fp32-training"].fixes[0].summary


def test_tf32_is_no_remedy_where_the_gpu_has_none() -> None:
    old = {"device_name": "Tesla V100-SXM2-16GB"}
    runs = (make_run(367.0, precision="fp32", **old), make_run(1150.0, precision="fp16", **old))
    found = findings(make_calibration(*runs, settings=Settings(training_rate=360.0)))
    (fix,) = found["fp32-training"].fixes
    assert "torch.float16, with a GradScaler" in fix.summary


def test_training_at_full_speed_has_no_finding() -> None:
    assert not findings(make_calibration(*GPU_RUNS, settings=Settings(training_rate=2300.0)))


def test_a_disk_that_feeds_less_than_the_cpus_decode() -> None:
    """50 MB/s of photographs of 110 kB are 455 images/s, however many workers decode."""
    pipeline = msgspec.structs.replace(
        make_pipeline(5000.0),
        data="/data",
        data_read_bytes_per_s=50e6,
        mean_image_bytes=110_000,
    )
    found = findings(make_calibration(*GPU_RUNS, pipeline=pipeline))
    assert "455 fed by the disk of /data" in found["pipeline-starved"].evidence[0].value


def test_a_pipeline_that_feeds_232_starves_an_a100() -> None:
    found = findings(make_calibration(*GPU_RUNS, pipeline=make_pipeline(232.0)))
    assert "is fed 232" in found["pipeline-starved"].message


def test_a_cpu_is_not_starved_by_what_another_gpu_could_eat() -> None:
    run = make_run(9.0, device="cpu")
    assert not findings(make_calibration(run, pipeline=make_pipeline(480.0)))


def test_slower_than_expected() -> None:
    found = findings(make_calibration(make_run(1200.0)))
    assert found["gpu-slower-than-expected"].message == (
        "cuda:0 trains ResNet-50 at 1,200 images/s in bf16, 49 % of the expected 2,470"
    )


@pytest.mark.parametrize(
    ("reason", "word"),
    [("HwThermalSlowdown", "heat"), ("HwPowerBrakeSlowdown", "power brake")],
)
def test_throttling_is_the_cause_of_a_slow_gpu(reason: str, word: str) -> None:
    telemetry = make_telemetry(throttle_shares={reason: 0.6, "SwPowerCap": 1.0})
    found = findings(make_calibration(make_run(1200.0, telemetry=telemetry)))
    cause = found["slow-power-or-thermal"]
    assert word in cause.message
    assert found["gpu-slower-than-expected"].because == cause.id


def test_a_rare_slowdown_is_noise() -> None:
    telemetry = make_telemetry(throttle_shares={"HwThermalSlowdown": 0.05})
    assert not findings(make_calibration(make_run(2400.0, telemetry=telemetry)))


def test_throttling_is_said_of_every_gpu_and_of_its_worst_run() -> None:
    def hot(share: float) -> Telemetry:
        return make_telemetry(throttle_shares={"SwThermalSlowdown": share})

    runs = [
        make_run(2400.0, device="cuda:0", telemetry=hot(0.2)),
        make_run(930.0, device="cuda:0", precision="tf32", telemetry=hot(0.7)),
        make_run(2400.0, device="cuda:1", telemetry=hot(0.4)),
    ]
    messages = [one.message for one in all_findings(make_calibration(*runs))]
    assert [message.rpartition(" in ")[2][:4] for message in messages] == ["70 %", "40 %"]


def test_a_single_sample_says_nothing_of_throttling() -> None:
    telemetry = make_telemetry(samples=1, throttle_shares={"SwThermalSlowdown": 1.0})
    assert not findings(make_calibration(make_run(2400.0, telemetry=telemetry)))


def test_a_card_at_its_power_limit_has_low_clocks_by_design() -> None:
    """A Tesla T4 at 70 W runs far below its maximum of 1590 MHz (synthetic)."""
    telemetry = make_telemetry(
        sm_clock_mhz=spread(900), max_sm_clock_mhz=1590, throttle_shares={"SwPowerCap": 0.9}
    )
    assert not findings(make_calibration(make_run(2400.0, telemetry=telemetry)))


def test_clocks_that_were_set_for_applications_are_reset_as_such() -> None:
    telemetry = make_telemetry(
        sm_clock_mhz=spread(705), throttle_shares={"ApplicationsClocksSetting": 1.0}
    )
    found = findings(make_calibration(make_run(2400.0, telemetry=telemetry)))
    assert found["low-clocks"].fixes[0].commands == ("sudo nvidia-smi -rac",)


def test_a_gpu_that_others_use_is_slower() -> None:
    telemetry = make_telemetry(other_processes=1, busy_before_pct=97)
    found = findings(make_calibration(make_run(1200.0, telemetry=telemetry)))
    assert found["busy-gpu"].message == (
        "1 other process kept cuda:0 busy for 97 % of the time before it was measured"
    )
    assert found["gpu-slower-than-expected"].because == found["busy-gpu"].id
    idle = make_telemetry(other_processes=1, busy_before_pct=0)
    assert not findings(make_calibration(make_run(2400.0, telemetry=idle)))


@pytest.mark.parametrize(
    ("name", "ecc", "slow", "said"),
    [
        ("NVIDIA RTX A6000", True, True, True),
        ("NVIDIA RTX A6000", False, True, False),
        ("NVIDIA RTX A6000", True, False, False),
        ("NVIDIA A100-SXM4-80GB", True, True, False),
    ],
)
def test_ecc_costs_bandwidth_in_gddr_alone(name: str, ecc: bool, slow: bool, said: bool) -> None:
    expected = 2470.0 if "A100" in name else 916.0 * 1.46
    run = make_run(
        expected * (0.4 if slow else 1.0),
        device_name=name,
        telemetry=make_telemetry(ecc_mode=ecc),
    )
    assert ("ecc-in-gddr" in findings(make_calibration(run))) is said


def test_low_clocks() -> None:
    telemetry = make_telemetry(sm_clock_mhz=spread(705), throttle_shares={})
    found = findings(make_calibration(make_run(2400.0, telemetry=telemetry)))
    assert "was 705 MHz under load, its maximum is 1410 MHz" in found["low-clocks"].message


def test_a_lowered_power_limit_matters_once_the_gpu_runs_into_it() -> None:
    gpus = Gpus(devices=(make_gpu(power_limit_w=250.0),))
    assert findings(gpus)["power-cap-below-default"].severity.value == "info"
    capped = findings(gpus, make_calibration(*GPU_RUNS))
    assert capped["power-cap-below-default"].severity.value == "warning"


def test_fewer_lanes_and_a_low_generation_under_load() -> None:
    assert "8 lanes" in findings(Gpus(devices=(make_gpu(pcie_width=8),)))["slow-pcie"].message
    slow = make_run(2400.0, telemetry=make_telemetry(pcie_generation=1))
    assert "generation 1 under load" in findings(make_calibration(slow))["slow-pcie"].message


def test_memory_held_by_others() -> None:
    held = make_gpu(memory_used_bytes=70_000_000_000, process_pids=(4711, 4712))
    found = findings(Gpus(devices=(held,)))["oom-other-process"]
    assert found.message == "other processes are on GPU 0, and 70.0 of 85.9 GB are in use"
    assert "4711,4712" in found.fixes[0].commands[0]
    assert not findings(Gpus(devices=(make_gpu(process_pids=(4711,)),)))


def make_host(
    logical: int, physical: int | None, *, flags: tuple[str, ...] = (), machine: str = "x86_64"
) -> Host:
    return Host(
        os="synthetic",
        os_id="debian",
        os_version="12",
        kernel="6.1",
        machine=machine,
        glibc="2.36",
        cpu_name="synthetic",
        cpu_flags=flags,
        logical_cpus=logical,
        physical_cpus=physical,
        memory_bytes=1,
        memory_available_bytes=1,
    )


@pytest.mark.parametrize(
    ("threads", "severity"), [("1", "warning"), ("4", "warning"), ("6", "info")]
)
def test_thread_limits(threads: str, severity: str) -> None:
    environment = Environment(variables={"OMP_NUM_THREADS": threads})
    found = findings(environment, make_limits(), make_host(8, 8))
    assert found["threads-limited"].severity.value == severity


@pytest.mark.parametrize("threads", ["8", "16", "", "many", "0"])
def test_threads_that_are_no_limit(threads: str) -> None:
    environment = Environment(variables={"OMP_NUM_THREADS": threads})
    assert not findings(environment, make_limits(), make_host(8, 8))


@pytest.mark.parametrize(
    ("usable", "physical", "threads", "said"),
    [
        (128, 64, "64", False),
        (128, 64, "48", True),
        (128, None, "64", False),
        (128, None, "16", True),
        (1, 64, "1", False),
        (4, 64, "2", False),
    ],
)
def test_one_thread_a_physical_core_is_no_limit(
    usable: int, physical: int | None, threads: str, said: bool
) -> None:
    limits = make_limits(usable_cpus=float(usable), affinity_cpus=128)
    environment = Environment(variables={"OMP_NUM_THREADS": threads})
    found = findings(environment, limits, make_host(128, physical))
    assert ("threads-limited" in found) is said


AVX2 = ("avx2", "f16c", "fma")
AVX512 = (*AVX2, "avx512f", "avx512_vnni")
XEON = (*AVX512, "avx512_bf16", "amx_bf16", "amx_int8", "amx_tile")


@pytest.mark.parametrize(
    ("flags", "variable", "value", "better"),
    [
        (AVX2, "ATEN_CPU_CAPABILITY", "default", "AVX2"),
        (AVX512, "ATEN_CPU_CAPABILITY", "avx2", "AVX512"),
        (AVX512, "ONEDNN_MAX_CPU_ISA", "AVX2", "AVX512_CORE_VNNI"),
        (XEON, "DNNL_MAX_CPU_ISA", "avx512_core_bf16", "AVX512_CORE_AMX"),
        (AVX512, "ATEN_CPU_CAPABILITY", "avx512", None),
        (AVX2, "ATEN_CPU_CAPABILITY", "avx2", None),
        ((), "ATEN_CPU_CAPABILITY", "default", None),
        (AVX2, "ONEDNN_MAX_CPU_ISA", "AVX2", None),
        (AVX2, "ONEDNN_MAX_CPU_ISA", "AVX512_CORE", None),
        (AVX2, "ONEDNN_MAX_CPU_ISA", "AVX2_VNNI", None),
        (XEON, "ONEDNN_MAX_CPU_ISA", "ALL", None),
        (XEON, "ONEDNN_MAX_CPU_ISA", "DEFAULT", None),
    ],
)
def test_variables_that_keep_instructions_unused(
    flags: tuple[str, ...], variable: str, value: str, better: str | None
) -> None:
    environment = Environment(variables={variable: value})
    found = findings(environment, make_host(8, 8, flags=flags)).get("cpu-instructions-unused")
    assert (found and found.message.endswith(f"this CPU has {better}")) == (better and True)
    if found is not None:
        assert found.severity.value == "warning"
        assert found.fixes[0].commands == (f"unset {variable}",)
    other = make_host(8, 8, flags=("asimd", "bf16"), machine="aarch64")
    assert not findings(environment, other)


def make_runtime(**fields: Any) -> TorchRuntime:
    values: dict[str, Any] = {
        "version": "2.9.1",
        "cuda": None,
        "hip": None,
        "cuda_available": False,
        "device_count": 0,
    }
    return TorchRuntime(**{**values, **fields})


@pytest.mark.parametrize(
    ("capability", "flags", "said"),
    [
        ("DEFAULT", AVX2, True),
        ("NO AVX", AVX512, True),
        ("AVX2", AVX512, False),
        ("AVX512", AVX512, False),
        ("DEFAULT", ("f16c",), False),
        (None, AVX2, False),
    ],
)
def test_kernels_for_older_cpus(capability: str | None, flags: tuple[str, ...], said: bool) -> None:
    """What torch keeps to AVX2 on purpose, as many releases do with AVX-512, is no finding."""
    runtime = make_runtime(cpu_capability=capability)
    found = findings(Environment(variables={}), runtime, make_host(8, 8, flags=flags))
    assert ("cpu-instructions-unused" in found) is said


def test_what_a_gpu_computes_needs_no_instructions_of_the_cpu() -> None:
    environment = Environment(variables={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    host, gpus = make_host(8, 8, flags=XEON), Gpus(devices=(make_gpu(compute_capability="8.0"),))
    runtime = make_runtime(
        cuda="12.8",
        cuda_available=True,
        device_count=1,
        devices=(
            TorchDevice(index=0, name="A100", compute_capability="8.0", memory_bytes=1 << 36),
        ),
    )
    found = findings(environment, host, runtime, gpus)
    assert found["cpu-instructions-unused"].severity.value == "info"


def test_a_quota_below_the_visible_cpus() -> None:
    limits = make_limits(usable_cpus=1.5, cgroup_cpu_quota=1.5)
    assert "1.5 CPUs, and 8 are visible" in findings(limits)["cpu-quota"].message


A100S = tuple(make_gpu(index=index, compute_capability="8.0") for index in range(2))
V100 = make_gpu(name="Tesla V100-SXM2-16GB", compute_capability="7.0")
RTX_4090S = tuple(
    make_gpu(index=index, name="NVIDIA GeForce RTX 4090", compute_capability="8.9")
    for index in range(2)
)


@pytest.mark.parametrize(
    ("variable", "value", "gpus", "severity"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", A100S[:1], "warning"),
        ("CUDA_LAUNCH_BLOCKING", "0", A100S[:1], None),
        ("CUDA_LAUNCH_BLOCKING", "1", (), None),
        ("PYTORCH_NO_CUDA_MEMORY_CACHING", "0", A100S[:1], "warning"),
        ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1", (), None),
        ("CUDA_CACHE_DISABLE", "1", A100S[:1], "info"),
        ("NVIDIA_TF32_OVERRIDE", "0", A100S[:1], "warning"),
        ("NVIDIA_TF32_OVERRIDE", "1", A100S[:1], None),
        ("NVIDIA_TF32_OVERRIDE", "0", (V100,), None),
        ("NCCL_P2P_DISABLE", "1", A100S, "warning"),
        ("NCCL_P2P_DISABLE", "1", A100S[:1], None),
        ("NCCL_P2P_DISABLE", "1", RTX_4090S, None),
        ("NCCL_IB_DISABLE", "1", A100S, "info"),
        ("NCCL_IB_DISABLE", "1", (), None),
        ("NCCL_DEBUG", "info", A100S, "info"),
        ("NCCL_DEBUG", "WARN", A100S, None),
        ("NCCL_DEBUG", "INFO", A100S[:1], None),
        ("TORCH_DISTRIBUTED_DEBUG", "DETAIL", A100S, "warning"),
        ("TORCH_DISTRIBUTED_DEBUG", "INFO", A100S, None),
        ("TORCH_DISTRIBUTED_DEBUG", "DETAIL", (), None),
    ],
)
def test_a_variable_matters_to_those_whom_it_concerns(
    variable: str, value: str, gpus: tuple[Gpu, ...], severity: str | None
) -> None:
    found = findings(Environment(variables={variable: value}), Gpus(devices=gpus))
    one = found.get("debug-environment")
    assert (one and one.severity.value) == severity
    if one is not None:
        assert one.message.startswith(f"{variable}={value} is set, which ")


def test_where_the_gpus_are_not_known_a_variable_is_information_without_a_command() -> None:
    one = findings(Environment(variables={"NCCL_P2P_DISABLE": "1"}))["debug-environment"]
    assert one.severity.value == "info"
    assert one.fixes == ()


def test_crowded_gpus_are_left_for_one_with_room() -> None:
    def gpu(index: int, used: int) -> Gpu:
        return make_gpu(index=index, memory_used_bytes=used, process_pids=(7,), uuid=f"GPU-{index}")

    gpus = Gpus(devices=(gpu(0, 1_000_000_000), gpu(1, 80_000_000_000), gpu(2, 5_000_000_000)))
    (one,) = all_findings(gpus)
    assert one.subjects == ("gpu:1",)
    assert one.fixes[1].commands == ("export CUDA_VISIBLE_DEVICES=GPU-0",)
    alike = Gpus(devices=(gpu(0, 80_000_000_000), gpu(1, 80_000_000_000)))
    (one,) = all_findings(alike)
    assert (one.subjects, len(one.fixes)) == (("gpu:0", "gpu:1"), 1)


def test_training_on_the_cpu_beside_a_gpu() -> None:
    settings = Settings(training_rate=9.0)
    cpu = make_run(9.0, device="cpu")
    found = findings(make_calibration(cpu, *GPU_RUNS, settings=settings))
    assert found["pipeline-starved"].because == found["slow-cpu-fallback"].id


def test_training_in_fp32_where_more_is_on_offer() -> None:
    settings = Settings(training_rate=390.0)
    found = findings(make_calibration(*GPU_RUNS, settings=settings))
    assert (
        "bf16 is 6.0x faster (83 % less time, +500 % throughput)" in found["fp32-training"].message
    )


def test_a_step_that_does_not_shrink_with_the_batch() -> None:
    small = make_run(700.0, batch_size=64)
    found = findings(make_calibration(make_run(2400.0), small))
    assert found["launch-limited"].confidence.value == "likely"
    assert not findings(make_calibration(make_run(2400.0), make_run(2200.0, batch_size=64)))


@pytest.mark.parametrize(("share", "said"), [(0.97, True), (0.3, False), (None, False)])
def test_a_host_that_needs_the_whole_step_to_launch_it(share: float | None, said: bool) -> None:
    found = findings(make_calibration(make_run(2400.0, host_share=share)))
    assert ("launch-limited" in found) is said
    if said:
        assert found["launch-limited"].message.endswith(
            "handing over a step of 256 images takes 97 % of its time"
        )


def test_a_mig_slice() -> None:
    name = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    assert "mig-slice" in findings(make_calibration(make_run(300.0, device_name=name)))


@pytest.mark.parametrize(("now", "slower"), [(2000.0, True), (2350.0, False), (2600.0, False)])
def test_slower_than_last_month_by_more_than_the_noise(now: float, slower: bool) -> None:
    before = CalibrationBaseline(path="old.json", calibration=make_calibration(make_run(2400.0)))
    found = findings(make_calibration(make_run(now)), before)
    assert ("slower-than-baseline" in found) is slower


def test_another_batch_or_device_is_no_baseline() -> None:
    before = CalibrationBaseline(path="old.json", calibration=make_calibration(make_run(5000.0)))
    assert "slower-than-baseline" not in findings(
        make_calibration(make_run(2400.0, batch_size=128)), before
    )


def on_node(node: int | None, address: str = "0000:41:00.0") -> PciDevice:
    return PciDevice(
        address=address, vendor_id="10de", device_id="20b2", driver="nvidia", numa_node=node
    )


@pytest.mark.parametrize(
    ("nodes_of_gpus", "usable", "said"),
    [
        ([1], (0,), True),
        ([1], (0, 1), False),
        ([0], (0,), False),
        ([1, 0], (0,), False),
        ([1, 1], (0,), True),
        ([None], (0,), False),
        ([1], (), False),
    ],
)
def test_gpus_on_another_numa_node(
    nodes_of_gpus: list[int | None], usable: tuple[int, ...], said: bool
) -> None:
    addresses = [f"{number:04x}:41:00.0" for number in range(len(nodes_of_gpus))]
    pci = PciGpus(devices=tuple(map(on_node, nodes_of_gpus, addresses)))
    gpus = Gpus(devices=tuple(make_gpu(pci_address=f"0000{one.upper()}") for one in addresses))
    found = findings(pci, gpus, make_limits(numa_nodes=usable))
    assert ("remote-numa-node" in found) is said


def test_a_gpu_that_the_driver_does_not_show_counts_for_nothing() -> None:
    """Eight GPUs on the bus, one of them given to this job (synthetic)."""
    pci = PciGpus(devices=(on_node(1), on_node(0, "0000:81:00.0")))
    gpus = Gpus(devices=(make_gpu(pci_address="00000000:41:00.0"),))
    found = findings(pci, gpus, make_limits(numa_nodes=(0,)))
    assert found["remote-numa-node"].message == (
        "the GPU of this process hangs on NUMA node 1, and it may only use CPUs of node 0"
    )


def test_threads_across_numa_nodes_matter_where_the_cpu_trains() -> None:
    conditions = Conditions(started_at="2026-11-01T00:00:00+00:00", threads=64)
    cpu = make_calibration(make_run(40.0, device="cpu"), conditions=conditions)
    two = make_limits(numa_nodes=(0, 1))
    assert "threads-across-numa-nodes" in findings(cpu, two)
    assert not findings(cpu, make_limits(numa_nodes=(0,)))
    both = make_calibration(*cpu.runs, *GPU_RUNS, conditions=conditions)
    assert not findings(both, two)


@pytest.mark.parametrize(("logical", "said"), [(64, True), (8, False)])
def test_a_process_that_may_use_a_part_of_the_cpus(logical: int, said: bool) -> None:
    assert ("cpu-affinity" in findings(make_host(logical, None), make_limits())) is said
