"""Completion as a shell asks for it, and a real bash in a terminal in which Tab is pressed."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envdoctor.cli import COMMANDS
from envdoctor.commands.gpus import known_gpu
from envdoctor.commands.kinds import one_word
from envdoctor.knowledge import load
from tests.support.doctor import envdoctor


def offered(*words: str) -> list[tuple[str, str]]:
    """What is offered for the last of these words: kind and word."""
    asked = {"COMP_WORDS": " ".join(("envdoctor", *words)), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-m", "envdoctor"],
        env={**os.environ, **asked, "_ENVDOCTOR_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return [(kind, word) for kind, _, word in (line.partition(",") for line in done.stdout.split())]


def test_commands_and_options_are_offered() -> None:
    assert {word for _, word in offered("")} == set(COMMANDS)
    assert ("plain", "--static") in offered("check", "--st")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("check", "--python", "./br"), "file"),
        (("check", "--facts", "fa"), "file"),
        (("check", "-o", "fa"), "file"),
        (("check", "--root", "/mn"), "dir"),
        (("calibrate", "--data", "/da"), "dir"),
        (("calibrate", "--baseline", "la"), "file"),
        (("libs", "--facts", "fa"), "file"),
        (("tui", "re"), "file"),
    ],
)
def test_paths_are_left_to_the_shell(words: tuple[str, ...], kind: str) -> None:
    assert offered(*words) == [(kind, words[-1])]


def test_codes_and_names_are_offered_also_behind_a_comma() -> None:
    assert ("plain", "ED201") in offered("rule", "ED20")
    assert ("plain", "driver-too-old") in offered("rule", "driver-t")
    assert ("plain", "ED100,ED201") in offered("check", "--only", "ED100,ED20")


def test_gpus_are_offered_in_a_word_that_is_understood() -> None:
    assert ("plain", "rtx-4090") in offered("predict", "rtx-4")
    assert ("plain", "h100-sxm5-80-gb") in offered("calibrate", "--what-if", "H100-SXM5")
    knowledge = load()
    words = {one_word(one, knowledge): one for one in knowledge.gpus}
    assert len(words) == len(knowledge.gpus)
    for word, model in words.items():
        assert known_gpu(word, knowledge) == model


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(shell: str) -> None:
    script = envdoctor("completion", shell).stdout
    assert "_ENVDOCTOR_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_an_unknown_shell_is_bad_input() -> None:
    run = envdoctor("completion", "tcsh")
    assert run.exit_code == 2
    assert "bash" in run.stderr


def test_tab_in_a_real_bash(tmp_path: Path) -> None:
    with shell_in(tmp_path, "bash", "--norc", "--noprofile", "-i") as screen:
        screen.type('bind "set enable-bracketed-paste off"; eval "$(envdoctor completion bash)"\n')
        screen.type("echo read''y\n", until="ready")
        press_tab(screen)


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_tab_in_a_real_zsh(tmp_path: Path) -> None:
    with shell_in(tmp_path, "zsh", "-f", "-i") as screen:
        screen.type("unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D\r")
        screen.type('eval "$(envdoctor completion zsh)"; echo read""y\r', until="ready")
        press_tab(screen)


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_tab_in_a_real_fish(tmp_path: Path) -> None:
    with shell_in(tmp_path, "fish", "--no-config", "-i") as screen:
        screen.type('envdoctor completion fish | source; echo read""y\r', until="ready")
        press_tab(screen)


def press_tab(screen: "Screen") -> None:
    """The same keys in every shell: a command, a path, a code, and a code behind a comma."""
    screen.type("envdoctor rule driver-t\t", until="driver-too-old ")
    screen.type("\x15envdoctor predict rtx-4090-d\t", until="rtx-4090-d ")
    screen.type("\x15envdoctor check --skip ED100,driver-t\t", until="ED100,driver-too-old")
    screen.type("\x15envdoctor chec\t", until="check ")
    screen.type("--facts fa\t", until="facts-of-the-cluster.json")
    screen.type("--only ED20\t\t", until="ED200")


@contextmanager
def shell_in(folder: Path, *argv: str) -> Iterator["Screen"]:
    """A shell in a folder that holds a facts file, in a terminal, with `envdoctor` on its PATH."""
    (folder / "facts-of-the-cluster.json").write_text("{}")
    here = folder / "bin"
    here.mkdir()
    command = here / "envdoctor"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m envdoctor "$@"\n')
    command.chmod(0o755)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ["PATH"] = f"{here}:{os.environ['PATH']}"
        os.environ["TERM"] = "dumb"
        os.environ["HOME"] = str(folder)
        try:
            os.execvp(argv[0], argv)
        finally:
            os._exit(127)
    try:
        yield Screen(terminal)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)


class Screen:
    """What a terminal shows; waits for a text."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def type(self, keys: str, *, until: str = "") -> None:
        """Press keys, and wait until a text was shown since."""
        os.write(self._terminal, keys.encode())
        seen, limit = "", time.monotonic() + 60
        while until not in _plain(seen):
            assert time.monotonic() < limit, f"no `{until}` in {seen!r}"
            if select.select([self._terminal], [], [], 1.0)[0]:
                seen += os.read(self._terminal, 65536).decode()


def _plain(seen: str) -> str:
    """What stands on the screen: without colours, bells and the moves of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\(B|\x1b\][^\x07]*\x07|[\r\x07]", "", seen)
