"""Everything that a user can give wrongly: one clear line or a finding, never a traceback."""

import json
import os
import shutil
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support.doctor import envdoctor, names, report_of, validator

RECORDED = Path(__file__).parents[1] / "captured" / "healthy-cpu.json"
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"


def refused(run: object, *words: str) -> None:
    """The run ended with exit code 2 and one line that holds these words."""
    assert run.exit_code == 2, run.stderr
    # A machine under load is told what is waited for, after five seconds.
    told = run.stderr.strip().splitlines()
    lines = [line for line in told if not line.startswith("still waiting for ")]
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("envdoctor: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nothing", "there is no such file"),
        ("folder", "holds no bin/python"),
        ("program", "it is not a Python"),
    ],
)
def test_a_target_that_is_no_python(
    tmp_path: Path, kind: str, words: str, by_variable: bool
) -> None:
    path = tmp_path / "named"
    if kind == "folder":
        path.mkdir()
    elif kind == "program":
        path.write_text("#!/bin/sh\necho hello\n")
        path.chmod(0o755)
    named = {"env": {"ENVDOCTOR_PYTHON": str(path)}} if by_variable else {}
    options = [] if by_variable else ["--python", path]
    refused(envdoctor("check", *options, **named), str(path), words)
    for command in ("collect", "libs", "prescribe", "calibrate"):
        refused(envdoctor(command, *options, **named), str(path))
    refused(envdoctor("diff", RECORDED, *options, **named), str(path))
    run = envdoctor("check", "--json", *options, **named)
    assert (run.exit_code, run.json["type"]) == (2, "error")


def test_no_command_is_given_for_a_python_that_dies(tmp_path: Path) -> None:
    """What the doctor would have it install, it could not."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    python.chmod(0o755)
    assert names(report_of("--python", python)) == ["target-unusable"]
    for command in ("prescribe", "calibrate"):
        refused(envdoctor(command, "--python", python), str(python), "SIGSEGV")


def test_a_file_that_is_not_executable(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\n")
    assert report_of("--python", tmp_path / "python")["target"]["problem"] == "not-executable"


@pytest.mark.parametrize("body", ["#!/no/such/interpreter\n", "\x7fELF"])
def test_a_program_that_cannot_be_started(tmp_path: Path, body: str) -> None:
    program = tmp_path / "python"
    program.write_text(body)
    program.chmod(0o755)
    report = report_of("--python", program)
    assert names(report) == ["target-unusable"]
    assert report["target"]["problem"] == "not-executable"


def test_a_venv_whose_base_is_gone(tmp_path: Path) -> None:
    base = tmp_path / "base" / "python3"
    base.parent.mkdir()
    shutil.copy(sys.executable, base)
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(base)
    base.unlink()
    report = report_of("--python", folder)
    assert report["target"]["problem"] == "base-missing"
    fixes = report["findings"][0]["fixes"]
    assert any(f"python3 -m venv --clear {folder}" in fix["commands"] for fix in fixes)


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_a_python_that_is_too_old(version: str) -> None:
    found = sorted(PYENV.glob(f"{version}.*/bin/python{version}"))
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    report = report_of("--python", found[0])
    assert names(report)[0] == "python-too-old"
    assert f"Python {version}." in report["findings"][0]["message"]
    # The last torch for it, or which Python to take: no reason to refuse the question.
    assert envdoctor("prescribe", "--python", found[0]).exit_code in (0, 1)


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.12", "3.13"])
def test_every_supported_python_is_examined(version: str) -> None:
    found = sorted(PYENV.glob(f"{version}.*/bin/python{version}"))
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    report = report_of("--python", found[0])
    assert names(report)[0] == "torch-not-installed"
    assert report["stack"]["python"].startswith(version)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b'{"type": "facts", "facts": {', "is not valid JSON"),
        (b'{"schema_version": 99, "facts": {}}', "update envdoctor"),
        (b'{"schema_version": "one", "facts": {}}', "`schema_version` is 'one'"),
        (b"[1, 2]", "holds no facts"),
        (b'{"schema_version": 1, "facts": []}', "holds no facts"),
        (b"\xff\xfe\x00garbage", "is not valid JSON"),
        (
            b'{"schema_version": 1, "facts": {"Host": {"type": "Observed", "value": 3, '
            b'"source": "x"}}}',
            "fact `Host`",
        ),
    ],
)
def test_facts_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "facts.json"
    file.write_bytes(content)
    refused(envdoctor("check", "--facts", file), f"`{file}`", words)


def test_facts_that_are_far_too_large(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    with file.open("wb") as stream:
        stream.truncate(100 * 2**20)
    refused(envdoctor("check", "--facts", file), "is 100 MiB")


def test_facts_that_are_not_there(tmp_path: Path) -> None:
    refused(envdoctor("check", "--facts", tmp_path / "none"), "No such file")


@pytest.mark.parametrize("command", ["check", "libs", "prescribe"])
def test_facts_that_would_be_waited_for_without_end(tmp_path: Path, command: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for file in (pipe, "/dev/zero", tmp_path):
        refused(envdoctor(command, "--facts", file, timeout_s=30), f"`{file}`", "no file")


@pytest.mark.parametrize("command", ["check", "libs", "prescribe"])
def test_facts_without_a_name(command: str) -> None:
    refused(envdoctor(command, "--facts", ""), "must have a name")
    refused(envdoctor(command, "--facts", "", "--python", sys.executable), "give one")


def test_facts_that_are_nested_without_end(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text("[" * 200_000)
    refused(envdoctor("check", "--facts", file), "nested too deeply")


def test_a_baseline_that_would_be_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(envdoctor("calibrate", "--baseline", tmp_path / "pipe"), "no file")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "0", "-1", "1e999"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("check", "--timeout"),
        ("collect", "--timeout"),
        ("tui", "--timeout"),
        ("calibrate", "--budget"),
        ("calibrate", "--training-rate"),
    ],
)
def test_times_that_do_not_end(command: str, option: str, number: str) -> None:
    refused(envdoctor(command, option, number), f"'{option}'")


def test_bad_input_with_json_is_a_json_document(tmp_path: Path) -> None:
    run = envdoctor("check", "--json", "--facts", tmp_path / "none")
    assert run.exit_code == 2
    assert run.json["type"] == "error"
    assert "No such file" in run.json["message"]


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    report = tmp_path / "missing" / "report.json"
    refused(envdoctor("check", "--python", sys.executable, "--static", "-o", report), "-o")


def test_an_output_is_whole_or_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")
    run = envdoctor("check", "--python", sys.executable, "--static", "-o", file)
    assert run.stdout == ""
    validator().validate(json.loads(file.read_text()))
    assert stat.S_IMODE(file.stat().st_mode) & 0o600 == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chekc"], "chekc"),
        (["check", "--expect", "tpu"], "tpu"),
        (["check", "--only", "driver-to-old"], "did you mean `driver-too-old`"),
        (["check", "--skip", "ED201,driver-to-old"], "did you mean `driver-too-old`"),
        (["check", "--only", "ED201,"], "`` is no code"),
        (["tui", "--only", "nothing-like-it"], "`envdoctor rules` lists them"),
        (["check", "--timeout", "0"], "--timeout"),
        (["check", "--facts", "a", "--python", "b"], "give one"),
        (["rule", "ED9999"], "ED9999"),
        (["--json", "check"], "put `--json` after `check`"),
        (["collect", "--python", "a", "--python", "b"], "once"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], words: str) -> None:
    refused(envdoctor(*arguments), words)


def test_a_loop_of_links_costs_no_fact_of_the_driver(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    report = report_of("--static", "--python", sys.executable, env={"CUDA_HOME": f"{tmp_path}/a"})
    for fact in ("Driver", "Toolkits"):
        assert report["facts"][fact]["type"] == "Observed"
    assert report["facts"]["Toolkits"]["value"]["cuda_home"] == f"{tmp_path}/a"


def test_a_read_only_home_and_no_tmp(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    run = envdoctor(
        "check", "--static", "--python", sys.executable, env={"HOME": str(home), "TMPDIR": "/none"}
    )
    assert run.exit_code in (0, 1)
    assert run.no_traceback


def test_a_venv_made_by_venv_is_found_by_its_folder(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    report = report_of("--python", tmp_path / "env")
    assert names(report)[0] == "torch-not-installed"
    require(report["target"]["problem"] is None, "a working venv")


def test_a_folder_that_was_removed_under_the_shell(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    script = f'cd "{folder}" && rmdir "{folder}" && exec "{sys.executable}" -m envdoctor check'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("envdoctor: the current folder is gone")
