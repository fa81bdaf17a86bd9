"""A run as a process: interruption, progress, colour, several targets, output formats."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support.doctor import envdoctor, names, validator
from tests.support.patients import (
    Patient,
    empty_patient,
    fake_torch,
    has_torch,
    torch_patient,
)

MARK = "patient_of_the_interrupt_test"


@pytest.fixture
def hanging(tmp_path: Path) -> Patient:
    patient = empty_patient(tmp_path / MARK)
    fake_torch(
        patient, "import subprocess, time\nsubprocess.Popen(['sleep', '599'])\ntime.sleep(600)"
    )
    return patient


def children_of(mark: str) -> list[str]:
    """The command lines of processes that belong to the patient."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            cwd = os.readlink(folder / "cwd")
        except OSError:
            continue
        if (mark in command and "envdoctor check" not in command) or (
            "sleep 599" in command and mark in cwd
        ):
            found.append(command)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_child(hanging: Patient, number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "envdoctor", "check", "--python", str(hanging.root)]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=hanging.root
    )
    deadline = time.monotonic() + 30
    while not children_of(MARK) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == (130 if number is signal.SIGINT else 128 + number)
    assert "Traceback" not in out + err
    for _ in range(100):
        if not children_of(MARK):
            break
        time.sleep(0.05)
    assert children_of(MARK) == []


def running(pids: set[int]) -> set[int]:
    """Those of these processes that still run."""
    alive = set()
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[0] != "Z":
            alive.add(pid)
    return alive


def children_pids(parent: int) -> set[int]:
    """The processes that a process has started in any of its threads."""
    found = set()
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        found |= set(map(int, children.read_text().split()))
    return found


def killed_outright(
    argv: list[str], env: dict[str, str], until: Callable[[set[int]], bool]
) -> None:
    """Start a doctor, kill it once its children are as wanted, and see that none is left."""
    process = subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env}
    )
    deadline = time.monotonic() + 60
    while not until(children := children_pids(process.pid)):
        assert time.monotonic() < deadline, "the children did not come so far"
        time.sleep(0.02)
    process.kill()
    process.wait()
    for _ in range(200):
        if not running(children):
            break
        time.sleep(0.05)
    left = running(children)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_measuring(pid: int) -> bool:
    """Whether a process is a calibration that has loaded torch."""
    try:
        loaded = "libtorch" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
    return loaded and "calibration/worker.py" in command_of(pid)


def test_no_child_outlives_a_doctor_that_is_killed(compiler: str, tmp_path: Path) -> None:
    """The target hangs in its import, NVML in its driver; the doctor cannot clean up."""
    patient = empty_patient(tmp_path / "venv")
    came_so_far = tmp_path / "imported"
    fake_torch(patient, f"import time; open({str(came_so_far)!r}, 'w'); time.sleep(600)")
    library = tmp_path / "libnvidia-ml.so.1"
    source = Path(__file__).parents[1] / "fakes" / "nvml.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-DHANG", "-o", library, source], check=True)

    def hang(pids: set[int]) -> bool:
        commands = {command_of(pid) for pid in pids}
        return came_so_far.exists() and any("nvml_child" in one for one in commands)

    argv = [sys.executable, "-m", "envdoctor", "check", "--python", str(patient.root)]
    killed_outright(argv, {"LD_LIBRARY_PATH": str(tmp_path)}, hang)


def test_no_worker_outlives_a_doctor_that_is_killed() -> None:
    require(has_torch(), "a torch in the environment of the tests")
    argv = [sys.executable, "-m", "envdoctor", "calibrate", "--python", sys.executable]
    killed_outright(argv, {}, lambda pids: any(map(is_measuring, pids)))


ESCAPES = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({mine!r}, "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
"""


def escaped(file: Path) -> int:
    """The process that left its session, once it has said which it is."""
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, "the child did not come so far"
        time.sleep(0.02)
    return int(file.read_text())


def gone(pid: int) -> bool:
    for _ in range(200):
        if not running({pid}):
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False


def test_what_leaves_its_session_ends_with_a_normal_run(tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, ESCAPES.format(mine=str(tmp_path / "pid")))
    envdoctor("check", "--json", "--python", patient.root)
    assert gone(escaped(tmp_path / "pid"))


def test_what_leaves_its_session_ends_with_a_doctor_that_is_killed(tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    mine = tmp_path / "pid"
    fake_torch(patient, ESCAPES.format(mine=str(mine)) + "time.sleep(600)")
    argv = [sys.executable, "-m", "envdoctor", "check", "--python", str(patient.root)]
    killed_outright(argv, {}, lambda pids: mine.exists() and bool(mine.read_text()))
    assert gone(escaped(mine))


def test_what_the_user_started_before_is_left_alone(tmp_path: Path) -> None:
    """`server & exec envdoctor check`: the server is then a child of the doctor's process."""
    pid = tmp_path / "pid"
    script = (
        f"sleep 600 >&- 2>&- & echo $! > {pid}; exec {sys.executable} -m envdoctor check --static"
    )
    subprocess.run(["bash", "-c", script], capture_output=True, check=False, timeout=60)
    server = int(pid.read_text())
    try:
        time.sleep(1.0)
        assert running({server})
    finally:
        os.kill(server, signal.SIGKILL)


def test_a_wrapper_that_stays_in_between_is_a_python(tmp_path: Path) -> None:
    """As `apptainer exec image python "$@"` is one, or a script of a cluster."""
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, "")
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\n"{patient.python}" "$@"\n')
    wrapper.chmod(0o755)
    run = envdoctor("check", "--json", "--python", wrapper)
    assert run.json["facts"]["TorchImport"]["value"]["outcome"] == "ok"


def test_several_targets_are_one_document(tmp_path: Path) -> None:
    good, bad = empty_patient(tmp_path / "a"), empty_patient(tmp_path / "b")
    for patient in (good, bad):
        fake_torch(patient, "raise ValueError('no')" if patient is bad else "")
    targets = ("--python", good.root, "--python", bad.root)
    run = envdoctor("check", "--json", *targets)
    validator().validate(run.json)
    assert run.json["type"] == "reports"
    assert names(run.json["reports"][1]) == ["torch-import-failed"]
    assert run.exit_code == run.json["exit_code"] == 1
    text = envdoctor("check", *targets).stdout
    assert text.count("verdict: ") == 2


def test_progress_in_a_pipe_is_only_what_is_slow(hanging: Patient) -> None:
    run = envdoctor("check", "--python", hanging.root, "--timeout", "9")
    assert run.stdout.startswith("verdict: broken")
    lines = run.stderr.splitlines()
    assert [line for line in lines if "still waiting for" in line]
    assert "\x1b" not in run.stderr + run.stdout


def run_in_a_terminal(*arguments: str, env: dict[str, str]) -> str:
    """What a terminal of 80 columns receives."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "envdoctor", *arguments],
            {**os.environ, "TERM": "xterm", **env},
        )
    received = b""
    try:
        while data := os.read(fd, 65536):
            received += data
    except OSError:
        pass
    os.waitpid(pid, 0)
    os.close(fd)
    return received.decode()


def test_colour_only_where_it_is_wanted(tmp_path: Path) -> None:
    target = ("check", "--static", "--python", str(empty_patient(tmp_path / "a").root))
    coloured = run_in_a_terminal(*target, env={})
    assert "\x1b[1;31mbroken\x1b[0m" in coloured
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = run_in_a_terminal(*target, env=env)
        assert "verdict: broken" in plain
        assert "\x1b[1;31m" not in plain
    assert "\x1b[1;31m" not in run_in_a_terminal(*target, "--plain", env={})


def test_fail_on_changes_the_exit_code_and_not_the_verdict(tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "a")
    fake_torch(patient, "")
    (patient.site_packages / "numpy-1.0.dist-info").mkdir()
    for version in ("1.0", "2.0"):
        info = patient.site_packages / f"numpy-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Name: numpy\nVersion: {version}\n")
    target = ("check", "--json", "--static", "--python", patient.root)
    lenient, strict = envdoctor(*target), envdoctor(*target, "--fail-on", "warning")
    assert names(lenient.json) == names(strict.json) == ["duplicate-distribution"]
    assert lenient.json["verdict"] == strict.json["verdict"] == "degraded"
    assert (lenient.exit_code, strict.exit_code) == (0, 1)


def test_only_and_skip_take_codes_names_and_topics(tmp_path: Path) -> None:
    target = ("check", "--json", "--static", "--python", empty_patient(tmp_path / "a").root)
    for label in ("ED400", "torch-not-installed", "torch"):
        assert names(envdoctor(*target, "--only", label).json) == ["torch-not-installed"]
        assert names(envdoctor(*target, "--skip", label).json) == []
    assert names(envdoctor(*target, "--only", "driver").json) == []
    both = envdoctor(*target, "--only", "driver,torch", "--only", "ED201").json
    assert names(both) == ["torch-not-installed"]


def test_secrets_and_the_home_folder_are_not_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    patient = empty_patient(home / "env")
    fake_torch(patient, "raise OSError('https://user:secret@host/x hf_abcdefghijklmnopqrstuvwx')")
    env = {"HOME": str(home), "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwx", "AWS_SECRET": "s3cr3t"}
    run = envdoctor("check", "--json", "--python", patient.root, env=env)
    for secret in ("user:secret", "hf_abcdef", "s3cr3t", str(home)):
        assert secret not in run.stdout
    assert run.json["target"]["path"] == "~/env/bin/python"
    validator().validate(run.json)
    assert json.loads(run.stdout)["facts"]["Environment"]["value"]["variables"] is not None


def test_the_main_job_diagnoses_and_measures(tmp_path: Path) -> None:
    require(has_torch(), "a torch in the environment of the tests")
    patient = torch_patient(tmp_path / "patient")
    run = envdoctor("--json", "--budget", "1", "--python", patient.root, timeout_s=280)
    assert run.no_traceback, run.stderr
    validator().validate(run.json)
    assert run.exit_code == run.json["exit_code"] == 0
    measured = run.json["calibration"]["runs"][0]
    assert (measured["device"], measured["precision"]) == ("cpu", "fp32")
    rate = measured["images_per_s"]
    assert 0 < rate["low"] <= rate["median"] <= rate["high"]
    assert measured["peak_memory_bytes"] > 25_557_032 * 4
    assert run.json["facts"]["Calibration"]["value"] == run.json["calibration"]
    assert "measuring cpu fp32" in run.stderr


def test_what_does_not_work_is_not_measured(tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "raise ValueError('no')")
    run = envdoctor("--json", "--python", patient.root)
    assert (run.exit_code, run.json["calibration"]) == (1, None)
    assert names(run.json)[0] == "torch-import-failed"
