"""How quickly the TUI is there, and answers keys while probes and a calibration run.

    python benchmarks/tui_latency.py [--json] [--no-calibrate]

Three figures, each the median, the 95th percentile and the worst of its measurements:

- first paint: from starting `envdoctor tui` in a terminal of 80x24 to the first screen with the
  words of its banner, interpreter start and imports included;
- first paint of the application alone, from its start to its first screen (Pilot);
- key response: from a key to the refreshed screen that it leads to (Pilot), while probes run,
  while a calibration runs, and when nothing runs.

The bounds are 500 ms for the first paint of the application and 100 ms for keys; the exit code is
1 if a median is above its bound.
"""

import argparse
import asyncio
import json
import os
import pty
import select
import signal
import statistics
import sys
import time
from collections.abc import Callable

from textual.events import Key
from textual.widgets import TabbedContent

from envdoctor.tui.app import DoctorApp
from envdoctor.tui.model import LiveModel

OPTIONS = {
    "pythons": (sys.executable,),
    "static": False,
    "deep": False,
    "expect": None,
    "timeout_s": 120.0,
    "fail_on": "error",
    "only": (),
    "skip": (),
}
TABS = {
    "2": "findings",
    "3": "libraries",
    "4": "calibration",
    "5": "what-if",
    "1": "overview",
}
PAINT_BOUND_MS = 500.0
KEY_BOUND_MS = 100.0
CALIBRATION_KEYS_S = 20.0


def first_paint_in_a_terminal() -> float:
    """Milliseconds from the start of the process to the banner, in a pseudo-terminal."""
    started = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
        os.environ.pop("NO_COLOR", None)
        program = "from envdoctor.cli import main; main()"
        os.execv(sys.executable, [sys.executable, "-c", program, "tui"])
    seen = b""
    while b"LOOKING" not in seen:
        if not select.select([terminal], [], [], 20.0)[0]:
            raise TimeoutError("the banner did not appear within 20 s")
        seen += os.read(terminal, 65536)
    elapsed = 1000 * (time.perf_counter() - started)
    os.write(terminal, b"\x03")
    _drain(terminal)
    os.waitpid(pid, 0)
    os.close(terminal)
    return elapsed


def _drain(terminal: int) -> None:
    while select.select([terminal], [], [], 2.0)[0]:
        try:
            if not os.read(terminal, 65536):
                return
        except OSError:
            return


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
    tabs = app.screen.query_one(TabbedContent)
    times: list[float] = []
    ends = time.perf_counter() + CALIBRATION_KEYS_S
    while while_() and time.perf_counter() < ends and len(times) < 200:
        for key, pane in TABS.items():
            app.post_message(Key(key, key))
            times.append(1000 * await refreshed(app, lambda pane=pane: tabs.active == pane))
            await asyncio.sleep(0.02)
    return times


async def measure(*, calibrate: bool) -> dict[str, list[float]]:
    """Everything that Pilot measures, in one run of the application on this machine."""
    app = DoctorApp(LiveModel(OPTIONS))
    figures: dict[str, list[float]] = {}
    started = time.perf_counter()
    async with app.run_test(size=(120, 40)):
        await refreshed(app, lambda: True)
        figures["first paint of the application"] = [1000 * (time.perf_counter() - started)]
        figures["key while probes run"] = await key_responses(
            app, while_=lambda: not app.state.final
        )
        while not app.state.final:
            await asyncio.sleep(0.05)
        rounds = iter(range(4))
        figures["key when nothing runs"] = await key_responses(
            app, while_=lambda: next(rounds, None) is not None
        )
        if calibrate:
            app.action_measure()
            while app.state.measuring is None or not app.state.measuring.tracks:
                await asyncio.sleep(0.05)
            figures["key while a calibration runs"] = await key_responses(
                app, while_=lambda: app.state.measuring is not None
            )
    return figures


def main() -> int:
    """Measure, print, and compare with the bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-calibrate", action="store_true", help="leave the calibration out")
    given = parser.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    figures = {"first paint in a terminal": [first_paint_in_a_terminal() for _ in range(5)]}
    figures |= asyncio.run(measure(calibrate=not given.no_calibrate))
    rows = {
        name: {
            "median_ms": statistics.median(ms),
            "p95_ms": sorted(ms)[round(0.95 * (len(ms) - 1))],
            "worst_ms": max(ms),
            "measurements": len(ms),
        }
        for name, ms in figures.items()
        if ms
    }
    load = os.getloadavg()[0]
    if given.json:
        print(json.dumps({"load": load, "figures": rows}, indent=2))
    else:
        print(f"load {load:.1f} on {os.cpu_count()} CPUs")
        for name, row in rows.items():
            print(
                f"{name:<32} median {row['median_ms']:6.0f} ms   95 % {row['p95_ms']:6.0f} ms"
                f"   worst {row['worst_ms']:6.0f} ms"
                f"   of {row['measurements']:.0f}"
            )
    paint = rows["first paint of the application"]["median_ms"] <= PAINT_BOUND_MS
    keys = [row["median_ms"] <= KEY_BOUND_MS for name, row in rows.items() if "key" in name]
    return 0 if paint and all(keys) else 1


if __name__ == "__main__":
    sys.exit(main())
