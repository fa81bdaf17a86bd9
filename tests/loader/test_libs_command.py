"""`envdoctor libs`: the tree, one library, JSON, exit codes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.documents import facts_document
from envdoctor.facts.libraries import LibraryResolution, Offer, Owner, Problem, ResolvedLibrary
from envdoctor.render.json import render_json
from tests.conftest import require

NEEDER = "/env/nvidia/cusparse/lib/libcusparse.so.12"
HEALTHY = ResolvedLibrary(
    soname="libcusparse.so.12",
    path=NEEDER,
    named=NEEDER,
    rule="RPATH",
    directory="/env/nvidia/cusparse/lib",
    rule_of="/env/torch/lib/libtorch_cuda.so",
    needed_by=("/env/torch/lib/libtorch_cuda.so",),
    mapped=True,
    owner=Owner(kind="wheel", name="nvidia-cusparse-cu12", version="12.3.1.170", intact=True),
    version="12.3.1.170",
)
SHADOWED = ResolvedLibrary(
    soname="libnvJitLink.so.12",
    path="/usr/local/cuda/lib64/libnvJitLink.so.12.1.105",
    named="/usr/local/cuda/lib64/libnvJitLink.so.12",
    rule="LD_LIBRARY_PATH",
    directory="/usr/local/cuda/lib64",
    needed_by=(NEEDER,),
    version="12.1.105",
    clean_path="/env/nvidia/nvjitlink/lib/libnvJitLink.so.12",
    alternatives=(
        Offer(
            path="/env/nvidia/nvjitlink/lib/libnvJitLink.so.12", rule="RUNPATH", version="12.4.127"
        ),
    ),
    problems=(
        Problem(
            kind="symbol",
            library="libnvJitLink.so.12",
            needed_by=NEEDER,
            path="/usr/local/cuda/lib64/libnvJitLink.so.12",
            names=("__nvJitLinkComplete_12_4",),
        ),
    ),
)
MISSING = ResolvedLibrary(
    soname="libnccl.so.2",
    path=None,
    needed_by=("/env/torch/lib/libtorch_cuda.so",),
    problems=(
        Problem(
            kind="missing", library="libnccl.so.2", needed_by="/env/torch/lib/libtorch_cuda.so"
        ),
    ),
)
DRIVER = ResolvedLibrary(
    soname="libcuda.so.1", path=None, how="dlopen", when="use", optional=True, needed_by=("/x",)
)


@pytest.fixture
def facts(tmp_path: Path):
    """A facts file with these libraries (synthetic)."""

    def write(*libraries: ResolvedLibrary, error: str | None = None) -> str:
        fact = LibraryResolution(root="/env/torch/_C.so", libraries=libraries, import_error=error)
        snapshot = Snapshot({LibraryResolution: Observed(value=fact, source="synthetic")})
        path = tmp_path / "facts.json"
        path.write_text(render_json(facts_document(snapshot)))
        return str(path)

    return write


def libs(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envdoctor", "libs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_tree_says_file_rule_and_owner(facts):
    result = libs("--facts", facts(HEALTHY, DRIVER))
    assert result.returncode == 0, result.stderr
    assert "libcusparse.so.12  RPATH  (nvidia-cusparse-cu12 12.3.1.170)" in result.stdout
    assert NEEDER in result.stdout
    assert "libcuda.so.1" in result.stdout
    assert "!!" not in result.stdout
    assert "`import torch` will find all that it loads" in result.stdout


def test_what_is_wrong_is_marked_and_makes_the_exit_code_1(facts):
    error = f"{NEEDER}: undefined symbol: __nvJitLinkComplete_12_4"
    result = libs("--facts", facts(HEALTHY, SHADOWED, MISSING, error=error))
    assert result.returncode == 1
    assert "!! libnvJitLink.so.12  LD_LIBRARY_PATH  (12.1.105)" in result.stdout
    assert "in place of /env/nvidia/nvjitlink/lib/libnvJitLink.so.12" in result.stdout
    assert "libcusparse.so.12 needs `__nvJitLinkComplete_12_4`" in result.stdout
    assert "!! libnccl.so.2" in result.stdout
    assert f"`import torch` will fail: {error}" in result.stdout


def test_what_several_ask_for_in_vain_is_told_once_with_the_next_step(facts):
    askers = ("/env/torch/lib/libtorch_cpu.so", "/env/torch/lib/libshm.so")
    problems = tuple(
        Problem(
            kind="unreadable", library="libc10.so", needed_by=one, detail="the file is cut short"
        )
        for one in askers
    )
    cut = ResolvedLibrary(
        soname="libc10.so", path=None, how="needed", when="import", problems=problems
    )
    told = libs("--facts", facts(cut, error="libc10.so: the file is cut short")).stdout
    assert "not found" not in told
    assert told.count("cannot be loaded: the file is cut short") == 1
    assert told.endswith("how to repair it: `envdoctor check`\n")


def test_one_library_is_explained(facts):
    result = libs("libnvJitLink.so.12", "--facts", facts(HEALTHY, SHADOWED))
    assert "also there  /env/nvidia/nvjitlink/lib/libnvJitLink.so.12  [RUNPATH]" in result.stdout
    assert "opened as   /usr/local/cuda/lib64/libnvJitLink.so.12" in result.stdout
    assert libs("libnvJitLink", "--facts", facts(HEALTHY, SHADOWED)).stdout == result.stdout


def test_an_unknown_library_is_bad_input_with_the_nearest_name(facts):
    result = libs("libcusparce.so.12", "--facts", facts(HEALTHY), "--json")
    assert result.returncode == 2
    assert "did you mean `libcusparse.so.12`" in result.stderr
    assert json.loads(result.stdout)["exit_code"] == 2


def test_the_json_has_the_promised_keys(facts):
    result = libs("--json", "--facts", facts(SHADOWED))
    (library,) = json.loads(result.stdout)["libraries"]
    promised = [
        "soname",
        "path",
        "rule",
        "needed_by",
        "how",
        "owner",
        "version",
        "alternatives",
        "problems",
    ]
    assert set(promised) <= set(library)
    assert library["how"] == "needed"


def test_facts_without_a_resolution_are_bad_input(tmp_path: Path):
    path = tmp_path / "facts.json"
    path.write_text(render_json(facts_document(Snapshot({}))))
    result = libs("--facts", str(path))
    assert result.returncode == 2
    assert "could not be worked out" in result.stderr


def test_the_installed_torch_is_checked_against_what_is_mapped():
    require(importlib.util.find_spec("torch") is not None, "torch beside the tests")
    result = libs("--json", "--python", sys.executable)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["differences"] == []
    assert document["import_error"] is None
    static = json.loads(libs("--json", "--static", "--python", sys.executable).stdout)
    assert static["differences"] is None
    assert static["libraries"] == document["libraries"]


@pytest.mark.parametrize("end", ["raise ImportError('x')", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_an_import_that_fails_for_another_reason_is_told(tmp_path: Path, end: str):
    require((torch := importlib.util.find_spec("torch")) is not None, "torch beside the tests")
    package = tmp_path / "torch"
    package.mkdir()
    for path in Path(torch.origin).parent.iterdir():
        (package / path.name).symlink_to(path)
    (package / "__init__.py").unlink()
    (package / "__init__.py").write_text(f"import os, signal\n{end}\n")
    command = [sys.executable, "-m", "envdoctor", "libs", "--python", sys.executable]
    variables = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert result.returncode == 1, result.stderr
    assert "fails for another reason: `envdoctor check` tells it" in result.stderr
