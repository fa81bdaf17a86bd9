"""What nobody foresaw, and what ends a run early: one line, never 0 or 1, in machine formats a
document."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import require
from tests.support.doctor import Run, envdoctor, validator
from tests.support.patients import Patient, empty_patient, fake_torch
from tests.support.plugins import plugin_that_breaks_the_doctor, plugin_with_a_check

TARGET = ("--static", "--python", sys.executable)


def error_of(run: Run) -> dict[str, object]:
    """The error document, which agrees with the exit code and with the line."""
    document = run.json
    validator().validate(document)
    assert (document["type"], document["exit_code"]) == ("error", run.exit_code)
    assert str(document["message"]) in run.stderr
    assert run.no_traceback
    return document  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise Odd", "Odd"),
        ("raise SystemExit('two\\nlines\\x1b[31m and \\x9b')", "two lines and \ufffd"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",), ("--format", "json"), ("--format=json",)])
def test_a_fault_of_our_own_is_4_and_one_line(
    tmp_path: Path, body: str, words: str, form: tuple[str, ...]
) -> None:
    env = plugin_that_breaks_the_doctor(tmp_path / "site", body)
    run = envdoctor("check", *form, *TARGET, env=env, cwd=tmp_path / "site")
    assert run.exit_code == 4
    (line,) = run.stderr.splitlines()
    assert line.startswith("envdoctor: failed itself: ")
    assert words in line
    assert "ENVDOCTOR_DEBUG=1" in line
    if form:
        error_of(run)
    else:
        assert run.stdout == ""


PHASES = [
    "envdoctor.cli._refuse_a_folder_that_is_gone",
    "envdoctor.cli._refuse_lost_options",
    "envdoctor.find_target.find_target",
    "envdoctor.collect.collect",
    "envdoctor.probes.run.run_child",
    "envdoctor.engine.run_checks",
    "envdoctor.diagnose.diagnose",
    "envdoctor.conclusion.conclude",
    "envdoctor.redaction.user_filter",
    "envdoctor.redaction.Filter.document",
    "envdoctor.render.json.render_json",
    "envdoctor.output.Output.publish",
    "envdoctor.output.Output._print",
]
"""A function of each phase of a run, from the arguments to what is written."""

BROKEN = """
import importlib, sys
name, error = sys.argv[1:3]
sys.argv[1:3] = []
module, attribute = name.rsplit(".", 1)
try:
    owner = importlib.import_module(module)
except ImportError:
    module, cls = module.rsplit(".", 1)
    owner = getattr(importlib.import_module(module), cls)
def broken(*arguments, **options):
    raise eval(error)
assert hasattr(owner, attribute)
setattr(owner, attribute, broken)
from envdoctor.cli import main
main()
"""


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    "error",
    [
        "RuntimeError('\\x1b[31mno')",
        pytest.param("SystemExit(0)", marks=pytest.mark.heavy),
        pytest.param("MemoryError()", marks=pytest.mark.heavy),
        pytest.param("GeneratorExit()", marks=pytest.mark.heavy),
        pytest.param("UnicodeEncodeError('utf-8', '\\udcff', 0, 1, 'no')", marks=pytest.mark.heavy),
    ],
)
def test_a_fault_in_any_phase_is_4_and_one_document(phase: str, error: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, phase, error, "check", "--json", *TARGET],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 4
    error_of(Run(done.returncode, done.stdout, done.stderr))
    assert len(done.stderr.splitlines()) == 1


def test_a_traceback_is_shown_to_who_asks_for_it(tmp_path: Path) -> None:
    env = plugin_that_breaks_the_doctor(tmp_path / "site", "raise SystemExit(0)")
    run = envdoctor(
        "check", "--json", *TARGET, env={**env, "ENVDOCTOR_DEBUG": "1"}, cwd=tmp_path / "site"
    )
    assert run.exit_code == 4
    assert "Traceback" in run.stderr
    assert "odd_plugin.py" in run.stderr
    assert run.json["exit_code"] == 4


def test_what_a_plugin_prints_is_in_no_document(tmp_path: Path) -> None:
    env = plugin_with_a_check(tmp_path / "site", "print('hello \\x1b]0;title\\x07')")
    run = envdoctor("check", "--json", *TARGET, env=env, cwd=tmp_path / "site")
    validator().validate(run.json)
    assert run.json["type"] == "report"
    assert run.stderr == "hello \n"
    file = tmp_path / "report.json"
    to_a_file = envdoctor("check", "-o", file, *TARGET, env=env, cwd=tmp_path / "site")
    assert to_a_file.stdout == ""
    validator().validate(json.loads(file.read_text()))


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--format", "json", "--facts", "/none"),
        ("check", "--json", "--no-such-option"),
        ("--format=json", "check"),
        ("collect", "--timeout", "0.5"),
        ("collect", "--no-such-option"),
        ("collect", "--python", "a", "--python", "b"),
        ("libs", "--json", "--facts", "/none"),
        ("diff", "--json", "/none"),
        ("fits", "--json", "nothing"),
        ("predict", "--json", "no such GPU"),
        ("prescribe", "--json", "--torch", "9.9"),
        ("calibrate", "--json", "--baseline", "/none"),
        ("rules", "--json", "too", "many"),
    ],
)
def test_bad_input_is_a_document_where_one_was_wanted(arguments: tuple[str, ...]) -> None:
    run = envdoctor(*arguments)
    assert run.exit_code == 2
    error_of(run)


@pytest.mark.parametrize("way", ["limit", "tmpfs"])
def test_what_cannot_be_written_whole_leaves_nothing_behind(tmp_path: Path, way: str) -> None:
    """Through a symbolic link, on a full disk (as root) or past the limit of a file's size."""
    folder = tmp_path / "folder"
    folder.mkdir()
    if way == "tmpfs":
        mounted = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
        require(subprocess.run(mounted, check=False, stderr=-3).returncode == 0, "a tmpfs")
    try:
        (folder / "real.json").write_text("old")
        link = tmp_path / "link.json"
        link.symlink_to("folder/real.json")
        script = f'[ {way} = tmpfs ] || ulimit -f 4; exec "$@"'
        command = [sys.executable, "-m", "envdoctor", "check", "--json", *TARGET, "-o", str(link)]
        done = subprocess.run(
            ["sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        error_of(Run(done.returncode, done.stdout, done.stderr))
        assert link.is_symlink()
        assert [(one.name, one.read_text()) for one in folder.iterdir()] == [("real.json", "old")]
    finally:
        if way == "tmpfs":
            subprocess.run(["umount", str(folder)], check=True)


NEVER_SYNCED = """
#include <unistd.h>
int fsync(int file) { for (;;) sleep(1); }
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_ended_while_it_is_written_leaves_nothing_behind(
    tmp_path: Path, compiler: str, number: signal.Signals, code: int
) -> None:
    """On a disk that does not answer, where no handler of Python's runs."""
    source, library, folder = (tmp_path / name for name in ("slow.c", "slow.so", "folder"))
    source.write_text(NEVER_SYNCED)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    folder.mkdir()
    command = [sys.executable, "-m", "envdoctor", "rules", "--json", "-o", folder / "rules.json"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "LD_PRELOAD": str(library)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(one.stat().st_size for one in folder.iterdir()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    error_of(Run(process.returncode, out, err))
    assert list(folder.iterdir()) == []


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    assert envdoctor("check", *TARGET, "-o", tmp_path / "link.json").exit_code == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["type"] == "report"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_is_gone_is_a_document_too(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    script = f'cd "{folder}" && rmdir "{folder}" && exec "{sys.executable}" -m envdoctor "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", "check", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    document = error_of(Run(done.returncode, done.stdout, done.stderr))
    assert "the current folder is gone" in str(document["message"])
    assert done.returncode == 2


@pytest.fixture
def hanging(tmp_path: Path) -> Patient:
    patient = empty_patient(tmp_path / "hanging")
    fake_torch(patient, f"import time\nopen({str(tmp_path / 'begun')!r}, 'w')\ntime.sleep(600)")
    return patient


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
@pytest.mark.parametrize("command", [("check", "--json"), ("collect",), ("libs", "--json")])
def test_a_signal_gives_a_document(
    hanging: Patient, number: signal.Signals, code: int, command: tuple[str, ...]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "envdoctor", *command, "--python", str(hanging.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (hanging.root.parent / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    error_of(Run(process.returncode, out, err))


def test_a_signal_in_text_is_one_line(hanging: Patient) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "envdoctor", "check", "--python", str(hanging.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (hanging.root.parent / "begun").exists():
        time.sleep(0.02)
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (143, "", "envdoctor: ended by SIGTERM\n")
