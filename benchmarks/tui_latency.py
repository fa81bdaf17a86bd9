"""How quickly the TUI is there, and answers keys while probes and a calibration run.

    python benchmarks/tui_latency.py [-o RESULT.json] [--no-calibrate]

Each figure is given as median, 95th percentile and worst of its measurements:

- first paint: from starting `envdoctor tui` in a terminal of 80x24 to the words of its banner,
  interpreter start and imports included;
- key in a terminal: from writing a key to the first words of what it leads to, there, with the
  examination and then the calibration going on;
- first paint of the application alone, and key response from a key to the refreshed screen that it
  leads to, in the application without a terminal (Pilot): tabs, the filter and what is typed into
  it, and moving the cursor.

The bounds are 400 ms for a first paint and 50 ms for keys; the exit code is 1 if the 95th
percentile of a figure is above its bound.
"""

import argparse
import asyncio
import contextlib
import datetime
import gc
import itertools
import json
import os
import pty
import re
import select
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from textual.events import Key
from textual.widgets import TabbedContent, Tree

from envdoctor.__main__ import ALLOCATIONS_BEFORE_COLLECTING
from envdoctor.options import Options
from envdoctor.output import Output
from envdoctor.probes.context import context_of
from envdoctor.probes.host import read_host
from envdoctor.probes.run import Children
from envdoctor.tui.app import DoctorApp
from envdoctor.tui.model import LiveModel

OPTIONS = Options(python=sys.executable, timeout_s=120.0)
TABS = {
    "3": "libraries",
    "4": "calibration",
    "5": "what-if",
    "1": "overview",
}
MARKS = {
    "2": b"severities|nothing is known yet|nothing found",
    "3": b"librar|not yet known",
    "5": b"move to a GPU",
    "1": b"PyTorch|LOOKING",
}
"""For a key, words that only the screen behind it shows, before the first report or after it."""

PAINT_BOUND_MS = 400.0
KEY_BOUND_MS = 50.0
CALIBRATION_KEYS_S = 20.0
STARTS = 9
EVERY_S = 0.2


class Terminal:
    """`envdoctor tui` with these arguments in a pseudo-terminal of 80x24."""

    def __init__(self, *arguments: str) -> None:
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
            os.environ.pop("NO_COLOR", None)
            os.execv(sys.executable, [sys.executable, "-m", "envdoctor", "tui", *arguments])

    def milliseconds_until(self, words: bytes, since: float) -> float:
        """Until the terminal gets such words (a pattern). Raises TimeoutError after 20 s."""
        seen = b""
        while not re.search(words, seen):
            if not select.select([self.fd], [], [], 20.0)[0]:
                raise TimeoutError(f"{words!r} did not appear within 20 s")
            seen = seen[-1000:] + os.read(self.fd, 65536)
        return 1000 * (time.perf_counter() - since)

    def press(self, key: str) -> float:
        """Milliseconds from a key to its screen."""
        while select.select([self.fd], [], [], 0)[0]:
            os.read(self.fd, 65536)
        pressed = time.perf_counter()
        os.write(self.fd, key.encode())
        return self.milliseconds_until(MARKS[key], pressed)

    def close(self) -> None:
        """Ctrl-C, and wait for its end."""
        os.write(self.fd, b"\x03")
        with contextlib.suppress(OSError):
            while select.select([self.fd], [], [], 2.0)[0] and os.read(self.fd, 65536):
                pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def first_paint_in_a_terminal() -> float:
    """Milliseconds from the start of the process to the banner."""
    terminal = Terminal()
    elapsed = terminal.milliseconds_until(b"LOOKING", terminal.started)
    terminal.close()
    return elapsed


def keys_in_a_terminal(*, calibrate: bool) -> list[float]:
    """Milliseconds from keys to their screens, a key at a time, from the first paint on."""
    terminal = Terminal(*(["--calibrate"] if calibrate else []))
    terminal.milliseconds_until(b"LOOKING", terminal.started)
    times = []
    until = time.perf_counter() + (CALIBRATION_KEYS_S if calibrate else 3.0)
    for key in itertools.cycle(MARKS):
        times.append(terminal.press(key))
        time.sleep(max(0.0, EVERY_S - times[-1] / 1000))
        if time.perf_counter() > until:
            break
    terminal.close()
    return times


async def refreshed(app: DoctorApp, condition: Callable[[], bool]) -> float:
    """Seconds until the condition holds and the screen was drawn after that."""
    started = time.perf_counter()
    while not condition():
        await asyncio.sleep(0.001)
        if time.perf_counter() - started > 10:
            raise TimeoutError("the screen does not follow")
    drawn = asyncio.Event()
    app.screen.call_after_refresh(drawn.set)
    await drawn.wait()
    return time.perf_counter() - started


async def key_responses(app: DoctorApp, *, while_: Callable[[], bool]) -> list[float]:
    """Milliseconds from each key to its screen, as long as the work goes on."""
    times: list[float] = []
    ends = time.perf_counter() + CALIBRATION_KEYS_S
    while while_() and time.perf_counter() < ends and len(times) < 200:
        for key, character, condition in presses(app):
            app.post_message(Key(key, character))
            times.append(1000 * await refreshed(app, condition))
            await asyncio.sleep(0.02)
    return times


def presses(app: DoctorApp) -> Iterator[tuple[str, str | None, Callable[[], bool]]]:
    """Keys, each with what the screen shows once it was taken."""
    tabs = app.screen.query_one(TabbedContent)
    tree, field = app.screen.query_one("#findings-tree", Tree), app.screen.query_one("#filter")

    def shows(pane: str) -> Callable[[], bool]:
        return lambda: tabs.active == pane

    yield "2", "2", shows("findings")
    line, state = tree.cursor_line, app.state
    at_the_end = tree.last_line <= line
    # A report that comes at the same moment makes the lines anew.
    yield "down", None, lambda: tree.cursor_line != line or at_the_end or app.state is not state
    yield "slash", "/", lambda: field.has_focus
    yield "a", "a", lambda: getattr(field, "value", "") == "a"
    yield "escape", None, lambda: not field.display
    for key, pane in TABS.items():
        yield key, key, shows(pane)


async def first_moments(figures: dict[str, list[float]]) -> None:
    """An application from its start until its examination is over, and what was measured then."""
    app = DoctorApp(LiveModel(OPTIONS, Output()))
    started = time.perf_counter()
    async with app.run_test(size=(120, 40)):
        await refreshed(app, lambda: True)
        figures["first paint of the application"].append(1000 * (time.perf_counter() - started))
        figures["key while probes run"] += await key_responses(
            app, while_=lambda: not app.state.final
        )


async def later_moments(figures: dict[str, list[float]], *, calibrate: bool) -> None:
    """Keys of an application that has examined, and that measures then."""
    app = DoctorApp(LiveModel(OPTIONS, Output()))
    async with app.run_test(size=(120, 40)):
        while not app.state.final:
            await asyncio.sleep(0.05)
        rounds = iter(range(4))
        figures["key when nothing runs"] += await key_responses(
            app, while_=lambda: next(rounds, None) is not None
        )
        if calibrate:
            app.action_measure()
            while app.state.measuring is None or not app.state.measuring.tracks:
                await asyncio.sleep(0.05)
            figures["key while a calibration runs"] += await key_responses(
                app, while_=lambda: app.state.measuring is not None
            )


def rows_of(figures: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median, 95th percentile and worst of each figure that was measured."""
    return {
        name: {
            "median_ms": statistics.median(ms),
            "p95_ms": sorted(ms)[round(0.95 * (len(ms) - 1))],
            "worst_ms": max(ms),
            "measurements": len(ms),
        }
        for name, ms in figures.items()
        if ms
    }


def main() -> int:
    """Measure, print, and compare with the bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="write the figures as JSON")
    parser.add_argument("--no-calibrate", action="store_true", help="leave the calibration out")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    # As `envdoctor tui` does. Its beat of 120 a second is that of the terminal's figures alone.
    gc.set_threshold(ALLOCATIONS_BEFORE_COLLECTING)
    gc.freeze()
    if given.once:
        start: dict[str, list[float]] = defaultdict(list)
        asyncio.run(first_moments(start))
        print(json.dumps(start))
        return 0
    calibrate = not given.no_calibrate
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    figures: dict[str, list[float]] = defaultdict(list)
    figures["first paint in a terminal"] = [first_paint_in_a_terminal() for _ in range(STARTS)]
    figures["key in a terminal"] = keys_in_a_terminal(calibrate=calibrate)
    # Each start in a process of its own, as for a user: what others leave behind slows it down.
    for _ in range(STARTS):
        once = [sys.executable, __file__, "--once"]
        done = subprocess.run(once, capture_output=True, text=True, check=True)
        for name, ms in json.loads(done.stdout).items():
            figures[name] += ms
    asyncio.run(later_moments(figures, calibrate=calibrate))
    rows = rows_of(figures)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    for name, row in rows.items():
        print(
            f"{name:<32} median {row['median_ms']:6.0f} ms   95 % {row['p95_ms']:6.0f} ms"
            f"   worst {row['worst_ms']:6.0f} ms   of {row['measurements']:.0f}"
        )
    if given.output:
        machine = {
            "date": datetime.date.today().isoformat(),
            "command": " ".join(["python", *sys.argv]),
            "cpu": read_host(context_of(Children())).cpu_name,
            "cpus": os.cpu_count(),
            "load": os.getloadavg()[0],
        }
        text = json.dumps({**machine, "figures": rows}, indent=2)
        given.output.write_text(text + "\n", encoding="utf-8")
    return int(
        any(
            row["p95_ms"] > (PAINT_BOUND_MS if "paint" in name else KEY_BOUND_MS)
            for name, row in rows.items()
        )
    )


if __name__ == "__main__":
    sys.exit(main())
