"""The clock: behind, set meanwhile, or slow to read; and machines whose clock only looks odd."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from envdoctor.api import Clock, Snapshot
from envdoctor.clock import offset_s
from envdoctor.probes.clock import built_at, clock_behind_s, read_clock
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from tests.probes.test_machine import Tree
from tests.support.diagnosis import report_on
from tests.support.given_states import ROOM
from tests.support.gpu_states import CONTAINER, WSL, WSL_KERNEL
from tests.support.healthy_machines import HEALTHY_MACHINES
from tests.support.machines import machine

HOUR = 3600.0


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def names(snapshot: Snapshot) -> list[tuple[str, str]]:
    return [(one.name, one.severity.value) for one in report_on(snapshot).findings]


# --- behind ---


def test_a_clock_in_the_past(tree: Tree) -> None:
    """Seen by a file that the system has written in what is still to come."""
    tree.file("etc/ld.so.cache", "")
    cache = tree.root / "etc/ld.so.cache"
    assert clock_behind_s(tree.context()) is None
    hours = time.time() + 6 * HOUR
    os.utime(cache, (hours, hours))
    assert clock_behind_s(tree.context()) is None
    years = time.time() + 3 * 365 * 86_400
    os.utime(cache, (years, years))
    assert clock_behind_s(tree.context()) == pytest.approx(3 * 365 * 86_400, abs=60)
    (one,) = report_on(machine(Host={"clock_behind_s": 3 * 365 * 86_400.0})).findings
    assert (one.name, one.severity.value) == ("clock-behind", "warning")
    assert "1095 days" in one.message


def test_files_of_a_project_with_times_to_come_say_nothing(tree: Tree, children: Children) -> None:
    """Out of a tarball, or of another machine: the clock is not judged by them."""
    tree.file("home/user/project/setup.py", "")
    later = time.time() + 400 * 86_400
    os.utime(tree.root / "home/user/project/setup.py", (later, later))
    assert clock_behind_s(tree.context()) is None
    assert clock_behind_s(context_of(children)) is None


@pytest.mark.parametrize(
    ("version", "day"),
    [
        ("#86-Ubuntu SMP PREEMPT_DYNAMIC Fri Oct  3 12:22:31 UTC 2025", "2025-10-03"),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.147-1 (2025-08-02)", "2025-08-02"),
        ("#1-NixOS SMP PREEMPT_DYNAMIC Tue Jan  1 00:00:00 UTC 1980", "1980-01-01"),
        ("#1 SMP Wed Jun 5 19:21:45 2024", "2024-06-05"),
        ("#1 SMP PREEMPT_DYNAMIC @0", "1970-01-01"),
        ("#1 SMP Xxx Jan 32 00:00:00 UTC 2024", "1970-01-01"),
        ("Jan", "1970-01-01"),
        ("", "1970-01-01"),
    ],
)
def test_when_a_kernel_was_built(version: str, day: str) -> None:
    assert time.strftime("%Y-%m-%d", time.gmtime(built_at(version))) == day


def of_windows(tree: Tree, ahead_s: float, kernel: str = WSL_KERNEL["kernel"]) -> float | None:
    tree.file("proc/sys/kernel/osrelease", kernel)
    tree.file("sys/class/rtc/rtc0/since_epoch", f"{time.time() + ahead_s:.0f}\n")
    return read_clock(tree.context()).rtc_ahead_s


def test_wsl_is_compared_with_windows(tree: Tree) -> None:
    assert of_windows(tree, 7200.0) == pytest.approx(7200, abs=5)
    assert of_windows(tree, 0.0) == pytest.approx(0, abs=5)


@pytest.mark.parametrize("kernel", ["6.8.0-60-generic", "4.4.0-19041-Microsoft", ""])
def test_the_hardware_clock_of_others_is_not_asked(tree: Tree, kernel: str) -> None:
    """It may keep local time, have a dead battery, or be that of a host without a time service."""
    assert of_windows(tree, 7200.0, kernel) is None


def in_wsl(ahead_s: float, **container: Any) -> Snapshot:
    return machine(
        Clock(rtc_ahead_s=ahead_s),
        Container={**WSL, **container},
        Limits=ROOM,
        Host={**WSL_KERNEL, "hypervisor": True},
        CudaInit={"library": "/usr/lib/wsl/drivers/nv/libcuda.so.1.1"},
    )


def test_wsl_that_slept_with_windows() -> None:
    found = {one.name: one for one in report_on(in_wsl(3 * HOUR)).findings}["clock-behind"]
    assert "3 hours behind that of Windows" in found.message
    assert found.fixes[0].commands == ("date", "sudo hwclock -s")
    inside = {one.name: one for one in report_on(in_wsl(3 * HOUR, **CONTAINER)).findings}
    assert inside["clock-behind"].fixes[0].where.value == "host"


@pytest.mark.parametrize("ahead_s", [0.0, 20.0, -9000.0])
def test_wsl_that_is_near_windows_or_ahead(ahead_s: float) -> None:
    assert "clock-behind" not in [name for name, _ in names(in_wsl(ahead_s))]


# --- set meanwhile ---

TWO_NODES = {"variables": {"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "RANK": "0"}}


@pytest.mark.parametrize(("stepped_s", "way"), [(40.0, "40 s forward"), (-7200.0, "2 hours back")])
def test_a_clock_that_is_set_under_a_job_of_several_machines(stepped_s: float, way: str) -> None:
    report = report_on(machine(Clock(stepped_s=stepped_s), Environment=TWO_NODES))
    (one,) = [one for one in report.findings if one.name == "clock-stepped"]
    assert (one.severity.value, way in one.message) == ("warning", True)


def test_a_clock_that_is_set_once_is_worth_knowing() -> None:
    assert names(machine(Clock(stepped_s=40.0))) == [("clock-stepped", "info")]
    assert names(machine(Clock(stepped_s=0.6))) == []


STEPS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, at);
    const char *set = getenv("CLOCK_WAS_SET");
    if (id == CLOCK_REALTIME && set && access(set, F_OK) == 0) at->tv_sec += 90;
    return result;
}
"""
"""A clock that is set forward by 90 s, from when the file is there."""

EXAMINE = """
import json, os, sys
from envdoctor.collect import collect
from envdoctor.facts.machine import Clock
from envdoctor.options import Options
from envdoctor.plugin_loading import load_plugins
from envdoctor.probes.run import Children

def on_event(event):
    if sys.argv[1] == "set":
        open(os.environ["CLOCK_WAS_SET"], "w").close()

snapshot = collect(
    Options(scope="node", static=True),
    load_plugins(),
    children=Children(),
    services={},
    on_event=on_event,
)
print(json.dumps(snapshot.value(Clock).stepped_s))
"""


@pytest.mark.parametrize(
    ("how", "expected"),
    [("set", 90.0), pytest.param("left", None, marks=pytest.mark.heavy)],
)
def test_a_clock_that_is_set_while_it_is_examined(
    tmp_path: Path, how: str, expected: float | None
) -> None:
    source, library = tmp_path / "steps.c", tmp_path / "steps.so"
    source.write_text(STEPS)
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    env = {**os.environ, "LD_PRELOAD": str(library), "CLOCK_WAS_SET": str(tmp_path / "set")}
    said = subprocess.run(
        [sys.executable, "-c", EXAMINE, how],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(said.stdout.splitlines()[-1]) == expected


def test_time_that_passes_is_no_step() -> None:
    began = offset_s()
    time.sleep(0.05)
    assert abs(offset_s() - began) < 0.02


# --- slow to read ---


@pytest.mark.parametrize(
    ("source", "sources", "word"),
    [
        ("hpet", ("hpet", "acpi_pm"), "dmesg"),
        ("hpet", ("tsc", "hpet", "acpi_pm"), "echo tsc"),
        ("xen", ("xen", "tsc", "hpet", "acpi_pm"), "echo tsc"),
        ("acpi_pm", ("acpi_pm",), "dmesg"),
    ],
)
def test_a_slow_counter_is_worth_knowing(source: str, sources: tuple[str, ...], word: str) -> None:
    (one,) = report_on(machine(Clock(source=source, sources=sources))).findings
    assert (one.name, one.severity.value) == ("slow-clock-source", "info")
    assert word in "\n".join(one.fixes[0].commands)


@pytest.mark.parametrize(
    "source",
    ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "timebase", None],
)
def test_a_counter_that_is_read_without_a_system_call(source: str | None) -> None:
    assert names(machine(Clock(source=source, sources=(source or "",)))) == []


@pytest.mark.parametrize("name", ["cpu-only-virtual-machine", "laptop-with-two-gpus", "wsl"])
def test_a_machine_without_a_time_service_hears_no_warning(name: str) -> None:
    """Nor an old laptop whose counter stops in sleep states, which Linux therefore leaves alone."""
    odd = machine(Clock(source="hpet", sources=("hpet", "acpi_pm"))).get(Clock)
    report = report_on(HEALTHY_MACHINES[name].with_facts({Clock: odd}))
    assert {one.severity.value for one in report.findings} <= {"info"}
    assert report.verdict.value == "healthy"
