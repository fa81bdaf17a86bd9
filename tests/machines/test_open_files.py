"""How many files a process may have open: usual limits, too low ones, and one that was reached."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envdoctor.api import (
    Attempt,
    CompanionImport,
    CompanionImports,
    CompileAttempts,
    FirstUse,
    Snapshot,
    TorchFirstUse,
    TorchImport,
)
from envdoctor.findings import Finding
from envdoctor.probes.context import context_of
from envdoctor.probes.limits import read_limits
from envdoctor.probes.run import Children
from tests.conftest import require
from tests.support.diagnosis import report_on
from tests.support.doctor import envdoctor
from tests.support.machines import machine
from tests.support.patients import empty_patient, fake_torch, has_torch

GIB = 2**30


def limited(
    soft: int | None, *changes: Any, cpus: int = 16, hard: int | None = 524288, **fields: Any
) -> Snapshot:
    """A machine with so many CPUs, whose processes may have so many files open."""
    limits = {
        "open_files": soft,
        "open_files_hard": hard,
        "usable_cpus": float(cpus),
        "affinity_cpus": cpus,
        "shm_bytes": 8 * GIB,
    }
    host = {"logical_cpus": cpus, "physical_cpus": cpus, **fields.pop("Host", {})}
    return machine(*changes, Limits=limits, Host=host, **fields)


def of_files(snapshot: Snapshot) -> list[Finding]:
    return [one for one in report_on(snapshot).findings if one.code == "ED431"]


# --- a limit by itself ---


@pytest.mark.parametrize("cpus", [1, 2, 8, 30, 31, 64, 256])
@pytest.mark.parametrize("limit", [1024, 256, 4096, 1048576, None])
def test_what_a_system_gives_by_itself_is_no_finding(limit: int | None, cpus: int) -> None:
    """Linux 1024, macOS 256, containers a million or no limit; on machines of any size."""
    assert report_on(limited(limit, cpus=cpus)).findings == ()


@pytest.mark.parametrize(
    ("limit", "cpus", "expected"),
    [
        (255, 256, True),
        (255, 30, True),
        (200, 16, False),
        (144, 16, False),
        (143, 16, True),
        (64, 4, False),
        (48, 1, False),
        (47, 1, True),
        (20, 8, True),
    ],
)
def test_a_limit_below_what_a_dataloader_takes(limit: int, cpus: int, expected: bool) -> None:
    found = report_on(limited(limit, cpus=cpus)).findings
    names = [("too-few-open-files", "warning")] if expected else []
    assert [(one.name, one.severity.value) for one in found] == names


def test_it_explains_no_other_failure() -> None:
    """What fails for another reason keeps its own cause."""
    other = TorchImport(
        outcome="exception", seconds=1.0, exception="ImportError", message="libfoo.so.1: bad"
    )
    report = report_on(limited(32, other))
    assert report.findings[0].name == "torch-import-failed"
    assert [one.because for one in of_files(limited(32, other))] == [None]


IN_SLURM = {"Environment": {"variables": {"SLURM_JOB_ID": "4711"}}}


@pytest.mark.parametrize(
    ("hard", "fields", "expected"),
    [
        (524288, {}, "ulimit -Sn 65536"),
        (4096, {}, "ulimit -Sn 4096"),
        (None, {}, "ulimit -Sn 65536"),
        (64, {}, "/etc/security/limits.d/nofile.conf"),
        (4096, {}, "/etc/security/limits.d/nofile.conf"),
        (64, {}, "LimitNOFILE="),
        (64, {"kind": "docker"}, "docker run --ulimit nofile=65536:65536 IMAGE"),
        (64, {"kind": "podman"}, "podman run --ulimit nofile=65536:65536 IMAGE"),
        (64, {"kind": "kubernetes"}, "LimitNOFILE of the unit of containerd"),
        (64, {"kind": "lxc"}, "on the host, not in this container"),
        (64, {"kind": "docker", "service": "colab"}, "the service that runs this container"),
        (64, {"slurm": True}, "before `sbatch`"),
        (64, {"macos": True}, "sudo launchctl limit maxfiles 10240 10240"),
        (10240, {"macos": True}, "ulimit -Sn 10240"),
        (64, {}, "set_sharing_strategy('file_system')"),
    ],
)
def test_it_is_raised_where_it_is_set(
    hard: int | None, fields: dict[str, Any], expected: str
) -> None:
    changes: dict[str, Any] = {}
    if "kind" in fields:
        changes["Container"] = {"nvidia_runtime": True, **fields}
    if "slurm" in fields:
        changes |= IN_SLURM
    if "macos" in fields:
        changes["Host"] = {"os": "macOS", "os_id": "darwin", "kernel": "24.1.0", "glibc": None}
    (one,) = of_files(limited(64, hard=hard, **changes))
    told = [line for fix in one.fixes for line in (fix.summary, *fix.commands)]
    assert expected in "\n".join(told)
    raised = [line for line in told if line.startswith("ulimit -Sn")]
    assert bool(raised) is (hard != 64), "beyond the hard limit nobody raises it by himself"


# --- a limit that was reached ---

PYTHON = "[Errno 24] Too many open files: '/opt/venv/lib/python3.12/site-packages/torch/_C'"
LOADER = "libtorch_cpu.so: cannot open shared object file: Too many open files"
OF_PYTHON = "libffi.so.7: cannot open shared object file: Error 24"
SHARED = "unable to open shared memory object </torch_7_1> in read-write mode: Too many open files"
OF_ALL = "[Errno 23] Too many open files in system: '/dev/shm/torch_7'"


def raised(message: str, **fields: Any) -> TorchImport:
    return TorchImport(
        outcome="exception", exception="OSError", message=message, seconds=1.0, **fields
    )


@pytest.mark.parametrize("said", [PYTHON, LOADER, OF_PYTHON, OF_ALL])
@pytest.mark.parametrize("limit", [40, 1024, None])
def test_an_import_that_may_open_no_more(said: str, limit: int | None) -> None:
    """Whatever the limit; neither is torch damaged nor a library missing."""
    report = report_on(limited(limit, raised(said)))
    root, *rest = report.findings
    assert (root.name, root.severity.value) == ("too-few-open-files", "error")
    assert root.breaks == ("import:torch",)
    assert [(one.name, one.because) for one in rest] == [("torch-import-failed", root.id)]
    told = "fs.file-max" if said == OF_ALL else "opens no more" if limit is None else str(limit)
    assert told in root.message
    fix = "\n".join(line for one in root.fixes for line in one.commands)
    assert ("sysctl fs.file-max" in fix) is (said == OF_ALL)
    assert ("ulimit -Sn 65536" in fix) is (said != OF_ALL)


def test_an_interpreter_that_does_not_come_to_begin() -> None:
    said = "python: can't open file 'start.py': [Errno 24] Too many open files"
    ended = TorchImport(outcome="exit", exit_code=2, seconds=0.1, output_tail=said)
    root = report_on(limited(64, ended)).findings[0]
    assert root.name == "too-few-open-files"


def test_a_first_use_a_companion_and_a_compilation() -> None:
    """Each breaks its own outcome."""
    use = TorchFirstUse(operations=(FirstUse(device="cpu", operation="matmul", error=SHARED),))
    beside = CompanionImports(
        items=(CompanionImport(name="torchvision", outcome="exception", message=PYTHON),)
    )
    tried = CompileAttempts(items=(Attempt(on="cpu", error="RuntimeError", output=PYTHON),))
    report = report_on(limited(1024, use, beside, tried))
    (one,) = (one for one in report.findings if one.code == "ED431")
    assert {*one.breaks} == {"import:torchvision", "compute:cpu", "compile:cpu"}
    assert one.severity.value == "error"


@pytest.mark.parametrize(
    "imported",
    [
        raised("[Errno 24] inotify instance limit reached"),
        # What PYTHONPATH brings in keeps them open, and has its own finding.
        raised(PYTHON, isolated_outcome="ok"),
        raised("[Errno 2] No such file or directory: '24'"),
    ],
)
def test_what_is_no_want_of_descriptors(imported: TorchImport) -> None:
    assert of_files(limited(1024, imported)) == []


# --- real ones ---


def test_the_limits_of_this_process(children: Children) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 777), hard))
    try:
        found = read_limits(context_of(children))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.open_files == min(soft, 777)
    assert found.open_files_hard == (None if hard == resource.RLIM_INFINITY else hard)


HOLDS_ALL = """
import os
held = []
try:
    while True:
        held.append(os.open('/dev/null', os.O_RDONLY))
except OSError:
    pass
import json.tool
"""


def test_a_real_import_that_leaves_no_descriptor(tmp_path: Path) -> None:
    """Of a torch that opens all it may; the doctor itself has room for its own work."""
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, HOLDS_ALL)
    report = envdoctor("check", "--json", "--python", patient.root).json
    root = report["findings"][0]
    assert (root["name"], root["severity"]) == ("too-few-open-files", "error")
    assert "damaged-install" not in {one["name"] for one in report["findings"]}


LOADS = """
import os, resource, sys
import torch
from torch.utils.data import DataLoader, TensorDataset

limit, workers = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
pairs = TensorDataset(torch.ones(400, 8), torch.ones(400))
print(sum(1 for _ in DataLoader(pairs, batch_size=2, num_workers=workers)))
"""


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("limit", "workers", "works"),
    [
        (48, 4, True),
        (80, 8, True),
        (144, 16, True),
        (256, 30, True),
        (20, 4, False),
        (32, 8, False),
    ],
)
def test_what_a_real_dataloader_takes(limit: int, workers: int, works: bool) -> None:
    """What is said to be enough is, and with far less it ends as the message says."""
    require(has_torch(), "torch")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADS, str(limit), str(workers)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if works:
        assert done.stdout.split() == ["200"], done.stderr
    else:
        assert "Too many open files" in done.stderr
