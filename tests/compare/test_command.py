"""`envdoctor diff` as a user runs it: files, texts and interpreters, formats and exit codes."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from envdoctor.compare.records import Comparison
from envdoctor.comparing import compared, examined, proved
from envdoctor.errors import BadInput
from envdoctor.facts.documents import facts_document
from envdoctor.options import Options
from envdoctor.render.comparison import render_comparison
from envdoctor.render.json import render_json
from tests.compare.test_pairs import cpu_machine
from tests.importers.test_collect_env import DUMPS
from tests.support.cases import CASES
from tests.support.diagnosis import report_on
from tests.support.doctor import envdoctor, validator
from tests.support.pairs import changed, session, side
from tests.support.patients import Patient, empty_patient, fake_torch

CAPTURED = Path(__file__).parents[1] / "captured"
V1 = Path(__file__).parents[1] / "documents" / "v1"
TEXT = DUMPS / "torch-2.6-two-gpus.txt"

USABLE_TORCH = """
class _Cuda:
    is_available = staticmethod(lambda: False)
cuda = _Cuda()
class ones:
    def __init__(self, *size, device): pass
    def __matmul__(self, other): return self
    def sum(self): return self
    def item(self): return 4.0
"""
"""As much of a torch as a trial needs: it computes on the CPU."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy and a broken machine, as facts and as a report."""
    folder = tmp_path_factory.mktemp("machines")
    for name in ("healthy-gpu", "driver-470-cuda-12"):
        snapshot = CASES[name].snapshot
        (folder / f"{name}.json").write_text(render_json(facts_document(snapshot)))
        (folder / f"report-{name}.json").write_text(render_json(report_on(snapshot)))
    return folder


# --- files ---


def test_two_files_that_differ(files: Path) -> None:
    run = envdoctor("diff", files / "healthy-gpu.json", files / "report-driver-470-cuda-12.json")
    assert (run.exit_code, run.stderr) == (1, "")
    lines = run.stdout.splitlines()
    assert lines[0] == "different: in A healthy, in B broken"
    assert lines[4].startswith("  1  driver 535.183.01 in A, 470.82.01 in B: cu124 needs")
    assert "       explains driver-too-old (ED201), found in B alone" in lines


def in_process(first: Path, second: Path) -> Comparison:
    """The same without a process, for what is not about the command."""
    sides = (examined(session(), str(path), Options()) for path in (first, second))
    return compared(session(), *sides)


def test_facts_and_a_report_of_one_machine_are_the_same(files: Path) -> None:
    found = in_process(files / "healthy-gpu.json", files / "report-healthy-gpu.json")
    assert found.exit_code == 0
    assert render_comparison(found).startswith("the same: in A healthy, in B healthy\n")


def test_the_document_is_valid_and_holds_what_the_text_says(files: Path) -> None:
    pair = files / "healthy-gpu.json", files / "driver-470-cuda-12.json"
    run = envdoctor("diff", "--json", *pair)
    document = run.json
    validator().validate(document)
    assert (document["type"], document["exit_code"]) == ("comparison", run.exit_code)
    first = document["differences"][0]
    assert (first["part"], first["first"], first["second"]) == ("driver", "535.183.01", "470.82.01")
    assert first["explains"][0]["name"] == "driver-too-old"


def test_files_of_schema_1_are_compared() -> None:
    found = in_process(V1 / "facts.json", V1 / "facts-library-removed.json")
    assert found.differences[0].sentence == ("damaged or missing files of torch: none in A, 1 in B")
    assert in_process(V1 / "facts.json", V1 / "facts.json").exit_code == 0


def test_a_text_of_collect_env_beside_facts(files: Path, tmp_path: Path) -> None:
    run = envdoctor("diff", TEXT, files / "healthy-gpu.json", "-o", tmp_path / "diff.md")
    assert (run.exit_code, run.stdout) == (1, "")
    assert run.stderr == f"envdoctor: different, written to {tmp_path / 'diff.md'}\n"
    text = (tmp_path / "diff.md").read_text()
    assert text.startswith("# envdoctor: different:")
    assert "(text of collect_env)" in text
    assert "GPUs: 2 x NVIDIA A100-SXM4-40GB in A, NVIDIA A100-SXM4-80GB in B" in text
    assert "torchvision 0.21.0 is installed in A and not in B" in text
    # What the text would not list is not told as missing.
    assert "filelock" not in text
    assert in_process(TEXT, TEXT).exit_code == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_text_in_the_encoding_of_its_shell(tmp_path: Path, encoding: str) -> None:
    text = TEXT.read_text() + "[pip3] caf\u00e9==1.0\r\n"
    (tmp_path / "env.txt").write_bytes(text.encode(encoding))
    found = in_process(tmp_path / "env.txt", TEXT)
    assert (found.exit_code, found.first.kind) == (0, "collect_env")


# --- this machine ---


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> tuple[Patient, Patient]:
    """Two environments: a torch that works, and an older one."""
    folder = tmp_path_factory.mktemp("patients")
    new, old = empty_patient(folder / "venv-a"), empty_patient(folder / "venv-b")
    fake_torch(new, USABLE_TORCH, "2.13.0+cpu")
    fake_torch(old, USABLE_TORCH, "2.12.0+cpu")
    return new, old


def test_two_environments_of_this_machine(patients: tuple[Patient, Patient]) -> None:
    new, old = patients
    run = envdoctor("diff", new.root, old.python, "--static")
    assert run.exit_code == 1
    lines = run.stdout.splitlines()
    assert lines[0].startswith("different: in A ")
    assert lines[1] == f"  A  {new.python} (this machine now)"
    assert lines[2] == f"  B  {old.python} (this machine now)"
    assert lines[4] == "  1  torch 2.13.0+cpu in A, 2.12.0+cpu in B"
    assert "  2  " not in run.stdout


def test_what_was_recorded_here_is_the_same_here(
    patients: tuple[Patient, Patient], tmp_path: Path
) -> None:
    """Also as another user, in whose home the environment lies under a placeholder."""
    home = tmp_path / "home" / "someone"
    shutil.copytree(patients[0].root, home / "venv", symlinks=True)
    env = {"HOME": str(home), "LD_LIBRARY_PATH": f"{home}/lib", "USER": "someone"}
    target = ("--python", home / "venv")
    envdoctor("collect", *target, "-o", tmp_path / "here.json", env=env)
    assert str(home) not in (tmp_path / "here.json").read_text()
    run = envdoctor("diff", tmp_path / "here.json", *target, env=env)
    assert run.exit_code == 0, run.stdout


def test_a_variable_of_the_other_side_is_tried_here(
    patients: tuple[Patient, Patient], tmp_path: Path
) -> None:
    """The cause is shown, in both directions: it breaks a torch that works, and repairs one."""
    new, _ = patients
    (tmp_path / "shadow" / "torch").mkdir(parents=True)
    (tmp_path / "shadow" / "torch" / "__init__.py").write_text("raise ImportError('another')\n")
    with_shadow = {"PYTHONPATH": str(tmp_path / "shadow")}
    target = ("--python", new.root)
    envdoctor("collect", *target, "-o", tmp_path / "broken.json", env=with_shadow)
    envdoctor("collect", "--static", *target, "-o", tmp_path / "healthy.json")

    run = envdoctor("diff", "--prove", tmp_path / "broken.json", *target)
    assert run.exit_code == 1
    lines = [" ".join(line.split()) for line in run.stdout.splitlines()]
    assert lines[0].startswith("different: here ")
    assert lines[1] == f"here {new.python} (this machine now)"
    assert lines[4].startswith("1 PYTHONPATH: not set here,")
    text = " ".join(lines)
    assert "explains module-shadowing (ED105), found there alone proved here, with" in text
    assert "torch fails (ImportError: another)" in text

    run = envdoctor(
        "diff", "--json", "--prove", tmp_path / "healthy.json", *target, env=with_shadow
    )
    first = run.json["differences"][0]
    assert first["proof"] == (
        "proved here, without PYTHONPATH: torch computes on the CPU alone; as it is, that fails"
    )


def test_what_is_not_here_is_not_tried(tmp_path: Path) -> None:
    other = changed(cpu_machine(), Environment={"variables": {"LD_LIBRARY_PATH": "/nowhere/lib"}})
    (tmp_path / "other.json").write_text(render_json(facts_document(other)))
    here = side(cpu_machine(), "/venv/bin/python", "live")
    there = examined(session(), str(tmp_path / "other.json"), Options())
    found = proved(compared(session(), here, there), here, there)
    (variable,) = (one for one in found.differences if one.name == "LD_LIBRARY_PATH")
    assert variable.proof == "not tried: `/nowhere/lib` is not here"


# --- what cannot be used ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("missing argument",)),
        (("-", "-"), ("standard input", "not both")),
        ((TEXT, TEXT, "--python", "python3"), ("--python", "give one")),
        ((TEXT, TEXT, "--prove"), ("--prove", "recorded side")),
        ((TEXT, "--prove", "--static"), ("--prove", "--static", "give one")),
        ((TEXT, "/bin/ls"), ("not a Python",)),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[object, ...], words: tuple[str, ...]) -> None:
    run = envdoctor("diff", *arguments)  # type: ignore[arg-type]
    assert (run.exit_code, run.stdout) == (2, "")
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("envdoctor: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("/nowhere.json", "cannot read `/nowhere.json`"),
        (__file__, "neither a facts file or report"),
        (str(CAPTURED / "healthy-cpu.txt"), "the text of `python -m torch.utils.collect_env`"),
        (str(DUMPS), "holds no bin/python"),
        ("", "must have a name"),
    ],
)
def test_what_is_neither_recorded_nor_an_interpreter(named: str, words: str) -> None:
    with pytest.raises(BadInput, match=re.escape(words)):
        examined(session(), named, Options(static=True))


def test_a_newer_file_and_a_broken_one_are_refused(tmp_path: Path) -> None:
    newer, broken = tmp_path / "newer.json", tmp_path / "broken.json"
    newer.write_text(json.dumps({"schema_version": 99, "facts": {}}))
    broken.write_text('{"schema_version": 2, "facts": {"Host"')
    with pytest.raises(BadInput, match="update envdoctor"):
        examined(session(), str(newer), Options())
    with pytest.raises(BadInput, match="is not valid JSON"):
        examined(session(), str(broken), Options())


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is no file"):
        examined(session(), str(tmp_path / "pipe"), Options())


def test_nothing_told_on_a_side_is_incomplete(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text(json.dumps({"schema_version": 2, "facts": {}}))
    found = in_process(tmp_path / "empty.json", TEXT)
    assert found.exit_code == 3
    assert render_comparison(found).startswith("nothing differs as far as could be looked: ")
