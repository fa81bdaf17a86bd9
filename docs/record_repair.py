"""Record one real repair as the animated picture of the README.

    python docs/record_repair.py            # writes docs/screens/repair.svg, in two minutes

A virtual environment gets a torch by pip, as pip is set up here. One of its libraries is cut short;
then everything is done as a person does it, by keys, in two panes of tmux (3.2 or later): the view
in the upper one, a shell in the lower one. What the panes show at each step is a frame. Home is a
scratch folder, so that no path of the machine is seen. Rich draws the frames, as it draws the other
pictures here; CSS turns them, which GitHub plays and a script would not be.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

SCREENS = Path(__file__).parent / "screens"
COLUMNS, UPPER, LOWER = 110, 29, 6
DAMAGED, LEFT = "lib/libtorch_cpu.so", 50_000_000
"""The library that is cut short, and to how many bytes: the end of its code is missing."""
STILL = 2
"""The frame for those who want no movement: the finding with its command."""


class Frame(NamedTuple):
    """What both panes showed, with their colours, for so many seconds."""

    title: str
    seconds: float
    screen: str


class Panes:
    """Two panes of tmux; keys go in, the screen comes out."""

    def __init__(self, home: Path, wheels: str) -> None:
        self._socket = home / "tmux"
        shell = "exec env 'PS1=$ ' bash --norc --noprofile"
        self._tmux("new-session", "-d", "-x", f"{COLUMNS}", "-y", f"{UPPER + 1 + LOWER}", shell)
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("set-option", "-s", "set-clipboard", "on")
        # pip would show where it found the wheel.
        pip = {
            "PIP_QUIET": "1",
            **({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels} if wheels else {}),
        }
        settings = [f"-e{name}={value}" for name, value in pip.items()]
        self._tmux("split-window", "-v", "-l", f"{LOWER}", *settings, shell)
        self.wait(1, "$")

    def _tmux(self, *argv: str) -> str:
        folder = self._socket.parent
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"HOME": str(folder), "PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        done = subprocess.run(
            ["tmux", "-f/dev/null", "-S", str(self._socket), *argv],
            check=True,
            capture_output=True,
            text=True,
            cwd=folder,
            env={**kept, **own, "COLORTERM": "truecolor"},
        )
        return done.stdout

    def press(self, pane: int, *keys: str) -> None:
        """Send keys by tmux's names; a longer word is typed."""
        self._tmux("send-keys", "-t", f":.{pane}", *keys)

    def paste(self, pane: int) -> None:
        """Paste what lies on the clipboard."""
        self._tmux("paste-buffer", "-t", f":.{pane}")

    def wait(self, pane: int, text: str, limit_s: float = 90.0) -> None:
        """Wait until a pane shows a text. Raises TimeoutError with what it shows instead."""
        deadline = time.monotonic() + limit_s
        while text not in (seen := self._tmux("capture-pane", "-p", "-t", f":.{pane}")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"`{text}` does not appear:\n{seen}")
            time.sleep(0.05)

    def screen(self) -> str:
        """Both panes with the escapes of their colours, and the line between."""
        upper, lower = (self._tmux("capture-pane", "-peN", "-t", f":.{pane}") for pane in (0, 1))
        return f"{upper}\x1b[0;2m{'─' * COLUMNS}\x1b[0m\n{lower}"

    def close(self) -> None:
        """End the panes and what runs in them."""
        self._tmux("kill-server")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=SCREENS / "repair.svg")
    parser.add_argument("--torch", default="2.13.0", help="the release that is installed")
    parser.add_argument(
        "--wheels", default="", help="a folder with the wheel of torch, for the fix without network"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        damage(install(home, given.torch))
        panes = Panes(home, given.wheels)
        try:
            frames = list(repair(panes))
        finally:
            panes.close()
    given.output.write_text(animated(frames), encoding="utf-8")
    print(f"{given.output}: {len(frames)} frames, {given.output.stat().st_size:,} bytes")


def install(home: Path, release: str) -> Path:
    """A virtual environment `train` with torch; gives the folder of torch."""
    subprocess.run([sys.executable, "-m", "venv", home / "train"], check=True)
    python = home / "train/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", f"torch=={release}", "numpy"], check=True)
    return next((home / "train").glob("lib/python3*/site-packages/torch"))


def damage(torch: Path) -> None:
    """As a full disk or a broken copy leaves a library."""
    os.truncate(torch / DAMAGED, LEFT)


def repair(panes: Panes) -> Iterator[Frame]:
    """The whole session, a frame a step."""
    panes.press(0, "train/bin/python -c 'import torch'", "Enter")
    panes.wait(0, "Bus error")
    panes.press(0, "envdoctor --python train")
    time.sleep(0.5)
    yield Frame("torch ends Python with a bus error: ask the doctor", 3, panes.screen())
    panes.press(0, "Enter")
    panes.wait(0, "probes")
    yield Frame(
        "it looks from outside: a torch that crashes does not end the doctor", 1.5, panes.screen()
    )
    panes.wait(0, "checks ran")
    yield Frame("the cause, and the command that repairs it", 5, panes.screen())
    panes.press(0, "2", "Enter")
    panes.wait(0, "evidence")
    yield Frame("2, Enter: the evidence, and what follows from it", 5, panes.screen())
    panes.press(0, "1", "w", "c")
    panes.wait(0, "clipboard")
    yield Frame("w watches the environment, c copies the command", 4, panes.screen())
    panes.paste(1)
    panes.wait(1, "pip install")
    yield Frame("another shell: paste it", 2, panes.screen())
    panes.press(1, "Enter")
    panes.wait(0, "LOOKING")
    yield Frame("something has changed: the view looks again by itself", 2, panes.screen())
    panes.wait(0, "HEALTHY")
    time.sleep(0.5)
    yield Frame("fixed", 4, panes.screen())
    panes.press(0, "q")
    panes.wait(0, "was found\n$")
    panes.press(0, "train/bin/python -c 'import torch; print(torch.ones(3).sum())'", "Enter")
    panes.wait(0, "tensor(3.)")
    yield Frame("q leaves the verdict in the terminal; torch works again", 4, panes.screen())


# --- the picture ---

_SHAPE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg"
  role="img">
<title>One repair with envdoctor</title>
<desc>@steps@</desc>
<style>
.{unique_id}-matrix {{ font-family: "Fira Code", ui-monospace, Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font: bold 18px arial, sans-serif; }}
.frame {{ visibility: hidden; }}
@styles@
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
@frames@
</svg>
"""
_ONE = """\
<g class="frame f@number@">
<text class="{unique_id}-title" fill="#c5c8c6" text-anchor="middle" x="50%" y="27">@title@</text>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</g>
@end@{styles}"""


def animated(frames: Sequence[Frame]) -> str:
    """An SVG that shows the frames in turn, and one of them where no movement is wanted."""
    drawn, rules = [], []
    for number, frame in enumerate(frames):
        picture, styles = _svg(frame, _ONE).split("@end@")
        title = f"{number + 1}/{len(frames)}  {frame.title}"
        drawn.append(picture.replace("@number@", f"{number}").replace("@title@", title))
        rules += [f".f{number} {rule}" for rule in styles.splitlines()]
    steps = "; ".join(f"{frame.title}" for frame in frames)
    styles = "\n".join([*rules, _turning(frames)])
    parts = {"steps": steps, "styles": styles, "frames": "".join(drawn)}
    shape = _svg(frames[STILL], _SHAPE)
    return re.sub(r"@(\w+)@", lambda match: parts[match[1]], shape)


def _svg(frame: Frame, shape: str) -> str:
    """What Rich makes of a frame; all frames are of one size, and share what is called `t-`."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(frame.screen), no_wrap=True, crop=True, end="")
    return console.export_svg(title="", unique_id="t", code_format=shape)


def _turning(frames: Sequence[Frame]) -> str:
    """The style rules by which each frame is seen in its time."""
    whole = sum(frame.seconds for frame in frames)
    rules, begin = [f".f{STILL} {{ visibility: visible; }}"], 0.0
    rules.append("@media (prefers-reduced-motion: no-preference) {")
    for number, frame in enumerate(frames):
        end = begin + 100 * frame.seconds / whole
        hidden = "0% { visibility: hidden; } " if number else ""
        rules.append(
            f"@keyframes k{number} {{ {hidden}{begin:.2f}% {{ visibility: visible; }} "
            f"{end:.2f}%, 100% {{ visibility: hidden; }} }}"
        )
        rules.append(f".f{number} {{ animation: k{number} {whole:g}s step-end infinite; }}")
        begin = end
    return "\n".join([*rules, "}"])


if __name__ == "__main__":
    main()
