"""What a machine has run out of, with the limits that are real where the kernel allows them."""

import os
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from envdoctor.api import (
    Limits,
    Reason,
    Snapshot,
    TemporaryFolder,
    TemporaryFolders,
    TorchFirstUse,
    TorchImport,
    Unknown,
)
from envdoctor.facts import Observed
from envdoctor.probes.context import context_of
from envdoctor.probes.limits import observe_temporary_folders, read_limits
from envdoctor.probes.run import Children
from tests.probes.test_machine import Tree
from tests.support.diagnosis import report_on
from tests.support.machines import machine

DEAD = TorchImport(outcome="signal", signal="SIGKILL", seconds=1.0)
NOT_COMPUTED = (TorchFirstUse, Unknown(reason=Reason.CRASHED, detail="exited with code 1"))
GIB = 2**30


def names(snapshot: Snapshot) -> list[tuple[str, str]]:
    """What is found beyond information."""
    found = report_on(snapshot).findings
    return [(one.name, one.severity.value) for one in found if one.severity.value != "info"]


def printed(text: str) -> TorchImport:
    """An import that ended with these words."""
    return TorchImport(outcome="exit", exit_code=1, seconds=1.0, output_tail=text)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# --- threads ---

OPENBLAS = "OpenBLAS blas_thread_init: pthread_create failed for thread 1 of 48: {0}"


@pytest.mark.parametrize(
    ("text", "limits", "container", "fix"),
    [
        (OPENBLAS.format("Resource temporarily unavailable"), {"tasks": 100}, "none", "ulimit -u"),
        (
            OPENBLAS.format("Resource temporarily unavailable"),
            {"tasks": 100, "tasks_running": 90},
            "docker",
            "docker run --pids-limit=-1 IMAGE",
        ),
        ("RuntimeError: can't start new thread", {}, "kubernetes", "podPidsLimit"),
        (
            OPENBLAS.format("Operation not permitted"),
            {},
            "docker",
            "docker run --security-opt seccomp=unconfined IMAGE",
        ),
    ],
)
def test_threads_that_an_import_is_refused(
    text: str, limits: dict[str, Any], container: str, fix: str
) -> None:
    report = report_on(
        machine(
            printed(text),
            Limits={"shm_bytes": GIB, **limits},
            Container={"kind": container, "nvidia_runtime": None},
        )
    )
    first = report.findings[0]
    assert (first.name, first.severity.value) == ("threads-refused", "error")
    assert fix in "\n".join((first.fixes[0].summary, *first.fixes[0].commands))


@pytest.mark.parametrize(
    ("limits", "change", "severity"),
    [
        ({"tasks": 60, "tasks_running": 30}, (), "warning"),
        ({"tasks": 60, "tasks_running": 30}, (NOT_COMPUTED,), "error"),
        ({"tasks": 50}, (), "warning"),
        ({"tasks": 4096, "tasks_running": 900}, (), None),
        ({"tasks": 96_000}, (), None),
        ({"tasks": 100, "tasks_running": 40}, (), None),
    ],
)
def test_a_limit_of_tasks_below_the_threads_of_torch(
    limits: dict[str, Any], change: tuple[Any, ...], severity: str | None
) -> None:
    """The last has room for 60 and for what the doctor itself has running."""
    snapshot = machine(*change, Limits=limits, TorchRuntime={"threads": 64})
    found = dict(names(snapshot))
    assert found.get("threads-refused") == severity


def test_the_limit_of_tasks_of_a_real_user(children: Children) -> None:
    """Root has none; so it is another user who is asked, in a child."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_NPROC, (321, 321))
        if os.getuid() == 0:
            os.setgroups([])
            os.setuid(61_235)
        found = read_limits(context_of(children)).tasks
        os.write(writer, str(found).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert 0 < int(os.read(reader, 64)) <= 321


def test_the_group_that_leaves_the_least_room(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "0::/a/b\n")
    for name, text in {
        "sys/fs/cgroup/a/b/pids.max": "max",
        "sys/fs/cgroup/a/b/pids.current": "7",
        "sys/fs/cgroup/a/pids.max": "100",
        "sys/fs/cgroup/a/pids.current": "93",
        "sys/fs/cgroup/pids.max": "90",
        "sys/fs/cgroup/pids.current": "10",
        "proc/self/status": "CapEff:\t000001ffffffffff\n",
    }.items():
        tree.file(name, text)
    found = read_limits(tree.context())
    assert (found.tasks, found.tasks_running) == (100, 93)


# --- memory ---


@pytest.mark.parametrize(
    ("limit", "available", "expected"),
    [
        (512 << 20, 60 * GIB, "memory-exhausted"),
        (None, 300 << 20, "memory-exhausted"),
        (64 * GIB, 60 * GIB, "torch-import-crashed"),
        (None, 60 * GIB, "torch-import-crashed"),
    ],
)
def test_an_import_that_is_killed(limit: int | None, available: int, expected: str) -> None:
    """With memory left it was somebody else who killed it."""
    snapshot = machine(
        DEAD,
        Host={"memory_available_bytes": available},
        Limits={"cgroup_memory_bytes": limit},
    )
    assert names(snapshot)[0] == (expected, "error")
    assert report_on(snapshot).exit_code == 1


def test_an_import_that_is_killed_in_wsl() -> None:
    """Its memory is what Windows gives it."""
    snapshot = machine(
        DEAD, Host={"memory_available_bytes": 300 << 20}, Container={"wsl": 2, "kind": "none"}
    )
    first = report_on(snapshot).findings[0]
    assert first.name == "memory-exhausted"
    assert ".wslconfig" in first.fixes[0].summary


def test_windows_cannot_promise_the_memory() -> None:
    """Whatever the language of the error."""
    said = "[WinError 1455] 页面文件太小，无法完成操作。 Error loading cublas64_12.dll"
    snapshot = machine(
        TorchImport(outcome="exception", exception="OSError", message=said, seconds=1.0),
        Host={"os": "Windows", "os_id": "windows", "kernel": None, "glibc": None},
    )
    assert names(snapshot)[0] == ("paging-file-too-small", "error")
    first = report_on(snapshot).findings[0].fixes[0]
    assert "paging file" in first.summary


def test_little_memory_alone_is_no_finding() -> None:
    small = {"memory_available_bytes": 400 << 20}
    assert names(machine(Host=small, Limits={"cgroup_memory_bytes": GIB})) == []


# --- room for files ---


def folders(*items: tuple[str, int | None, int | None]) -> TemporaryFolders:
    return TemporaryFolders(
        items=tuple(
            TemporaryFolder(path=path, free_bytes=size, free_files=files)
            for path, size, files in items
        )
    )


HOME = ("/home/user", 50 * GIB, 10**6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (folders(("/tmp", 5 << 20, 9000), HOME), True),
        (folders(("/tmp", 0, 9000), ("/var/tmp", 0, 9000)), True),
        (folders(("/scratch", 9 * GIB, 0), ("/tmp", 1 << 20, 10)), True),
        (folders(("/tmp", None, None)), True),
        (folders(("/tmp", GIB, None)), False),
        # A read-only root with the home of a user who may write there.
        (folders(("/tmp", None, None), ("/var/tmp", None, None), HOME), False),
        # Full, and tempfile goes on to the next.
        (folders(("/tmp", 0, 9000), ("/var/tmp", 5 * GIB, 9000)), False),
        (folders(), False),
    ],
)
def test_room_for_temporary_files(given: TemporaryFolders, expected: bool) -> None:
    found = names(machine(given))
    assert found == ([("no-temporary-folder", "warning")] if expected else [])


def test_a_pod_without_a_folder_for_temporary_files() -> None:
    pod = {"kind": "kubernetes", "nvidia_runtime": None}
    snapshot = machine(folders(("/tmp", None, None)), Container=pod, Limits={"shm_bytes": GIB})
    (one,) = report_on(snapshot).findings
    assert (one.name, one.fixes[0].commands) == ("no-temporary-folder", ())
    assert "emptyDir" in one.fixes[0].summary


def test_an_import_that_needs_a_temporary_file() -> None:
    said = TorchImport(
        outcome="exception",
        seconds=1.0,
        exception="FileNotFoundError",
        message="[Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp', '/']",
    )
    assert names(machine(said, folders(("/tmp", 0, 9))))[0] == ("no-temporary-folder", "error")


def test_a_disk_that_is_really_full(tmp_path: Path, children: Children) -> None:
    """TMPDIR comes first; a small tmpfs is filled."""
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mounted, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs to be root")
    try:
        context = context_of(children, env={"TMPDIR": str(tmp_path)})
        empty = _folder(context, tmp_path)
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "much").write_bytes(bytes(1 << 20))
        full = _folder(context, tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert (empty.free_bytes, full.free_bytes) == (64 << 10, 0)


def _folder(context: Any, path: Path) -> TemporaryFolder:
    known = observe_temporary_folders(context)[TemporaryFolders]
    assert isinstance(known, Observed)
    assert isinstance(known.value, TemporaryFolders)
    first: TemporaryFolder = known.value.items[0]
    assert first.path == str(path)
    return first


def test_folders_that_do_not_exist(tmp_path: Path, children: Children) -> None:
    gone = tmp_path / "gone"
    assert _folder(context_of(children, env={"TMPDIR": str(gone)}), gone).free_bytes is None


def test_a_disk_that_is_only_looked_at_says_nothing_of_room(tree: Tree) -> None:
    """It may be mounted read-only for that."""
    assert isinstance(observe_temporary_folders(tree.context())[TemporaryFolders], Unknown)


# --- the CPU's clock ---


@pytest.mark.parametrize(
    ("driver", "governor", "expected"),
    [
        ("acpi-cpufreq", "powersave", True),
        ("intel_cpufreq", "powersave", True),
        ("amd-pstate", "powersave", True),
        ("intel_pstate", "powersave", False),
        ("amd-pstate-epp", "powersave", False),
        ("acpi-cpufreq", "schedutil", False),
        ("cppc_cpufreq", "ondemand", False),
        (None, None, False),
    ],
)
def test_a_cpu_held_at_its_lowest_clock(
    driver: str | None, governor: str | None, expected: bool
) -> None:
    snapshot = machine(Host={"frequency_driver": driver, "frequency_governor": governor})
    assert names(snapshot) == ([("cpu-at-lowest-clock", "warning")] if expected else [])


# --- a user without a name ---


def test_a_user_without_a_name() -> None:
    said = TorchImport(
        outcome="exception",
        seconds=1.0,
        exception="KeyError",
        message="'getpwuid(): uid not found: 1042'",
    )
    first = report_on(machine(said)).findings[0]
    assert first.name == "user-without-name"
    assert first.fixes[0].commands == ("export USER=user1042",)


def test_a_healthy_machine_has_its_facts_of_these() -> None:
    """As a desktop shows them, with the usual limits of Linux."""
    limits = Limits(
        usable_cpus=16.0,
        affinity_cpus=16,
        cgroup_cpu_quota=None,
        cgroup_memory_bytes=None,
        shm_bytes=16 * GIB,
        shm_free_bytes=16 * GIB,
        open_files=1024,
        tasks=127_000,
    )
    snapshot = machine(limits, folders(("/tmp", 9 * GIB, 10**6)))
    assert names(snapshot) == []
