"""Files that are there and that this user may not read (ED114)."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from envdoctor.facts.libraries import Problem
from envdoctor.facts.python import Distributions
from envdoctor.facts.torch import TorchAbsent, TorchImport
from envdoctor.knowledge import load
from envdoctor.probes.record_child import differences
from envdoctor.probes.torch_build import find_torch
from tests.repair.facts import OWN, REQUIRED, TORCH, findings, interpreter, roots
from tests.repair.test_damaged_files import DamagedFile, damaged, library, resolution

ITEMS = Distributions(items=(TORCH, *REQUIRED))
NOBODY = 65534


def closed(path: str) -> DamagedFile:
    return DamagedFile(path=path, kind="closed", expected="100")


def failed(message: str, exception: str = "ImportError") -> TorchImport:
    return TorchImport(outcome="exception", seconds=1.0, exception=exception, message=message)


def test_a_library_that_only_root_may_read() -> None:
    """The loader says that there is none, and so would a look at the files."""
    lost = "libtorch_cpu.so: cannot open shared object file: No such file or directory"
    gone = Problem(kind="missing", library="libtorch_cpu.so", needed_by="libtorch_python.so")
    files = damaged("torch", closed("torch/lib/libtorch_cpu.so"))
    looked = resolution(library("torch/lib/libtorch_cpu.so", "import", gone), error=lost)
    (first,) = roots(ITEMS, files, looked, failed(lost))
    assert first.code == "ED114"
    assert first.fixes[0].commands == (f"sudo chmod -R a+rX -- {OWN}/torch",)
    everything = findings(ITEMS, files, looked, failed(lost)).values()
    assert not [one for one in everything if one.code in ("ED100", "ED303")]


def test_a_module_that_python_may_not_open_is_named_by_the_exception() -> None:
    text = f"[Errno 13] Permission denied: '{OWN}/torch/functional.py'"
    (first,) = roots(ITEMS, failed(text, "PermissionError"))
    assert (first.code, first.confidence.value) == ("ED114", "certain")


def test_a_folder_that_a_program_may_not_write_to_is_another_matter() -> None:
    text = "[Errno 13] Permission denied: '/root/.cache/torch'"
    (first,) = roots(ITEMS, failed(text, "PermissionError"))
    assert first.code == "ED401"


def test_closed_files_of_a_torch_that_works_are_no_finding() -> None:
    files = damaged("torch", closed("torch/testing/_internal/common_utils.py"))
    assert not findings(ITEMS, files)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_what_is_closed_is_told_from_what_is_missing(tmp_path: Path) -> None:
    """Seen by another user: a file of root's, one below a folder of root's, and none."""
    for name in ("open.py", "own.py", "shut/inner.py", "torch/version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "own.py").chmod(0o600)
    (tmp_path / "shut").chmod(0o700)
    (tmp_path / "torch").chmod(0o700)
    rows = [(one, "", "6") for one in ("open.py", "own.py", "shut/inner.py", "none.py")]
    as_root = [one["path"] for one in differences(str(tmp_path), rows)]
    assert as_root == ["none.py"]
    # What is read and imported for it is there before: the other user may not look where it lies.
    libraries = load().libraries
    assert find_torch([tmp_path], libraries) is not None
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chmod(tmp_path, 0o755)
            os.chdir(tmp_path)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            seen = [f"{one['path']} {one['kind']}" for one in differences(".", rows)]
            seen.append(str(find_torch([Path()], libraries)))
            os.write(write, "\n".join(seen).encode())
        finally:
            # Never a second worker of the tests.
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        told = answer.read().splitlines()
    os.waitpid(child, 0)
    assert told == ["own.py closed", "shut/inner.py closed", "none.py missing", "None"]


def test_packages_that_are_closed_as_a_whole() -> None:
    """As root installs under `umask 077`: what lies there cannot be told, and torch is not gone."""
    nothing = TorchImport(outcome="exception", seconds=1.0, message="No module named 'torch'")
    absent = TorchAbsent(absent=True, searched=(OWN,))
    seen = replace(interpreter(), closed=(OWN,))
    found = findings(Distributions(items=()), absent, nothing, seen)
    assert {one.code for one in found.values()} == {"ED114", "ED401"}
    (first,) = roots(Distributions(items=()), absent, nothing, seen)
    assert first.fixes[0].commands == (f"sudo chmod -R a+rX -- {OWN}",)
    elsewhere = replace(interpreter(), closed=("/root/lib",))
    (first,) = roots(Distributions(items=()), absent, nothing, elsewhere)
    assert first.code == "ED400"


@pytest.mark.parametrize(
    ("file", "opened"),
    [
        ("/home/alice/helper.py", "/home/alice/helper.py"),
        ("/root/x.py", "/root/x.py"),
        (f"{OWN}/numpy/core/x.py", f"{OWN}/numpy"),
        ("/usr/lib/python3/dist-packages/six.py", "/usr/lib/python3/dist-packages/six.py"),
    ],
)
def test_no_home_is_opened_for_a_file_in_it(file: str, opened: str) -> None:
    """Its keys would be open to all as well, and ssh refuses such keys."""
    message = f"[Errno 13] Permission denied: '{file}'"
    failed = TorchImport(
        outcome="exception", seconds=1.0, exception="PermissionError", message=message
    )
    (first,) = roots(ITEMS, failed)
    assert first.fixes[0].commands == (f"sudo chmod -R a+rX -- {opened}",)
