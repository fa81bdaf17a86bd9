"""A real terminal in tmux: keys go in, the screen comes out."""

import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path


class Terminal:
    """One tmux session that runs a command; `close` ends it and its server."""

    def __init__(
        self,
        argv: list[str],
        folder: Path,
        *,
        size: tuple[int, int] = (100, 30),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._socket = folder / f"tmux-{uuid.uuid4().hex[:8]}"
        self._code = folder / "exit-code"
        command = " ".join(_quoted(word) for word in argv)
        self._mark = f"TEST_MARK={uuid.uuid4().hex}"
        settings = [self._mark, *(f"{key}={value}" for key, value in (env or {}).items())]
        line = f"{command}; echo $? > {_quoted(str(self._code))}; cat"
        self._tmux(
            "-f/dev/null",
            "new-session",
            "-d",
            *("-c", str(folder)),
            *("-x", str(size[0]), "-y", str(size[1])),
            "-s",
            "envdoctor",
            *("env", *settings, "sh", "-c", line),
        )

    def _tmux(self, *argv: str) -> str:
        tmux = shutil.which("tmux")
        assert tmux is not None
        done = subprocess.run(
            [tmux, "-S", str(self._socket), *argv],
            check=True,
            capture_output=True,
            text=True,
            env={**_without_size(os.environ), "TERM": "xterm-256color"},
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        """Send keys by tmux's names (Enter, Escape, C-c ...)."""
        self._tmux("send-keys", "-t", "envdoctor", *keys)

    def resize(self, width: int, height: int) -> None:
        """Another size of the window."""
        self._tmux("resize-window", "-t", "envdoctor", "-x", str(width), "-y", str(height))

    def accept_clipboard(self) -> None:
        """Let programs set the clipboard by OSC 52, which tmux ignores by default."""
        self._tmux("set-option", "-s", "set-clipboard", "on")

    def wait_for_clipboard(self, text: str, limit_s: float = 30.0) -> None:
        """Wait until a text lies on the clipboard."""
        self._wait(
            lambda: bool(self._tmux("list-buffers")) and self._tmux("show-buffer") == text,
            limit_s,
            f"`{text}` does not come to the clipboard",
        )

    def screen(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p", "-t", "envdoctor")

    def colours(self) -> set[tuple[str, str, str]]:
        """Red, green and blue of all that is on the screen, where the program gives them so."""
        seen = self._tmux("capture-pane", "-p", "-e", "-t", "envdoctor")
        return set(re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", seen))

    def wait_for(self, text: str, limit_s: float = 60.0) -> str:
        """The screen as soon as it shows a text."""
        self._wait(lambda: text in self.screen(), limit_s, f"`{text}` does not appear")
        return self.screen()

    def wait_without(self, text: str, limit_s: float = 60.0) -> str:
        """The screen as soon as it does not show a text any more."""
        self._wait(lambda: text not in self.screen(), limit_s, f"`{text}` does not go away")
        return self.screen()

    def exit_code(self, limit_s: float = 30.0) -> int:
        """Wait for the command to end."""
        self._wait(self._code.exists, limit_s, "the command does not end")
        self._wait(lambda: bool(self._code.read_text().strip()), limit_s, "no exit code")
        return int(self._code.read_text())

    def _wait(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}; the screen is\n{self.screen()}")
            time.sleep(0.05)

    def processes(self) -> list[str]:
        """The command lines of the Python processes that were started in it, and still live."""
        return marked(self._mark)

    def close(self) -> None:
        """End the session."""
        self._tmux("kill-server")


def _without_size(env: Mapping[str, str]) -> dict[str, str]:
    """The size of the terminal is asked from it, not taken from what a runner of tests says."""
    return {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def marked(mark: str) -> list[str]:
    """The command lines of the processes that have a text in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in environment and b"python" in line.partition(b"\0")[0]:
            found.append(line.replace(b"\0", b" ").decode("utf-8", "replace"))
    return found
