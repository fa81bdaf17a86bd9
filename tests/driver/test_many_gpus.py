"""What sixteen GPUs cost the doctor, what it says of them, and one of them that gives no answer."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envdoctor.facts import Reason, Unknown
from envdoctor.facts.machine import Nvml
from envdoctor.probes.context import context_of
from envdoctor.probes.driver_api import observe_nvml
from envdoctor.probes.run import Children
from tests.driver.fake import TORCH, build_fake
from tests.support.doctor import names, report_of, slack_s
from tests.support.patients import empty_patient, fake_torch

MOST_KIB = 60 << 10
"""Of the doctor's own process."""

MEMORY = """
import os, runpy, sys
sys.argv = ["envdoctor", "check", "--json", *sys.argv[1:]]
end = os._exit
def tell_and_end(code):
    with open("/proc/self/status") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(peak, file=sys.stderr, flush=True)
    end(code)
os._exit = tell_and_end
runpy.run_module("envdoctor", run_name="__main__")
"""

STATES = {
    "compute_mode": 0,
    "persistence_mode": 1,
    "ecc_mode": 1,
    "ecc_uncorrected": 0,
    "rows_pending": 0,
    "rows_failed": 0,
    "mig_mode": 0,
    "mig_pending": 0,
    "virtualization": 0,
    "fabric_state": 3,
    "bar1_bytes": 128 << 30,
    "pcie_generation": 4,
    "pcie_max_generation": 4,
    "pcie_width": 16,
    "pcie_max_width": 16,
    "throttle_bits": 1,
    "power_mw": 70_000,
    "power_default_limit_mw": 400_000,
    "temperature_c": 30,
    "sm_clock_mhz": 345,
    "peers": 0xFFFF,
    "nvlink_peers": 0xFFFF,
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, TORCH, version="2.13.0+cu128")
    return patient.root


def driver(
    compiler: str, folder: Path, count: int, *lines: str, lost: int | None = None
) -> dict[str, str]:
    """The variables with which so many GPUs are there, of which CUDA lacks the lost one."""
    folder.mkdir()
    defines = (f"COUNT={count}", *(() if lost is None else (f"NO_HANDLE={lost}",)))
    library = build_fake(compiler, folder, "nvml.c", "libnvidia-ml.so.1", *defines)
    left = count - (lost is not None)
    build_fake(compiler, folder, "cuda.c", "libcuda.so.1", f"COUNT={left}")
    described = [
        f"{gpu} {name} {value}"
        for gpu in range(count)
        for name, value in {**STATES, "uuid": f"GPU-{gpu:08x}"}.items()
    ]
    (folder / "gpus.txt").write_text("\n".join((*described, *lines)))
    return {"LD_LIBRARY_PATH": str(library), "FAKE_NVML": str(folder / "gpus.txt")}


def cost_of(target: Path, env: dict[str, str]) -> tuple[float, int]:
    """Seconds of CPU of the doctor with its children, and its own peak of memory in KiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, "--python", target],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    gpus = json.loads(done.stdout)["facts"]["Gpus"]["value"]["devices"]
    assert {len(gpu["nvlink_peers"] or ()) for gpu in gpus} == {len(gpus) - 1}
    used_gpus = json.loads(done.stdout)["facts"]["TorchFirstUse"]["value"]["operations"]
    assert len(used_gpus) == 2 * (1 + len(gpus))
    return used, int(done.stderr.split()[-1])


def test_sixteen_gpus_cost_hardly_more_than_one(
    compiler: str, tmp_path: Path, target: Path
) -> None:
    """Time of the CPU, since others may use the machine as well; the driver's own is in it."""
    one = driver(compiler, tmp_path / "one", 1)
    sixteen = driver(compiler, tmp_path / "sixteen", 16)
    costs = [(cost_of(target, one), cost_of(target, sixteen)) for _ in range(2)]
    assert min(many[0] for _, many in costs) < 1.5 * min(alone[0] for alone, _ in costs)
    assert min(many[1] for _, many in costs) < min(alone[1] for alone, _ in costs) + 4096
    assert min(many[1] for _, many in costs) < MOST_KIB


UNLIKE = {
    "memory-repair-pending": (0, "rows_pending 1"),
    "row-remap-failed": (1, "rows_failed 1"),
    "slow-pcie": (2, "pcie_width 4"),
    "gpu-slowed-now": (3, "throttle_bits 64"),
    "power-cap-below-default": (4, "power_limit_mw 200000"),
    "compute-prohibited": (5, "compute_mode 2"),
    "oom-other-process": (6, "memory_used_bytes 80000000000"),
    "mig-mode-pending": (7, "mig_pending 1"),
}
LOST = 11


def test_none_of_many_unlike_faults_is_lost_among_sixteen_gpus(
    compiler: str, tmp_path: Path, target: Path
) -> None:
    lines = [f"{gpu} {state}" for gpu, state in UNLIKE.values()]
    env = driver(compiler, tmp_path / "driver", 16, *lines, lost=LOST)
    text = tmp_path / "report.txt"
    report = report_of("--python", target, "--output", f"text={text}", env=env)
    found = {one["name"]: one["subjects"] for one in report["findings"]}
    expected = {name: [f"gpu:{gpu}"] for name, (gpu, _) in UNLIKE.items()}
    assert {name: found.get(name) for name in expected} == expected
    root = report["findings"][0]
    assert (root["name"], root["subjects"]) == ("gpu-hw-fault", [f"gpu:{LOST}"])
    rows = [line.split()[:2] for line in text.read_text().splitlines() if "  NVIDIA A100" in line]
    assert rows == [["GPU", str(gpu)] for gpu in range(16) if gpu != LOST]


def test_what_sixteen_gpus_share_is_said_once(compiler: str, tmp_path: Path, target: Path) -> None:
    lines = [f"{gpu} {state}" for gpu in range(16) for _, state in UNLIKE.values()]
    report = report_of("--python", target, env=driver(compiler, tmp_path / "driver", 16, *lines))
    every = [f"gpu:{gpu}" for gpu in range(16)]
    # A row that could not be replaced says more than one that waits.
    shared = UNLIKE.keys() - {"memory-repair-pending"}
    found = {one["name"]: one["subjects"] for one in report["findings"]}
    assert {name: found.get(name) for name in shared} == dict.fromkeys(shared, every)
    assert len(set(names(report))) == len(names(report))


def test_one_of_sixteen_that_gives_no_answer_hangs_nothing(
    compiler: str, tmp_path: Path, target: Path
) -> None:
    env = driver(compiler, tmp_path / "driver", 16, "11 temperature_c hang")
    began = time.monotonic()
    report = report_of("--python", target, "--static", "--timeout", "2", env=env)
    assert time.monotonic() - began < 2 + 2 + slack_s()
    assert report["facts"]["Nvml"]["reason"] == "timed-out"
    assert report["facts"]["Gpus"]["reason"] == "timed-out"


def test_the_gpu_at_which_nvml_dies_is_named(
    compiler: str, tmp_path: Path, children: Children
) -> None:
    env = driver(compiler, tmp_path / "driver", 16, "11 temperature_c crash")
    known = observe_nvml(context_of(children, env={**os.environ, **env}))[Nvml]
    detail = "the probe was ended by SIGABRT, at GPU 11"
    assert known == Unknown(reason=Reason.CRASHED, detail=detail)
