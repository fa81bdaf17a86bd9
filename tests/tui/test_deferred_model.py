"""The model that is loaded behind the first paint."""

import subprocess
import sys
import threading

from envdoctor.tui.contract import Failed
from envdoctor.tui.deferred_model import DeferredModel
from tests.tui.live import Ear, wait_until
from tests.tui.recorded import RecordedModel


def test_what_is_asked_before_it_is_there_is_done_in_its_turn() -> None:
    real, may_come = RecordedModel(None), threading.Event()

    def make() -> RecordedModel:
        may_come.wait(60)
        return real

    late = DeferredModel(make)
    late.start(Ear())
    assert late.gpus() == ()
    assert late.page("ED201") is None
    late.find_files()
    late.rerun(("a-check",))
    assert real.asked == []
    may_come.set()
    wait_until(lambda: late.gpus() != (), "it does not come")
    late.predict("L4")
    assert [one[0] for one in real.asked] == ["find_files", "rerun", "predict"]
    late.close()
    assert real.closed


def test_one_that_was_closed_before_it_came_does_nothing() -> None:
    real, may_come, made = RecordedModel(None), threading.Event(), threading.Event()

    def make() -> RecordedModel:
        may_come.wait(60)
        made.set()
        return real

    late, ear = DeferredModel(make), Ear()
    late.start(ear)
    late.rerun()
    late.close()
    may_come.set()
    assert made.wait(60)
    wait_until(lambda: not any(one.name == "model" for one in threading.enumerate()), "it lives")
    assert ear.events == []
    assert real.asked == []


def test_one_that_cannot_be_loaded_says_why() -> None:
    def make() -> RecordedModel:
        raise ImportError("no module named psutil")

    ear = Ear()
    DeferredModel(make).start(ear)
    assert "no module named psutil" in ear.wait(Failed).message
    wait_until(lambda: not ear.state.busy, "it goes on")


def test_nothing_of_the_work_is_loaded_before_the_first_paint() -> None:
    listing = "import sys, envdoctor.commands.tui, envdoctor.tui.app, envdoctor.tui.deferred_model"
    done = subprocess.run(
        [sys.executable, "-c", f"{listing}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    work = ("session", "engine", "repair", "loader", "plugin_loading", "symptoms")
    assert not loaded & {f"envdoctor.{name}" for name in work}
