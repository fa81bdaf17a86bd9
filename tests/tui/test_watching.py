"""`w`: a change of the environment is told once it has settled, and looked at again."""

import os
import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot

from envdoctor.tui.contract import EnvironmentChanged
from envdoctor.tui.watching import Signature, Watch
from tests.tui import machines
from tests.tui.live import Ear, live_model, wait_until
from tests.tui.recorded import RecordedModel
from tests.tui.screen_text import play, press, screen_text, settled, toasts
from tests.tui.test_actions import repaired


def test_a_change_is_told_once_and_not_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envdoctor.tui.watching.POLL_S", 0.05)
    told = threading.Semaphore(0)
    looks = []

    def look() -> Signature:
        looks.append(None)
        return ((str(tmp_path), os.stat(tmp_path).st_mtime_ns),)

    watch = Watch(look, told.release)
    wait_until(lambda: len(looks) > 1, "nobody looks")
    (tmp_path / "numpy").mkdir()
    assert told.acquire(timeout=60)
    seen = len(looks)
    wait_until(lambda: len(looks) > seen + 3, "nobody looks any more")
    assert not told.acquire(blocking=False)
    watch.end()
    wait_until(lambda: not any(one.name == "watch" for one in threading.enumerate()), "it lives")


def test_what_pip_is_replacing_is_told_when_it_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envdoctor.tui.watching.POLL_S", 0.02)
    told, looks = threading.Semaphore(0), []
    (tmp_path / "~umpy").mkdir()

    def look() -> Signature:
        looks.append(None)
        return ((str(tmp_path), os.stat(tmp_path).st_mtime_ns),)

    watch = Watch(look, told.release)
    wait_until(lambda: len(looks) > 1, "nobody looks")
    (tmp_path / "~orch").mkdir()
    seen = len(looks)
    wait_until(lambda: len(looks) > seen + 5, "nobody looks any more")
    assert not told.acquire(blocking=False)
    (tmp_path / "~orch").rmdir()
    assert told.acquire(timeout=60)
    watch.end()


def test_the_model_watches_the_site_packages_of_its_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envdoctor.tui.watching.POLL_S", 0.05)
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    monkeypatch.setattr("envdoctor.tui.watching._OF_THE_DRIVER", (str(packages),))
    model, ear = live_model(), Ear()
    model._listener = ear
    model.watch(on=True)
    assert ear.state.watching
    (packages / "torch").mkdir()
    # The first look may come after the change: then there is another one.
    wait_until(lambda: _touched(packages, ear), "no change is told")
    model.watch(on=False)
    assert not ear.state.watching


def _touched(folder: Path, ear: Ear) -> bool:
    if not any(isinstance(one, EnvironmentChanged) for one in ear.events):
        (folder / "torch").rmdir() if (folder / "torch").exists() else (folder / "torch").mkdir()
        threading.Event().wait(0.3)
    return any(isinstance(one, EnvironmentChanged) for one in ear.events)


def test_w_looks_again_and_says_what_is_fixed() -> None:
    model = RecordedModel(machines.read("broken_driver"))
    model.after_rerun = repaired(machines.read("broken_driver"))

    async def steps(pilot: Pilot[int]) -> None:
        await press(pilot, "w")
        assert "looks again on changes" in screen_text(pilot.app)
        model.tell(EnvironmentChanged())
        await settled(pilot)
        assert "✓ ED201 driver-too-old is fixed" in toasts(pilot.app)
        await press(pilot, "w")
        assert "looks again" not in screen_text(pilot.app)
        await press(pilot, "m")
        model.tell(EnvironmentChanged())
        await settled(pilot)

    play(model, steps, (120, 40))
    assert model.asked == [("watch", True), ("rerun", None), ("watch", False), ("calibrate",)]
