"""Which interpreter is examined by default, in the documented order, and why."""

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from envdoctor.facts import Observed
from envdoctor.facts.python import Interpreter, Target
from envdoctor.probes.built_in_stages import IMPORT
from envdoctor.probes.candidates import problem_on_disk
from envdoctor.probes.choose import UnusableTarget, choose_target
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from tests.support.patients import Patient, empty_patient, fake_torch

DOCTOR = "the doctor's own interpreter"


class Machine:
    """A user's surroundings made of real, small environments."""

    def __init__(self, root: Path, children: Children) -> None:
        self.root = root
        self.children = children
        self.env: dict[str, str] = {"PATH": str(root / "nothing")}
        self.doctor = self.environment("doctor")

    def environment(self, name: str, *, torch: bool = False) -> Patient:
        patient = empty_patient(self.root / name)
        if torch:
            fake_torch(patient, "")
        return patient

    def chosen(self, requested: str | None = None, env: Mapping[str, str] | None = None) -> Target:
        context = context_of(self.children, env=env or self.env, cwd=str(self.root))
        facts = choose_target(requested, context=context, doctor=str(self.doctor.python)).facts
        target = facts[Target]
        assert isinstance(target, Observed)
        assert isinstance(facts[Interpreter], Observed) is (target.value.problem is None)
        return target.value


@pytest.fixture
def machine(tmp_path: Path, children: Children) -> Machine:
    return Machine(tmp_path, children)


def test_the_first_with_a_torch_wins(machine: Machine) -> None:
    machine.environment("active")
    wanted = machine.environment(".venv", torch=True)
    machine.env["VIRTUAL_ENV"] = str(machine.root / "active")
    target = machine.chosen()
    assert target.path == str(wanted.python)
    assert target.chosen_because.startswith("./.venv")
    assert [one.origin for one in target.passed_over] == ["VIRTUAL_ENV"]


def test_the_active_environment_comes_before_conda(machine: Machine) -> None:
    first = machine.environment("first", torch=True)
    second = machine.environment("second", torch=True)
    machine.env.update(CONDA_PREFIX=str(second.root), VIRTUAL_ENV=str(first.root))
    assert machine.chosen().path == str(first.python)


@pytest.mark.parametrize("folder", [False, True])
def test_the_variable_names_the_target(machine: Machine, folder: bool) -> None:
    named = machine.environment("named")
    machine.environment(".venv", torch=True)
    machine.env["ENVDOCTOR_PYTHON"] = str(named.root if folder else named.python)
    target = machine.chosen()
    assert target.path == str(named.python), "also without a torch: it was asked for"
    assert "ENVDOCTOR_PYTHON" in target.chosen_because
    assert machine.chosen(".venv").path == str(machine.root / ".venv" / "bin" / "python")


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("kind", ["nothing", "an empty folder", "another program"])
def test_what_is_no_python_is_refused(machine: Machine, kind: str, by_variable: bool) -> None:
    machine.environment(".venv", torch=True)
    path = machine.root / "named"
    if kind == "an empty folder":
        path.mkdir()
    elif kind == "another program":
        path.write_text("#!/bin/sh\necho hello\n")
        path.chmod(0o755)
    if by_variable:
        machine.env["ENVDOCTOR_PYTHON"] = str(path)
    with pytest.raises(
        UnusableTarget, match=f"{'ENVDOCTOR_PYTHON: ' if by_variable else '^'}`{path}"
    ):
        machine.chosen(None if by_variable else str(path))


def test_a_link_whose_base_is_gone_is_examined(machine: Machine) -> None:
    patient = machine.environment("asked", torch=True)
    patient.python.unlink()
    patient.python.symlink_to(machine.root / "gone" / "python3")
    assert machine.chosen(str(patient.root)).problem == "base-missing"


NOBODY = 65534


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_link_whose_base_this_user_may_not_reach_is_not_gone(children: Children) -> None:
    """A virtual environment of root's own Python, as another user sees it."""
    context = context_of(children)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "shut").mkdir(0o700)
        (folder / "shut" / "python3").symlink_to(sys.executable)
        (folder / "python").symlink_to(folder / "shut" / "python3")
        assert problem_on_disk(str(folder / "python"), context) is None
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setuid(NOBODY)
                os.write(write, repr(problem_on_disk(str(folder / "python"), context)).encode())
            finally:
                # Never a second worker of the tests.
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            told = answer.read()
        os.waitpid(child, 0)
        end = folder / "shut" / "python3"
        assert told == repr(("not-executable", f"its end is `{end}`, where this user may not look"))


def test_the_doctors_own_comes_before_the_path(machine: Machine) -> None:
    fake_torch(machine.doctor, "")
    other = machine.environment("other", torch=True)
    (other.root / "bin" / "python3").symlink_to(other.python)
    machine.env["PATH"] = str(other.root / "bin")
    assert machine.chosen().chosen_because.startswith(DOCTOR)


def test_a_damaged_torch_counts(machine: Machine) -> None:
    damaged = machine.environment(".venv")
    (damaged.site_packages / "torch" / "lib").mkdir(parents=True)
    fake_torch(machine.doctor, "")
    assert machine.chosen().path == str(damaged.python)


def test_without_any_torch_the_first_usable_one_is_taken(machine: Machine) -> None:
    machine.env["VIRTUAL_ENV"] = str(machine.root / "gone")
    machine.environment(".venv")
    target = machine.chosen()
    assert target.chosen_because.startswith("./.venv")
    assert "no interpreter found has a torch" in target.chosen_because
    gone = next(one for one in target.passed_over if one.origin == "VIRTUAL_ENV")
    assert gone.problem == "not-found"


def test_a_folder_a_path_and_a_command_can_be_named(machine: Machine) -> None:
    patient = machine.environment("asked")
    (patient.root / "bin" / "mypython").symlink_to(patient.python)
    machine.env["PATH"] = str(patient.root / "bin")
    assert machine.chosen(str(patient.root)).path == str(patient.python)
    assert machine.chosen(str(patient.python)).path == str(patient.python)
    assert machine.chosen("mypython").path == str(patient.root / "bin" / "mypython")


def test_a_relative_path_is_made_absolute(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = machine.environment("asked")
    monkeypatch.chdir(machine.root)
    assert machine.chosen("asked").path == str(patient.python)
    assert os.path.isabs(machine.chosen("asked/bin/python").path)


def test_static_executes_no_line_of_a_pth_file(machine: Machine, children: Children) -> None:
    patient = machine.environment("asked")
    witness = machine.root / "executed"
    code = f"import pathlib; pathlib.Path({str(witness)!r}).touch()\n"
    (patient.site_packages / "evil.pth").write_text(code)
    (patient.site_packages / "folder.pth").write_text(str(machine.root) + "\n")
    facts = choose_target(
        str(patient.python),
        context=context_of(children, env=machine.env, cwd=str(machine.root)),
        doctor=str(machine.doctor.python),
        static=True,
    ).facts
    interpreter = facts[Interpreter]
    assert isinstance(interpreter, Observed)
    assert not witness.exists()
    assert str(machine.root) in interpreter.value.sys_path
    assert str(patient.site_packages) in interpreter.value.sys_path
    machine.chosen(str(patient.python))
    assert witness.exists(), "without --static the target's sites run as for its user"


@pytest.mark.parametrize(
    "code", ["import os; os._exit(3)", "import ctypes; ctypes.string_at(0)", "raise SystemExit(4)"]
)
def test_a_python_whose_sites_end_it_is_a_python(
    machine: Machine, children: Children, code: str
) -> None:
    patient = machine.environment("asked", torch=True)
    (patient.site_packages / "sitecustomize.py").write_text(code + "\n")
    choice = choose_target(
        str(patient.python),
        context=context_of(children, env=machine.env, cwd=str(machine.root)),
        doctor=str(machine.doctor.python),
        stages=(IMPORT,),
    )
    interpreter, target = choice.facts[Interpreter], choice.facts[Target]
    assert isinstance(interpreter, Observed)
    assert isinstance(target, Observed)
    assert target.value.problem is None
    assert str(patient.site_packages) in interpreter.value.sys_path
    assert choice.stages is not None
    choice.stages.complete()
    assert choice.stages.results()[IMPORT.name].state in ("exit", "signal")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "echo 'python: error while loading shared libraries: libpython3.11.so.1.0: cannot open "
            "shared object file: No such file or directory' >&2; exit 127",
            "libpython3.11.so.1.0",
        ),
        ("kill -SEGV $$", "SIGSEGV"),
        ("exec /bin/sleep 600", "no answer"),
    ],
)
def test_a_program_that_does_not_come_so_far_may_be_a_python(
    machine: Machine, children: Children, body: str, words: str
) -> None:
    program = machine.root / "python"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    target = choose_target(
        str(program),
        context=context_of(children, env=machine.env, cwd=str(machine.root)),
        doctor=str(machine.doctor.python),
        deadline=time.monotonic() + 2,
    ).facts[Target]
    assert isinstance(target, Observed)
    assert target.value.problem == "failed"
    assert words in target.value.detail
