"""`check --try`: what is compiled in the target, with real children; a broken compiler for each."""

import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from envdoctor.api import CompileAttempts, ExtendAttempts, Reason
from envdoctor.collect import collect
from envdoctor.facts import Snapshot, Unknown
from envdoctor.options import Options, Tried
from envdoctor.plugin_loading import load_plugins
from envdoctor.probes.run import Children
from tests.conftest import require
from tests.probes.test_stages import FINE, target_only
from tests.support.doctor import envdoctor, report_of
from tests.support.patients import empty_patient, fake_torch, has_torch

SMALL = """
import sys
class version:
    cuda = None
class Tensor:
    def __init__(self, value): self.value = value
    def __mul__(self, other): return Tensor(self.value * other)
    def __add__(self, other): return Tensor(self.value + other)
    def __sub__(self, other): return Tensor(self.value - other)
    def __eq__(self, other): return Tensor(self.value == other)
    def relu(self): return Tensor(max(self.value, 0))
    def all(self): return self
    def item(self): return self.value
def ones(*shape, device): return Tensor(1.0)
def allclose(one, other): return one.value == other.value
class cuda:
    is_available = staticmethod(lambda: {gpus} > 0)
    device_count = staticmethod(lambda: {gpus})
class compiler:
    active = False
    is_compiling = staticmethod(lambda: compiler.active)
def compile(function, dynamic):
    def run(*arguments):
        compiler.active = {active}
        try:
            {before}
            return function(*arguments)
        finally:
            compiler.active = False
    return run
"""
"""A torch that has what the attempt asks of one."""


def small_torch(gpus: int = 0, active: bool = True, before: str = "pass") -> str:
    return FINE + SMALL.format(gpus=gpus, active=active, before=before)


def examined(
    children: Children, folder: Path, torch: str, *tried: Tried, timeout_s: float = 60.0
) -> Snapshot:
    patient = empty_patient(folder)
    fake_torch(patient, torch)
    options = Options(
        python=str(patient.python), companions="none", tried=tried, timeout_s=timeout_s
    )
    return collect(options, target_only(load_plugins()), children=children, services={})


@pytest.mark.parametrize(
    ("torch", "errors"),
    [
        (small_torch(), {"cpu": None}),
        (small_torch(gpus=2), {"cpu": None, "cuda:0": None, "cuda:1": None}),
        (small_torch(before="raise OSError(28, 'full', '/c')"), {"cpu": "[Errno 28] full: '/c'"}),
        (
            small_torch(active=False),
            {"cpu": "torch.compile left the function as it is and compiled nothing"},
        ),
        (small_torch(before="function = lambda x: Tensor(7.0)"), {"cpu": "wrong result"}),
    ],
    ids=["works", "on-two-gpus", "raises", "does-nothing", "is-wrong"],
)
def test_what_torch_compile_does_is_seen(
    children: Children, tmp_path: Path, torch: str, errors: Mapping[str, str | None]
) -> None:
    found = examined(children, tmp_path / "venv", torch, "compile").value(CompileAttempts)
    assert found is not None
    assert {one.on: one.error for one in found.items} == errors


def test_what_compilers_print_for_a_gpu_is_kept_and_restored(
    children: Children, tmp_path: Path
) -> None:
    before = "sys.modules['os'].system('echo main.c: fatal error >&2'); raise OSError('gcc')"
    torch = small_torch(gpus=1, before=before)
    found = examined(children, tmp_path / "venv", torch, "compile").value(CompileAttempts)
    assert found is not None
    on_cpu, on_gpu = found.items
    assert (on_cpu.output, on_gpu.output) == ("", "main.c: fatal error\n")


def test_what_was_not_asked_for_is_not_run_and_says_how(children: Children, tmp_path: Path) -> None:
    snapshot = examined(children, tmp_path / "venv", small_torch(), "compile")
    left_out = snapshot.get(ExtendAttempts)
    assert isinstance(left_out, Unknown)
    assert left_out.reason is Reason.SWITCHED_OFF
    assert left_out.detail == "`envdoctor check --try extend` tries it"


def test_a_compiler_that_hangs_has_its_time(children: Children, tmp_path: Path) -> None:
    began = time.monotonic()
    torch = small_torch(before="__import__('time').sleep(60)")
    snapshot = examined(children, tmp_path / "venv", torch, "compile", timeout_s=2.0)
    found = snapshot.get(CompileAttempts)
    assert isinstance(found, Unknown)
    assert found.reason is Reason.TIMED_OUT
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--static",), "--static executes nothing"),
        (("--scope", "node"), "--scope node looks at no target"),
        (("--facts", "facts.json"), "--facts diagnoses recorded facts"),
        (("--try", "fly"), "--try `fly` is nothing to try"),
    ],
)
def test_what_contradicts_it_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    run = envdoctor("check", "--try", "compile", *arguments)
    assert run.exit_code == 2
    assert words in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


# --- a real torch ---

real = pytest.mark.skipif(not has_torch(), reason="needs a torch")


def roots(report: dict[str, object]) -> list[str]:
    findings = report["findings"]
    assert isinstance(findings, list)
    return [one["code"] for one in findings if one["because"] is None]


def states(report: dict[str, object]) -> dict[str, str]:
    outcomes = report["outcomes"]
    assert isinstance(outcomes, list)
    return {
        f"{one['action']}:{one['subject']}": one["state"]
        for one in outcomes
        if one["action"] in ("compile", "extend")
    }


@real
def test_a_machine_without_compilers_matters_to_who_asks(tmp_path: Path) -> None:
    empty = {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    report = report_of("--python", sys.executable, "--try", "compile,extend", env=empty)
    assert sorted(roots(report)) == ["ED380", "ED382"]
    assert states(report) == {"compile:cpu": "fails", "extend:C++": "fails"}


def test_a_machine_without_compilers_is_as_well_where_nobody_asks(tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, small_torch())
    (tmp_path / "policy.toml").write_text('outcomes = ["compile"]')
    report = report_of(
        *("--python", patient.python, "--policy", tmp_path / "policy.toml"),
        env={"PATH": str(tmp_path)},
    )
    assert states(report) == {"compile:": "unseen"}
    details = [one["detail"] for one in report["outcomes"] if one["action"] == "compile"]
    assert details == ["a diagnosis does not try it; `envdoctor check --try compile` does"]
    assert not {"ED380", "ED381", "ED382"} & {one["code"] for one in report["findings"]}


@real
@pytest.mark.heavy
def test_a_healthy_machine_compiles_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "policy.toml").write_text('outcomes = ["compile", "extend"]')
    report = report_of(
        *("--python", sys.executable, "--try", "compile", "--try", "extend"),
        *("--policy", tmp_path / "policy.toml"),
        env={"TMPDIR": str(tmp_path / "tmp"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        timeout_s=400,
    )
    assert report["verdict"] == "healthy"
    assert states(report) == {"compile:cpu": "works", "extend:C++": "works"}
    assert not list((tmp_path / "tmp").glob("envdoctor-*"))
    processes = Path("/proc").glob("[0-9]*/environ")
    assert not [one for one in processes if str(tmp_path).encode() in _read(one)]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, mounted noexec."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "noexec,size=200m", "tmpfs", str(folder)]
    done = subprocess.run(line, capture_output=True, check=False)
    require(done.returncode == 0, "the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@real
@pytest.mark.heavy
def test_folders_that_are_mounted_noexec(mounted: Path) -> None:
    env = {"TMPDIR": str(mounted), "TORCHINDUCTOR_CACHE_DIR": str(mounted / "cache")}
    report = report_of(
        "--python", sys.executable, "--try", "compile,extend", env=env, timeout_s=400
    )
    assert set(roots(report)) == {"ED383"}
    assert states(report) == {"compile:cpu": "fails", "extend:C++": "fails"}


@real
@pytest.mark.heavy
def test_a_cache_folder_that_is_read_only(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    env = {"TORCHINDUCTOR_CACHE_DIR": str(mounted)}
    report = report_of("--python", sys.executable, "--try", "compile", env=env, timeout_s=400)
    assert roots(report) == ["ED384"]


@real
@pytest.mark.heavy
def test_a_python_without_its_headers(tmp_path: Path) -> None:
    """A copy of the interpreter beside which there is no `include`."""
    base = Path(sys.base_prefix)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    copied = tmp_path / "python"
    shutil.copytree(
        base / "lib" / name,
        copied / "lib" / name,
        ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__"),
    )
    (copied / "bin").mkdir()
    shutil.copy(base / "bin" / name, copied / "bin" / "python")
    site = copied / "lib" / name / "site-packages"
    site.mkdir()
    (site / "torch.pth").write_text(sysconfig.get_paths()["purelib"])
    report = report_of(
        *("--python", copied / "bin" / "python", "--try", "compile,extend"),
        env={"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        timeout_s=400,
    )
    assert "ED381" in roots(report)
    assert states(report) == {"compile:cpu": "fails", "extend:C++": "fails"}
