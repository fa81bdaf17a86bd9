"""No child survives the doctor, whatever it did to hide, and however the doctor ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doctor import envdoctor
from tests.support.patients import Patient, empty_patient, fake_torch

CLEARED = "os.execve('/bin/sh', ['sh', '-c', f'echo $$ > {me}; exec sleep 600'], {})"
STAYS = f"os.setsid(); {CLEARED}"
DAEMON = f"os.setsid()\n    if os.fork(): os._exit(0)\n    {CLEARED}"
HIDDEN = {
    "own session": "os.setsid(); open(me, 'w').write(str(os.getpid())); time.sleep(600)",
    "own session, no environment": STAYS,
    "stopped": "open(me, 'w').write(str(os.getpid())); os.kill(os.getpid(), signal.SIGSTOP)",
    "daemon": DAEMON,
    "daemon that has a limit of its own": "import resource; resource.setrlimit(10, (9, 9)); "
    + DAEMON.replace(", {})", ", os.environ)"),
    "descriptors closed": f"os.closerange(0, 4096); os.setsid(); {CLEARED}",
    "many groups": "for _ in range(99): os.fork() or (os.setsid(), time.sleep(600))\n"
    "    open(me, 'w').write(str(os.getpid())); time.sleep(600)",
}


def hiding(folder: Path, how: str, then: str) -> Patient:
    """A target whose import starts a process that hides, and goes on with `then`."""
    patient = empty_patient(folder / "venv")
    fake_torch(
        patient,
        f"import os, signal, time\nme = {str(folder / 'pid')!r}\n"
        f"if os.fork() == 0:\n    {how}\n"
        f"while not (os.path.exists(me) and open(me).read()): time.sleep(0.01)\n{then}\n",
    )
    return patient


def is_running(pid: int) -> bool:
    try:
        return stat(pid)[0] not in "ZX"
    except OSError:
        return False


def parent(pid: int) -> int:
    return int(stat(pid)[1])


def stat(pid: int) -> list[str]:
    """The fields of proc(5), /proc/pid/stat, after the name: state, parent and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def of_the_patient(folder: Path) -> list[int]:
    """What runs with a file of the patient as its program."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder / "venv").encode() in file.read_bytes() and b"-m\0envdoctor" not in (
                file.read_bytes()
            ):
                found.append(int(file.parent.name))
        except OSError:
            continue
    return [pid for pid in found if is_running(pid)]


def nothing_is_left(folder: Path, within_s: float) -> None:
    hidden = int((folder / "pid").read_text())
    deadline = time.monotonic() + within_s
    while left := [pid for pid in (hidden, *of_the_patient(folder)) if is_running(pid)]:
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"{left} are left")
        time.sleep(0.02)


@pytest.mark.parametrize("how", HIDDEN.values(), ids=HIDDEN)
def test_nothing_is_left_by_a_run(tmp_path: Path, how: str) -> None:
    patient = hiding(tmp_path, how, "")
    run = envdoctor("check", "--json", "--python", patient.root)
    nothing_is_left(tmp_path, within_s=0.1)
    assert run.json["facts"]["TorchImport"]["value"]["outcome"] == "ok"


@pytest.fixture
def doctor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """One whose target has started a process that hides, and hangs."""
    patient = hiding(tmp_path, request.param, "time.sleep(600)")
    process = subprocess.Popen(
        [sys.executable, "-m", "envdoctor", "check", "--json", "--python", str(patient.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("doctor", HIDDEN.values(), ids=HIDDEN, indirect=True)
def test_nothing_is_left_by_a_doctor_that_is_killed(
    doctor: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    doctor.kill()
    doctor.wait()
    nothing_is_left(tmp_path, within_s=10)


@pytest.mark.parametrize("doctor", [DAEMON], ids=["daemon"], indirect=True)
def test_nothing_is_left_by_an_interrupt(doctor: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    doctor.send_signal(signal.SIGINT)
    doctor.communicate(timeout=20)
    assert doctor.returncode == 130
    nothing_is_left(tmp_path, within_s=0.1)


@pytest.mark.parametrize("doctor", [STAYS], ids=["guard"], indirect=True)
def test_a_guard_that_is_gone_changes_nothing(
    doctor: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    (guard,) = (
        int(file.parent.name)
        for file in Path("/proc").glob("[0-9]*/cmdline")
        if is_running(int(file.parent.name))
        and b"envdoctor-guard" in file.read_bytes()
        and parent(int(file.parent.name)) == doctor.pid
    )
    os.kill(guard, signal.SIGSTOP)
    doctor.send_signal(signal.SIGTERM)
    doctor.communicate(timeout=20)
    assert doctor.returncode == 143
    nothing_is_left(tmp_path, within_s=0.1)
    assert not is_running(guard)
