"""Odd surroundings: few descriptors, no /proc, a full disk. One document, no false verdict."""

import itertools
import json
import os
import shlex
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import envdoctor as envdoctor_package
from tests.conftest import require
from tests.support.doctor import validator
from tests.support.patients import empty_patient, fake_torch

RESERVED = """
import mmap
# As CUDA reserves addresses for all memory of host and GPUs.
kept = mmap.mmap(-1, 1 << 42, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=0)
"""
MANY_STACKS = """
import threading
threading.stack_size(1 << 30)
wait = threading.Event()
threads = [threading.Thread(target=wait.wait, daemon=True) for _ in range(200)]
for thread in threads: thread.start()
wait.set()
"""
"""The threads of a machine with 200 CPUs whose user has `ulimit -s` at 1 GB."""

LARGE_LOG = """
import os
name = __file__ + '.log'
log = os.open(name, os.O_CREAT | os.O_WRONLY)
os.unlink(name)
os.ftruncate(log, 20 << 30)
os.lseek(log, 0, os.SEEK_END)
os.write(log, b'a line more')
"""
"""What a `sitecustomize` appends to; the file has holes, and takes no room."""

SHARED_MEMORY = """
import os
batch = os.memfd_create('batch')
os.ftruncate(batch, 8 << 30)
"""
"""A batch of a worker, in a file without a name."""


def run(target: Path, before: str, *, static: bool = False, inside: tuple[str, ...] = ()) -> str:
    """The document that the doctor prints after a shell has prepared the surroundings."""
    arguments = ["check", "--json", "--timeout", "30", "--python", str(target)]
    doctor = [sys.executable, "-m", "envdoctor", *arguments, *(["--static"] if static else [])]
    done = subprocess.run(
        [*inside, "sh", "-c", f'{before}\nexec "$@"', "sh", *doctor],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert "Traceback" not in done.stdout + done.stderr
    document = json.loads(done.stdout)
    validator().validate(document)
    assert document["exit_code"] == done.returncode
    assert done.returncode in (0, 3, 4), done.stdout
    return str(document.get("verdict", "error"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    patient = empty_patient(tmp_path_factory.mktemp("odd") / "venv")
    fake_torch(patient, "")
    return patient.root


@cache
def usual(target: Path, *, static: bool = False) -> str:
    return run(target, "", static=static)


def few_descriptors(target: Path, number: int, *, static: bool) -> None:
    """That there are so few is a warning by itself."""
    verdict = run(target, f"ulimit -n {number}", static=static)
    assert verdict in ("incomplete", "error", "degraded")


def test_few_descriptors(target: Path) -> None:
    few_descriptors(target, 12, static=False)


@pytest.mark.heavy
@pytest.mark.parametrize("number", range(5, 30))
@pytest.mark.parametrize("static", [True, False])
def test_any_number_of_descriptors(target: Path, number: int, static: bool) -> None:
    few_descriptors(target, number, static=static)


def test_too_few_descriptors_to_begin_are_no_fault_of_the_doctor(target: Path) -> None:
    doctor = [sys.executable, "-m", "envdoctor", "check", "--json", "--python", str(target)]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 6\nexec "$@"', "sh", *doctor],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["type"], document["exit_code"]) == (3, "error", 3)
    assert "`ulimit -n`" in document["message"]
    assert "`ulimit -n`" in done.stderr
    assert "please report it" not in done.stderr


def test_no_file_may_be_written(target: Path) -> None:
    assert run(target, "ulimit -f 0") == usual(target)


@pytest.mark.heavy
@pytest.mark.parametrize("kilobytes", range(100_000, 1_000_000, 50_000))
def test_little_address_space(target: Path, kilobytes: int) -> None:
    assert run(target, f"ulimit -v {kilobytes}") in ("error", usual(target))


CLOSED = [
    " ".join(closed)
    for count in range(4)
    for closed in itertools.combinations(("<&-", ">&-", "2>&-"), count)
]


@pytest.mark.parametrize(
    "redirections",
    [*(pytest.param(one, marks=pytest.mark.heavy) for one in CLOSED[:-1]), CLOSED[-1]],
)
def test_closed_streams(target: Path, redirections: str, tmp_path: Path) -> None:
    """A report in a file is the same; one that cannot be printed is exit 2."""
    doctor = [sys.executable, "-m", "envdoctor", "check", "--json", "--python", str(target)]
    for to_a_file in (True, False):
        file = tmp_path / "report.json"
        command = [*doctor, *(["-o", str(file)] if to_a_file else [])]
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirections}', "sh", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert "Traceback" not in done.stderr
        if not to_a_file and ">&-" in redirections.split():
            assert done.returncode == 2
            continue
        document = json.loads(file.read_text() if to_a_file else done.stdout)
        assert document["verdict"] == usual(target)
        assert done.returncode == document["exit_code"]


def in_a_namespace(*command: str) -> tuple[str, ...]:
    """A command that runs where mounts are its own."""
    inside = ("unshare", "-m", *command)
    try:
        allowed = subprocess.run([*inside, "true"], capture_output=True, check=False).returncode
    except OSError:
        allowed = 1
    require(allowed == 0 or os.geteuid() != 0, "to be allowed to unshare mounts")
    if allowed != 0:
        pytest.skip("needs to be root")
    return inside


EMPTY = "mount -t tmpfs none"
FULL = "mount -t tmpfs -o size=4k none {0}; head -c 9000 /dev/zero >{0}/rest 2>/dev/null"


@pytest.mark.parametrize(
    "before",
    [
        f"{EMPTY} /proc",
        f"{EMPTY} /sys",
        f"{EMPTY} /sys; {EMPTY} /proc",
        "mount --bind /dev/null /bin/sh",
        f"{FULL.format('/mnt')}; {FULL.format('/dev/shm')}; export HOME=/mnt TMPDIR=/mnt",
        "while read -r _ at _; do mount -o remount,ro,bind $at || exit; done </proc/mounts\n"
        "! touch /tmp/new /root/new /dev/shm/new 2>/dev/null || exit 9",
    ],
    ids=["no proc", "no sys", "neither", "no shell", "full", "read-only"],
)
def test_a_system_that_lacks_something(target: Path, before: str) -> None:
    assert run(target, before, inside=in_a_namespace()) == usual(target)


def test_a_system_without_dev(target: Path) -> None:
    assert run(target, f"{EMPTY} /dev", inside=in_a_namespace()) == "incomplete"


def as_another(uid: int, target: Path) -> tuple[str, ...]:
    """A command that runs as a user of no rights, who can read Python, the doctor and the target:
    no home, no file of its own, and no say over any process."""
    another = f"setpriv --reuid={uid} --regid={uid} --clear-groups"
    of_python = {Path(folder) for folder in (sys.prefix, sys.base_prefix)}
    doctor = Path(envdoctor_package.__file__).parents[1]
    before = within_reach(*of_python, doctor, target)
    return in_a_namespace("sh", "-ec", f'{before}\nexec {another} env -i PATH="$PATH" "$@"', "sh")


NOBODY = 65534
OF_NO_OTHER_PROCESS = 61_234
"""A user whose limit of processes nothing else here counts to."""


def test_a_user_of_no_rights(target: Path) -> None:
    usual(target)
    assert run(target, "", inside=as_another(NOBODY, target)) == usual(target)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(
    "number",
    [
        *(pytest.param(number, marks=pytest.mark.heavy) for number in range(1, 24) if number != 8),
        8,
    ],
)
def test_few_processes(target: Path, number: int, static: bool) -> None:
    """Threads count too; root has no such limit."""
    inside = as_another(OF_NO_OTHER_PROCESS, target)
    verdict = run(target, f"prlimit --pid $$ --nproc={number}", static=static, inside=inside)
    assert verdict in ("incomplete", "error", usual(target, static=static))


def within_reach(*folders: Path) -> str:
    """Shell lines, for a namespace, after which everyone can walk to those folders."""
    quoted = [shlex.quote(str(folder)) for folder in folders]
    closed = {
        parent
        for folder in folders
        for parent in folder.parents
        if not parent.stat().st_mode & stat.S_IXOTH
    }
    lines = ["mount -t tmpfs none /mnt"]
    for number, name in enumerate(quoted):
        lines += [f"mkdir /mnt/{number}", f"mount --bind {name} /mnt/{number}"]
    lines += [
        f"mount -t tmpfs -o mode=755 none {shlex.quote(str(parent))}"
        for parent in closed
        if not closed & set(parent.parents)
    ]
    for number, (folder, name) in enumerate(zip(folders, quoted, strict=True)):
        if closed & set(folder.parents):
            lines += [f"mkdir -p {name}", f"mount --bind /mnt/{number} {name}"]
    return "\n".join(lines)


@pytest.mark.parametrize("init", [RESERVED, MANY_STACKS, LARGE_LOG, SHARED_MEMORY])
def test_what_a_healthy_torch_may_take(tmp_path: Path, init: str) -> None:
    """A limit of address space, of private memory or of small files would fail each of these."""
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, init)
    done = subprocess.run(
        [sys.executable, "-m", "envdoctor", "check", "--json", "--python", str(patient.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    imported = json.loads(done.stdout)["facts"]["TorchImport"]["value"]
    assert imported["outcome"] == "ok", imported


def test_a_child_is_restrained(tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    shown = tmp_path / "limits"
    fake_torch(
        patient,
        "import resource, json\n"
        "limits = [resource.getrlimit(kind) for kind in (resource.RLIMIT_FSIZE,"
        " resource.RLIMIT_CORE, resource.RLIMIT_AS)]\n"
        "score = int(open('/proc/self/oom_score_adj').read())\n"
        f"json.dump([limits, score], open({str(shown)!r}, 'w'))\n",
    )
    subprocess.run(
        [sys.executable, "-m", "envdoctor", "check", "--python", str(patient.root)],
        capture_output=True,
        check=False,
    )
    (files, cores, memory), score = json.loads(shown.read_text())
    assert 0 < files[0] <= 64 << 30
    assert (cores[0], memory[0]) == (0, -1)
    assert score >= 500
