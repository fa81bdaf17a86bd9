"""The real program in a real terminal."""

import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.tui import machines
from tests.tui.tmux import Terminal

Open = Callable[..., Terminal]
DOCTOR = [sys.executable, "-c", "from envdoctor.cli import main; main()"]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Open]:
    require(shutil.which("tmux") is not None, "tmux")
    opened: list[Terminal] = []

    def start(*argv: str, program: list[str] = DOCTOR, **options: object) -> Terminal:
        one = Terminal([*program, *argv], tmp_path, **options)  # type: ignore[arg-type]
        opened.append(one)
        return one

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def hanging_python(tmp_path: Path) -> Path:
    """A target whose `import torch` never ends."""
    folder = tmp_path / "hanging"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python3*/site-packages"))
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").write_text("import time\ntime.sleep(600)\n")
    (packages / "torch" / "version.py").write_text("__version__ = '2.6.0+cu124'\ncuda = '12.4'\n")
    return folder / "bin" / "python"


def nothing_left(one: Terminal) -> bool:
    """Whether within five seconds no process is left of those that the terminal started."""
    deadline = time.monotonic() + 5.0
    while one.processes():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_walk_through_this_machine(terminal: Open, tmp_path: Path) -> None:
    one = terminal("tui", "--python", sys.executable, "--expect", "cpu")
    one.wait_for("LOOKING")
    one.wait_for("checks looked")
    one.wait_for("checks ran")
    one.press("2")
    one.wait_for("checks found nothing")
    one.press("/", "zzzz")
    one.wait_for("zzzz")
    one.press("Escape")
    one.wait_without("zzzz")
    one.press("?")
    one.wait_for("command palette")
    one.press("Escape")
    one.wait_without("command palette")
    one.press("1")
    one.wait_for("PyTorch")
    one.press("t")
    one.wait_for("Enter examines")
    one.wait_for("on PATH")
    one.press("Escape")
    one.wait_without("Enter examines")
    one.press("s")
    one.wait_for("JSON report")
    one.press("Tab")
    time.sleep(1.0)  # the focus cannot be seen in a text
    one.press(str(tmp_path / "saved.json"))
    one.wait_for("saved.json")
    one.press("Enter")
    one.wait_for("written to")
    one.press("r")
    one.wait_for("probes done")
    one.wait_for("checks ran")
    one.resize(60, 15)
    one.wait_for("1 Overview")
    one.resize(200, 60)
    one.wait_for("checks ran")
    one.press("q")
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert one.exit_code() == saved["exit_code"]
    assert f"envdoctor: {saved['verdict']}" in one.wait_for("envdoctor:")


def test_a_key_that_is_typed_ahead_counts(terminal: Open, tmp_path: Path) -> None:
    """The tabs come behind the first paint, and keys may be there before."""
    theme = tmp_path / "state" / "envdoctor" / "theme"
    theme.parent.mkdir(parents=True)
    theme.write_text("dark\n")
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    one = terminal("tui", str(machines.file_of("missing_libcudart")), env=env)
    one.press("3")
    one.wait_for("library with problems")
    one.press("q")
    one.exit_code()


def test_exit_code_and_summary_of_a_saved_report(terminal: Open) -> None:
    report = machines.file_of("broken_driver")
    plain = subprocess.run(
        [*DOCTOR, "check", "--json", "--facts", str(report)], check=False, capture_output=True
    )
    one = terminal("tui", str(report))
    one.wait_for("recorded:")
    one.press("q")
    assert one.exit_code() == plain.returncode
    one.wait_for(f"envdoctor: {json.loads(plain.stdout)['verdict']} - ")


@pytest.mark.parametrize("argv", [("garbage.json",), ("--only", "nonsense")])
def test_bad_input_is_said_before_anything_is_drawn(
    terminal: Open, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    (tmp_path / "garbage.json").write_text("garbage")
    one = terminal("tui", *(str(tmp_path / word) if "." in word else word for word in argv))
    assert one.exit_code() == 2
    assert one.wait_for("envdoctor: ").startswith("envdoctor: `")


def test_ctrl_c_while_a_target_hangs_leaves_no_child(terminal: Open, hanging_python: Path) -> None:
    one = terminal("tui", "--python", str(hanging_python))
    one.wait_for("import torch 2.")
    assert len(one.processes()) > 1
    began = time.monotonic()
    one.press("C-c")
    assert one.exit_code() == 130
    assert time.monotonic() - began < 10
    assert nothing_left(one)
    one.wait_for("left before")


def test_a_closed_terminal_leaves_no_child(hanging_python: Path, tmp_path: Path) -> None:
    require(shutil.which("tmux") is not None, "tmux")
    one = Terminal([*DOCTOR, "tui", "--python", str(hanging_python)], tmp_path)
    one.wait_for("import torch 1.")
    one.close()
    assert nothing_left(one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_nobody_reads_holds_nothing_up(
    hanging_python: Path, number: signal.Signals
) -> None:
    """Textual waits for its writer, which waits for the terminal."""
    mine, theirs = os.openpty()
    process = subprocess.Popen(
        [*DOCTOR, "tui", "--python", str(hanging_python)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    try:
        assert select.select([mine], [], [], 60)[0]
        time.sleep(2)
        process.send_signal(number)
        assert process.wait(timeout=10) == 128 + number
    finally:
        process.kill()
        os.close(mine)


def test_a_terminal_that_shows_nothing_full_screen_gets_the_text_and_the_reason(
    terminal: Open,
) -> None:
    one = terminal("tui", str(machines.file_of("healthy_cpu")), env={"TERM": "dumb"})
    assert one.exit_code() != 2
    seen = one.wait_for("checks ran")
    assert "1 Overview" not in seen
    assert "this is the text, as TERM" in seen


def test_without_colour_it_is_grey(terminal: Open) -> None:
    env = {"NO_COLOR": "1", "COLORTERM": "truecolor"}
    one = terminal("tui", str(machines.file_of("broken_driver")), env=env)
    one.wait_for("BROKEN")
    shades = one.colours()
    assert len(shades) > 2
    assert all(red == green == blue for red, green, blue in shades)
    one.press("q")
    one.exit_code()


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C"}, {"LC_ALL": "en_US.ISO-8859-1"}, {"TERM": "linux"}]
)
def test_ascii_where_the_terminal_shows_no_more(terminal: Open, env: dict[str, str]) -> None:
    one = terminal("tui", str(machines.file_of("broken_driver")), env=env)
    seen = one.wait_for("recorded:")
    assert seen.isascii()
    one.press("2")
    seen = one.wait_for("all severities")
    assert seen.isascii()
    one.press("q")
    one.exit_code()


def measuring(terminal: Open) -> Terminal:
    """The program in mid-calibration, with its worker running."""
    require(importlib.util.find_spec("torch") is not None, "torch")
    one = terminal("tui", "--python", sys.executable)
    one.wait_for("checks ran", limit_s=120)
    one.press("m")
    deadline = time.monotonic() + 60
    while not workers(one):
        assert time.monotonic() < deadline, one.screen()
        time.sleep(0.05)
    return one


def workers(one: Terminal) -> list[str]:
    return [line for line in one.processes() if "calibration/worker.py" in line]


@pytest.mark.parametrize(("leave", "code"), [("C-c", 130), ("q", 0)])
def test_leaving_in_mid_calibration_leaves_no_child(terminal: Open, leave: str, code: int) -> None:
    one = measuring(terminal)
    one.press(leave)
    assert one.exit_code() == code
    assert nothing_left(one)


def test_a_calibration_is_stopped_by_x_alone_and_the_program_goes_on(terminal: Open) -> None:
    one = measuring(terminal)
    one.wait_for("measuring:")
    one.press("r")
    one.wait_for("stops it first")
    assert workers(one)
    one.press("x")
    one.wait_without("measuring:")
    assert not workers(one)
    one.press("1")
    one.wait_for("PyTorch")
    one.press("r")
    one.wait_for("probes done")
    one.wait_for("checks ran")
    one.press("q")
    assert one.exit_code() == 0


def test_a_command_comes_to_the_clipboard_of_the_terminal(terminal: Open) -> None:
    one = terminal("tui", str(machines.file_of("broken_driver")))
    one.accept_clipboard()
    one.wait_for("fix 1: ")
    one.press("c")
    one.wait_for("copy which fix?")
    one.press("1")
    seen = one.wait_for("sent to the terminal's clipboard")
    command = next(line for line in seen.splitlines() if "$ " in line).partition("$ ")[2]
    one.wait_for_clipboard(command.rstrip(" │┃▌▐|"))
    one.press("q")
    assert one.exit_code() == 1


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("t", "Enter examines"),
        ("o", "Enter opens"),
        ("s", "Enter saves"),
        ("?", "command palette"),
    ],
)
def test_ctrl_c_leaves_from_every_dialog(terminal: Open, key: str, shown: str) -> None:
    one = terminal("tui", str(machines.file_of("broken_driver")))
    one.wait_for("recorded:")
    one.press(key)
    one.wait_for(shown)
    one.press("C-c")
    assert one.exit_code() == 130
    assert nothing_left(one)


def test_ctrl_z_suspends_also_from_a_dialog_and_fg_goes_on(terminal: Open) -> None:
    require(shutil.which("bash") is not None, "bash")
    shell = terminal(program=["bash", "--norc", "-i"])
    report = machines.file_of("broken_driver")
    shell.press(f"{sys.executable} -m envdoctor tui {report}", "Enter")
    shell.wait_for("recorded:")
    for open_dialog, shown in (((), "recorded:"), (("o",), "Enter opens")):
        shell.press(*open_dialog)
        shell.wait_for(shown)
        shell.press("C-z")
        shell.wait_without(shown)
        shell.wait_for("Stopped")
        shell.press("fg", "Enter")
        shell.wait_for(shown)
    shell.press("C-c")
    shell.wait_for("envdoctor: broken")
