"""A signal in any phase: one document, the documented exit code, at once, and nothing is left."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support.doctor import slack_s
from tests.support.patients import empty_patient, fake_torch, has_torch

AT_ONCE_S = 0.5

NVML = Path(__file__).parents[1] / "fakes" / "nvml.c"


class Scene:
    """A run of the doctor that comes to a phase and stays there for a while."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun = folder / "begun"
        self.env: dict[str, str] = {}
        self.command = ["check", "--json"]
        self.is_there: Callable[[int], bool] = lambda doctor: self.begun.exists()

    def start(self) -> "subprocess.Popen[str]":
        self.begun.unlink(missing_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "envdoctor", *self.command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.env},
        )


def choosing_the_target(scene: Scene) -> None:
    python = scene.folder / "python"
    python.write_text(f"#!/bin/sh\necho > '{scene.begun}'\nsleep 600\n")
    python.chmod(0o755)
    scene.command += ["--python", str(python)]


def importing(scene: Scene) -> None:
    patient = empty_patient(scene.folder / "venv")
    fake_torch(patient, f"import time; open({str(scene.begun)!r}, 'w'); time.sleep(600)")
    scene.command += ["--python", str(patient.root)]


def asking_nvml(scene: Scene) -> None:
    importing(scene)
    library = scene.folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-DHANG", "-o", library, NVML], check=True)
    scene.env["LD_LIBRARY_PATH"] = str(scene.folder)
    scene.is_there = lambda doctor: any("nvml_child" in one for one in commands_below(doctor))


def reading_files(scene: Scene) -> None:
    patient = empty_patient(scene.folder / "venv")
    fake_torch(patient, "")
    for number in range(2000):
        info = patient.site_packages / f"p{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: p{number}\nVersion: 1.0\n")
        (info / "RECORD").write_text("".join(f"p{number}/{n}.py,,1\n" for n in range(50)))
    scene.command += ["--static", "--python", str(patient.root)]
    scene.is_there = lambda doctor: any("record_child" in one for one in commands_below(doctor))


def calibrating(scene: Scene) -> None:
    scene.command = ["calibrate", "--json", "--python", sys.executable]
    scene.is_there = lambda doctor: any("worker.py" in one for one in commands_below(doctor))


def anywhere(scene: Scene) -> None:
    """From the moment at which signals are caught until it has printed all."""
    patient = empty_patient(scene.folder / "venv")
    fake_torch(patient, "")
    scene.command += ["--python", str(patient.root)]
    scene.is_there = lambda doctor: catches(doctor, signal.SIGHUP)


def collecting(scene: Scene) -> None:
    importing(scene)
    scene.command[0] = "collect"


def reading_libraries(scene: Scene) -> None:
    importing(scene)
    scene.command[0] = "libs"


def prescribing(scene: Scene) -> None:
    choosing_the_target(scene)
    scene.command[0] = "prescribe"


def without_a_command(scene: Scene) -> None:
    importing(scene)
    del scene.command[0]


def listing(scene: Scene) -> None:
    scene.command = ["rules", "--json"]
    scene.is_there = lambda doctor: catches(doctor, signal.SIGHUP)


def judging_a_claim(scene: Scene) -> None:
    scene.command = ["fits", "--json", "torch==2.6 cuda==12.4"]
    scene.is_there = lambda doctor: catches(doctor, signal.SIGHUP)


PHASES = {
    setting.__name__: setting
    for setting in (
        choosing_the_target,
        importing,
        asking_nvml,
        reading_files,
        calibrating,
        anywhere,
        collecting,
        reading_libraries,
        prescribing,
        without_a_command,
        listing,
        judging_a_claim,
    )
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_DELAY_S = 0.6


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (SigCgt of proc(5))."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
    return bool(caught >> (number - 1) & 1)


def below(parent: int) -> set[int]:
    found = set()
    for file in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            found |= set(map(int, file.read_text().split()))
        except OSError:
            continue
    return found.union(*map(below, found)) if found else found


def commands_below(parent: int) -> list[str]:
    found = []
    for pid in below(parent):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
        except OSError:
            continue
    return found


def are_running(pids: set[int]) -> set[int]:
    alive = set()
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[0] not in "ZX":
            alive.add(pid)
    return alive


def interrupted(scene: Scene, number: signal.Signals, delay_s: float) -> None:
    """Send the signal into the phase, and look at what is left."""
    slack = slack_s()
    process = scene.start()
    deadline = time.monotonic() + 60
    while not scene.is_there(process.pid) and process.poll() is None:
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.005)
    time.sleep(delay_s)
    children = below(process.pid)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    took = time.monotonic() - began
    left = {pid: Path(f"/proc/{pid}/stat").read_text() for pid in are_running(children)}
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, (left, took)
    assert took < AT_ONCE_S + slack, f"{took:.2f} s, with {slack:.2f} s of slack"
    assert "Traceback" not in out + err
    if process.returncode == -number:
        # All was said: nothing of it was caught any more.
        return
    document = json.loads(out)
    if isinstance(document, list):
        # The list of diseases, which has no exit code.
        assert process.returncode in (0, 128 + number)
    elif document["type"] == "error":
        assert document["exit_code"] == process.returncode == 128 + number
        assert err.splitlines()[-1] == f"envdoctor: {document['message']}"
    else:
        # It came too late, or ended a measurement of which something is known.
        assert process.returncode in (128 + number, document.get("exit_code", 0))


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    require(request.param != "calibrating" or has_torch(), "a torch")
    if request.param == "asking_nvml":
        request.getfixturevalue("compiler")
    scene = Scene(tmp_path)
    PHASES[request.param](scene)
    return scene


@pytest.mark.parametrize("scene", PHASES, indirect=True)
def test_an_interrupt_in_every_phase(scene: Scene) -> None:
    interrupted(scene, signal.SIGINT, 0.1)


@pytest.mark.heavy
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("scene", PHASES, indirect=True)
def test_signals_at_any_time(scene: Scene, number: signal.Signals) -> None:
    """8 moments of each of 36 pairs: 288."""
    moments = random.Random(f"{scene.command}{number}")
    for _ in range(8):
        interrupted(scene, number, moments.uniform(0, LONGEST_DELAY_S))


LOSES_IT = """
import os, signal, sys, time
number, where = int(sys.argv[1]), sys.argv[2]
sys.argv[1:3] = []

def signalled(*_):
    os.kill(os.getpid(), number)
    time.sleep(0.01)

class Garbage:
    def __del__(self):
        signalled()

def lose():
    if where == "del":
        Garbage()
    elif where == "weakref":
        import weakref
        garbage = type("Lock", (), {})()
        reference = weakref.ref(garbage, signalled)
        del garbage
    elif where == "module lock":
        import importlib._bootstrap as bootstrap
        lock = bootstrap._get_module_lock("of_no_module")
        reference = bootstrap._module_locks["of_no_module"]
        import weakref
        also = weakref.ref(lock, signalled)
        del lock
    else:
        import gc
        gc.callbacks.append(signalled)
        gc.collect()
        gc.callbacks.clear()

from envdoctor import session
def observe(*given, **options):
    lose()
    print("lost", file=sys.stderr, flush=True)
    time.sleep(600)
session.Session.observe = observe
from envdoctor.cli import main
main()
"""
"""A run in which the exception of a signal is raised where Python drops it."""


@pytest.mark.parametrize("where", ["del", "weakref", "module lock", "gc"])
@pytest.mark.parametrize("number", SIGNALS)
def test_no_signal_is_lost(number: signal.Signals, where: str, tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    words = ["check", "--json", "--static", "--python", str(patient.root)]
    slack = slack_s()
    process = subprocess.Popen(
        [sys.executable, "-c", LOSES_IT, str(int(number)), where, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "lost\n"
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < AT_ONCE_S + slack
    document = json.loads(out)
    assert document["type"] == "error"
    assert document["exit_code"] == process.returncode == 128 + number
    assert err == f"envdoctor: {document['message']}\n"
