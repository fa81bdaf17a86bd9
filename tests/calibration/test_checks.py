"""Every performance finding on a case that fires it and on its healthy neighbour (synthetic)."""

from typing import Any

import pytest

from envdoctor.calibration.assess import assess
from envdoctor.calibration.document import TOPICS
from envdoctor.calibration.results import Calibration, CalibrationBaseline, Settings
from envdoctor.core_facts import Environment, Gpu, Gpus, Limits
from envdoctor.diagnose import diagnose
from envdoctor.facts import Fact, Observed, Snapshot
from envdoctor.findings import Finding
from envdoctor.knowledge import Knowledge, load
from envdoctor.plugins import load_plugins
from tests.calibration.synthetic import (
    make_calibration,
    make_pipeline,
    make_run,
    make_telemetry,
    spread,
)


def findings(*facts: Fact) -> dict[str, Finding]:
    """What the performance checks say, by name; calibrations are assessed first."""
    knowledge = load()
    known = [assess(one, knowledge) if isinstance(one, Calibration) else one for one in facts]
    snapshot = Snapshot({type(one): Observed(value=one, source="synthetic") for one in known})
    report = diagnose(
        snapshot,
        load_plugins(),
        {Knowledge: knowledge},
        wanted=lambda check: check.topic in TOPICS,
    )
    assert not [one for one in report.findings if one.name == "check-crashed"], report.findings
    return {one.name: one for one in report.findings}


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
        "disk_free_bytes": None,
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
        "cuda:0 can eat 2,470 images/s, and gets 232: it waits 91 % of the time"
    )
    assert found["pipeline-starved"].family == "slow-dataloader"


def test_a_pipeline_that_feeds_232_starves_an_a100() -> None:
    found = findings(make_calibration(*GPU_RUNS, pipeline=make_pipeline(232.0)))
    assert "gets 232" in found["pipeline-starved"].message


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
    assert found.message.startswith("2 other processes on GPU 0, and 70.0 of its 85.9 GB")
    assert "4711,4712" in found.fixes[0].commands[0]
    assert not findings(Gpus(devices=(make_gpu(process_pids=(4711,)),)))


@pytest.mark.parametrize(
    ("threads", "severity"), [("1", "warning"), ("4", "warning"), ("6", "info")]
)
def test_thread_limits(threads: str, severity: str) -> None:
    environment = Environment(variables={"OMP_NUM_THREADS": threads})
    assert findings(environment, make_limits())["threads-limited"].severity.value == severity


@pytest.mark.parametrize("threads", ["8", "16", "", "many", "0"])
def test_threads_that_are_no_limit(threads: str) -> None:
    environment = Environment(variables={"OMP_NUM_THREADS": threads})
    assert not findings(environment, make_limits())


def test_a_quota_below_the_visible_cpus() -> None:
    limits = make_limits(usable_cpus=1.5, cgroup_cpu_quota=1.5)
    assert "1.5 CPUs, and 8 are visible" in findings(limits)["cpu-quota"].message


@pytest.mark.parametrize(
    ("variable", "slow", "fine"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", "0"),
        ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1", "0"),
        ("NVIDIA_TF32_OVERRIDE", "0", "1"),
        ("NCCL_DEBUG", "INFO", "WARN"),
    ],
)
def test_debug_variables(variable: str, slow: str, fine: str) -> None:
    assert (
        variable in findings(Environment(variables={variable: slow}))["debug-environment"].message
    )
    assert not findings(Environment(variables={variable: fine}))


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
