"""NVML samples, written by hand as the child writes them (synthetic), become a summary."""

import json
from typing import Any

from envdoctor.calibration.progress import Sample
from envdoctor.calibration.telemetry import Sampler, decode_sample, summarise
from envdoctor.probes.run import Children

BUS = "00000000:07:00.0"


def line(at: float, index: int = 0, **fields: Any) -> bytes:
    gpu = {
        "index": index,
        "name": "synthetic",
        "pci_address": f"00000000:{7 + index:02X}:00.0",
        "sm_clock_mhz": 1400,
        "max_sm_clock_mhz": 1410,
        "power_w": 380.5,
        "temperature_c": 60,
        "throttle_reasons": ["SwPowerCap"],
        "pcie_generation": 4,
        "pcie_max_generation": 4,
        "memory_used_bytes": 5_000_000_000,
        "process_pids": [],
        **fields,
    }
    return json.dumps({"at": at, "gpu": gpu}).encode() + b"\n"


def samples(*lines: bytes) -> tuple[Sample, ...]:
    return tuple(map(decode_sample, lines))


def test_only_samples_of_the_run_count() -> None:
    taken = samples(
        line(0.0, sm_clock_mhz=210, pcie_generation=1, process_pids=[99]),
        line(1.0, sm_clock_mhz=1380, throttle_reasons=[]),
        line(2.0, sm_clock_mhz=1400),
        line(3.0, sm_clock_mhz=1395, temperature_c=71),
        line(9.0, sm_clock_mhz=210),
    )
    summary = summarise(taken, (0.5, 3.5), BUS)
    assert summary is not None
    assert summary.samples == 3
    assert summary.sm_clock_mhz is not None
    assert (summary.sm_clock_mhz.low, summary.sm_clock_mhz.median) == (1380, 1395)
    assert summary.throttle_shares == {"SwPowerCap": 2 / 3}
    assert summary.temperature_c == 71
    assert summary.pcie_generation == 4
    assert summary.other_processes == 1
    assert summary.other_process_bytes == 5_000_000_000


def test_a_gpu_is_known_by_its_address() -> None:
    taken = samples(line(1.0), line(1.0, index=1, sm_clock_mhz=900))
    summary = summarise(taken, (0.0, 2.0), "00000000:08:00.0")
    assert summary is not None
    assert summary.sm_clock_mhz is not None
    assert summary.sm_clock_mhz.median == 900


def test_without_an_address_only_a_single_gpu_is_known() -> None:
    assert summarise(samples(line(1.0)), (0.0, 2.0), None) is not None
    assert summarise(samples(line(1.0), line(1.0, index=1)), (0.0, 2.0), None) is None


def test_no_samples_are_no_telemetry() -> None:
    assert summarise((), (0.0, 2.0), BUS) is None
    assert summarise(samples(line(5.0)), (0.0, 2.0), BUS) is None


def test_what_the_driver_does_not_say_stays_unknown() -> None:
    bare = line(1.0, sm_clock_mhz=None, power_w=None, temperature_c=None, throttle_reasons=[])
    summary = summarise(samples(bare), (0.0, 2.0), BUS)
    assert summary is not None
    assert summary.sm_clock_mhz is None
    assert summary.power_w is None
    assert summary.temperature_c is None


def test_what_is_no_sample_is_left_out(children: Children) -> None:
    sampler = Sampler(children)
    for odd in (b"", b"{}", b"[1]", b'{"at": 1, "gpu": 2}', line(2.0)[:-30], line(1.0)):
        sampler.take_line(odd)
    assert [one.at for one in sampler.samples] == [1.0]


def test_the_newest_sample_of_each_gpu_while_they_are_written(children: Children) -> None:
    sampler = Sampler(children)
    assert sampler.newest == ()
    sampler.take_line(line(1.0))
    sampler.take_line(line(2.0, sm_clock_mhz=900))
    assert [(one.at, one.gpu.sm_clock_mhz) for one in sampler.newest] == [(2.0, 900)]
    sampler.take_line(line(3.0, index=1))
    assert [(one.at, one.gpu.index) for one in sampler.newest] == [(2.0, 0), (3.0, 1)]
    assert [one.at for one in sampler.samples] == [1.0, 2.0, 3.0]
