"""What sixteen GPUs cost the doctor, and one of them that gives no answer."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.driver.fake import build_fake
from tests.support.doctor import report_of, slack_s
from tests.support.patients import empty_patient, fake_torch

MEMORY = """
import os, resource, runpy, sys
sys.argv = ["envdoctor", "check", "--json", "--static", *sys.argv[1:]]
end = os._exit
def tell_and_end(code):
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr, flush=True)
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
    "power_mw": 70_000,
    "temperature_c": 30,
    "sm_clock_mhz": 345,
    "peers": 0xFFFF,
    "nvlink_peers": 0xFFFF,
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "__version__ = '2.13.0+cpu'\n")
    return patient.root


def driver(compiler: str, folder: Path, count: int, *lines: str) -> dict[str, str]:
    """The variables with which so many GPUs are there."""
    folder.mkdir()
    library = build_fake(compiler, folder, "nvml.c", "libnvidia-ml.so.1", f"COUNT={count}")
    described = [f"{gpu} {name} {value}" for gpu in range(count) for name, value in STATES.items()]
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


def test_one_of_sixteen_that_gives_no_answer_hangs_nothing(
    compiler: str, tmp_path: Path, target: Path
) -> None:
    env = driver(compiler, tmp_path / "driver", 16, "11 temperature_c hang")
    began = time.monotonic()
    report = report_of("--python", target, "--static", "--timeout", "2", env=env)
    assert time.monotonic() - began < 2 + 2 + slack_s()
    assert report["facts"]["Nvml"]["reason"] == "timed-out"
    assert report["facts"]["Gpus"]["reason"] == "timed-out"
