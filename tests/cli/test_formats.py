"""Where a document goes and in which form: --format, --json, -o and its ending, for all alike."""

import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

from envdoctor.cli import COMMANDS, cli, machine_format_in
from envdoctor.formats import DIAGNOSIS
from envdoctor.render.emitters import EMITTERS
from tests.support.doctor import envdoctor, report_of, validator
from tests.support.patients import empty_patient
from tests.tui import machines

FACTS = machines.file_of("broken_driver")


def choices(command: click.Command) -> list[str]:
    """The formats that a command offers; none where it has no option for them."""
    named = [one for one in command.params if one.name == "format_name"]
    return [str(choice) for one in named for choice in one.type.choices]  # type: ignore[attr-defined]


def test_every_format_that_a_command_offers_has_an_emitter() -> None:
    context = click.Context(cli)
    offered = {name: choices(cli.get_command(context, name)) for name in COMMANDS}  # type: ignore[arg-type]
    assert {name for name, formats in offered.items() if not formats} == {
        *("completion", "mcp", "rule", "schema"),
    }
    assert {one for formats in offered.values() for one in formats} == set(EMITTERS)
    assert choices(cli) == offered["check"] == [*DIAGNOSIS]


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ((), "verdict: broken"),
        (("--format", "text"), "verdict: broken"),
        (("--json",), "{"),
        (("--format", "json"), "{"),
        (("--format", "markdown"), "# envdoctor: broken\n"),
        (("--format", "html"), "<!DOCTYPE html>\n"),
    ],
)
def test_a_report_in_each_format(tmp_path: Path, options: tuple[str, ...], begins: str) -> None:
    run = envdoctor("check", "--facts", FACTS, *options)
    assert run.stdout.startswith(begins)
    assert run.exit_code == 1
    file = tmp_path / "report.txt"
    written = envdoctor("check", "--facts", FACTS, *options, "-o", file)
    assert (written.exit_code, written.stdout) == (1, "")
    assert file.read_text().startswith(begins)


@pytest.mark.parametrize(
    ("name", "options", "begins"),
    [
        ("r.json", (), "{"),
        ("r.md", (), "# envdoctor"),
        ("r.txt", (), "verdict"),
        ("r.sh", (), "verdict"),
        ("r.md", ("--json",), "{"),
        ("r.json", ("--format", "markdown"), "# envdoctor"),
        ("r.html", (), "<!DOCTYPE html>"),
    ],
)
def test_the_ending_chooses_unless_a_format_is_named(
    tmp_path: Path, name: str, options: tuple[str, ...], begins: str
) -> None:
    envdoctor("check", "--facts", FACTS, "-o", tmp_path / name, *options)
    assert (tmp_path / name).read_text().startswith(begins)


def test_several_targets_in_markdown(tmp_path: Path) -> None:
    without_torch = [empty_patient(tmp_path / name).root for name in ("a", "b")]
    targets = [word for root in without_torch for word in ("--python", root)]
    run = envdoctor("check", "--static", "--format", "markdown", *targets)
    assert run.stdout.count("# envdoctor: broken\n") == 2


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (("fits", "torch==2.6.0"), "{"),
        (("predict", "A100-SXM4-40GB"), "{"),
        (("knowledge",), "{"),
        (("rules",), "["),
        (("prescribe", "--facts", FACTS), "{"),
    ],
)
def test_the_others_go_the_same_way(
    tmp_path: Path, arguments: tuple[str | Path, ...], begins: str
) -> None:
    file = tmp_path / "answer.json"
    run = envdoctor(*arguments, "-o", file)
    assert run.stdout == ""
    assert "written to" in run.stderr
    assert file.read_text().startswith(begins)
    assert file.read_text() == envdoctor(*arguments, "--json").stdout
    assert file.read_text() == envdoctor(*arguments, "--format", "json").stdout
    assert not envdoctor(*arguments).stdout.startswith(begins)


def test_a_script_is_a_format(tmp_path: Path) -> None:
    run = envdoctor("prescribe", "--facts", FACTS, "-o", tmp_path / "repair.sh")
    assert (tmp_path / "repair.sh").read_text().startswith("#!/bin/sh\n")
    assert run.exit_code in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("check", "--format", "script", "--facts", FACTS), "script"),
        (("collect", "-o", "sarif=facts.sarif"), "no sarif"),
        (("check", "-o", "sarif=", "--facts", FACTS), "-o"),
        (("check", "-o", "sarif=/dev/stdout", "--facts", FACTS), "--format sarif"),
        (("check", "-o", "a.txt", "-o", "b.txt", "--facts", FACTS), "json=b.txt"),
        (("check", "-o", "json=a", "-o", "sarif=./a", "--facts", FACTS), "twice"),
        (("check", "--json", "--format", "text", "--facts", FACTS), "give one"),
        (("collect", "--format", "markdown"), "markdown"),
        (("check", "-o", "", "--facts", FACTS), "-o"),
    ],
)
def test_a_format_that_a_document_has_not(arguments: tuple[str | Path, ...], word: str) -> None:
    run = envdoctor(*arguments)
    assert run.exit_code == 2
    assert word in run.stderr


# --- files ---


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.json", tmp_path / "link.json"
    link.symlink_to(real)
    for _ in range(2):
        envdoctor("check", "--facts", FACTS, "-o", link)
        assert link.is_symlink()
        assert json.loads(real.read_text())["type"] == "report"
        assert list(real.parent.iterdir()) == [real]


def test_the_permissions_of_a_file_stay(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.touch(mode=0o600)
    envdoctor("check", "--facts", FACTS, "-o", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    validator().validate(json.loads(file.read_text()))


def test_no_temporary_file_is_left_where_the_disk_is_full(tmp_path: Path) -> None:
    """A limit of 4096 bytes for a file stands for the full disk."""
    file = tmp_path / "report.json"
    file.write_text("old")
    done = subprocess.run(
        [sys.executable, "-m", "envdoctor", "check", "--facts", str(FACTS), "-o", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == f"envdoctor: cannot write `{file}`: File too large"
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("report.json", "old")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing/report.json", "there is no folder `{tmp}/missing`"),
        (".", "Is a directory"),
        ("file/report.json", "Not a directory"),
        ("loop", "symbolic links"),
        ("n" * 300, "too long"),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    run = envdoctor("check", "--facts", FACTS, "-o", tmp_path / name)
    assert run.exit_code == 2
    (line,) = run.stderr.splitlines()
    assert words.format(tmp=tmp_path) in line
    assert {one.name for one in tmp_path.iterdir()} == {"file", "loop"}


def test_what_is_no_file_is_written_to() -> None:
    run = envdoctor("check", "--facts", FACTS, "--json", "-o", "/dev/stdout")
    assert run.json["type"] == "report"
    full = envdoctor("check", "--facts", FACTS, "-o", "/dev/full")
    assert full.exit_code == 2
    assert "No space left" in full.stderr


# --- what the report says of itself ---


def test_the_report_says_what_was_asked_for() -> None:
    report = report_of(
        *("--facts", FACTS, "--skip", "ED600,speed", "--skip", "driver"),
        *("--expect", "gpu", "--fail-on", "warning"),
    )
    assert report["selection"] == {
        "type": "Selection",
        "only": [],
        "skip": ["ED600", "speed", "driver"],
        "static": False,
        "expect": "gpu",
        "scope": None,
        "root": None,
        "policy": None,
        "fail_on": "warning",
    }


@pytest.mark.parametrize("fail_on", ["error", "warning"])
@pytest.mark.parametrize("machine", sorted(machines.MACHINES))
def test_the_exit_code_follows_from_the_report(machine: str, fail_on: str) -> None:
    report = report_of("--facts", machines.file_of(machine), "--fail-on", fail_on)
    failing = {"error": ("error",), "warning": ("error", "warning")}
    found = {finding["severity"] for finding in report["findings"]}
    if found & set(failing[report["selection"]["fail_on"]]):
        assert report["exit_code"] == 1
    else:
        assert report["exit_code"] == (3 if report["verdict"] == "incomplete" else 0)


def test_a_machine_has_one_identity_and_no_name(tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    envdoctor("collect", "--static", "--python", sys.executable, "-o", facts)
    live = report_of("--static", "--python", sys.executable)
    recorded = report_of("--facts", facts)
    assert live["host"] == recorded["host"]
    assert len(live["host"]["id"]) == 16
    assert live["host"]["machine"] == os.uname().machine
    assert live["host"]["kernel"] == os.uname().release
    # A container's random name could be part of a path; an id of 32 digits can not.
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if Path(path).exists() and (own := Path(path).read_text().strip()):
            assert own not in facts.read_text()


@pytest.mark.parametrize(
    ("words", "format_name"),
    [
        ((), None),
        (("check", "--json"), "json"),
        (("check", "--format", "json"), "json"),
        (("check", "--format", "text"), None),
        (("check", "--format=sarif"), "sarif"),
        (("a",), None),
    ],
)
def test_in_which_format_an_error_is_a_document(
    words: tuple[str, ...], format_name: str | None
) -> None:
    """Without any word, too: so the program is started first of all."""
    assert machine_format_in(words) == format_name
