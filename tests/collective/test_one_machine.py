"""A collective on one machine: real torch under torchrun, what keeps it from working, its clock."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_surroundings import in_a_namespace
from tests.conftest import require
from tests.support.doctor import envdoctor, validator
from tests.support.nodes import MARK, nothing_is_left
from tests.support.patients import empty_patient, fake_torch, has_torch


def roots(report: dict[str, Any]) -> list[str]:
    return [one["name"] for one in report["findings"] if one["because"] is None]


def test_two_ranks_where_the_hosts_name_is_a_loopback_address(tmp_path: Path) -> None:
    """Debian's default is no disease of one machine, and an allocation of many nodes is no job."""
    require(has_torch(), "a torch")
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n127.0.1.1 {os.uname().nodename}\n")
    inside = in_a_namespace("sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
    done = subprocess.run(
        [*inside, sys.executable, "-m", "envdoctor", "collective", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "SLURM_NNODES": "4", "SLURM_NODEID": "0", MARK: str(tmp_path)},
    )
    report = json.loads(done.stdout)
    validator().validate(report)
    assert (done.returncode, report["verdict"], report["findings"]) == (0, "healthy", [])
    tried = report["collective"]
    assert tried["own_name"] == "loopback"
    assert [one["state"] for one in tried["ranks"]] == ["done", "done"]
    assert [one["used"] for one in tried["ranks"]] == [["lo"], ["lo"]]
    assert len(tried["links"]) == 2
    assert tried["sum_right"]
    nothing_is_left(str(tmp_path))


DIES = """
import os, sys
def die(event, arguments):
    if event == "socket.bind" and os.environ.get("RANK") == "1":
        os.kill(os.getpid(), 9)
sys.addaudithook(die)
"""


def test_a_rank_that_dies(tmp_path: Path) -> None:
    """By a real SIGKILL, when it has met the other one."""
    require(has_torch(), "a torch")
    (tmp_path / "sitecustomize.py").write_text(DIES)
    env = {"PYTHONPATH": str(tmp_path), MARK: str(tmp_path)}
    run = envdoctor("collective", "--json", env=env)
    report = run.json
    validator().validate(report)
    assert (run.exit_code, report["verdict"]) == (1, "broken")
    assert roots(report) == ["rank-died"]
    assert report["findings"][0]["message"] == "rank 1 died in `connect`: SIGKILL"
    assert [one["state"] for one in report["collective"]["ranks"]] == ["stopped", "died"]
    nothing_is_left(str(tmp_path))


@pytest.mark.heavy
def test_an_interface_that_is_not_there() -> None:
    require(has_torch(), "a torch")
    run = envdoctor("collective", "--plain", env={"GLOO_SOCKET_IFNAME": "eth7"}, timeout_s=200)
    assert run.exit_code == 1
    assert "error[ED700] nccl-socket-ifname: GLOO_SOCKET_IFNAME=eth7 names no" in run.stdout
    assert "the same collective works without GLOO_SOCKET_IFNAME" in " ".join(run.stdout.split())
    assert run.stdout.splitlines()[-1] == "  run       unset GLOO_SOCKET_IFNAME"


# --- where nothing can be tried ---


def test_a_target_without_torch(tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    run = envdoctor("collective", "--json", "--python", patient.python)
    assert (run.exit_code, run.json["verdict"]) == (3, "incomplete")
    assert "torch cannot be imported: ModuleNotFoundError" in run.json["problem"]
    validator().validate(run.json)


def hanging(tmp_path: Path) -> Path:
    """A target whose torch is imported without end."""
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, "import time\ntime.sleep(600)\n")
    return patient.python


def test_time_that_runs_out(tmp_path: Path) -> None:
    python, began = hanging(tmp_path), time.monotonic()
    env = {MARK: str(tmp_path)}
    run = envdoctor("collective", "--json", "--python", python, "--timeout", "2", env=env)
    assert time.monotonic() - began < 20
    assert (run.exit_code, run.json["verdict"]) == (3, "incomplete")
    assert run.json["problem"] == "time ran out while importing torch"
    nothing_is_left(str(tmp_path))


def test_control_c(tmp_path: Path) -> None:
    python = hanging(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "envdoctor", "collective", "--json", "--python", str(python)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, MARK: str(tmp_path)},
    ) as run:
        wait_for_the_node(str(python))
        run.send_signal(signal.SIGINT)
        stdout, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    assert json.loads(stdout)["exit_code"] == 130
    nothing_is_left(str(tmp_path))


def wait_for_the_node(python: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = file.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == python.encode() and b"node" in words:
                return
        time.sleep(0.02)
    raise AssertionError("no node was started")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--nnodes", "2"), "give `--master-addr`"),
        (("--master-port", "70000"), "--master-port"),
        (("--python", "/nowhere/python"), "/nowhere/python"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], says: str) -> None:
    run = envdoctor("collective", *arguments, "--json", env={"MASTER_ADDR": ""})
    assert (run.exit_code, run.json["type"], run.json["exit_code"]) == (2, "error", 2)
    assert says in run.json["message"]
