"""What is told of the target's stages while they run, with real children."""

import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from envdoctor.api import TorchImport
from envdoctor.collect import collect
from envdoctor.events import ProbeEvent
from envdoctor.options import Options
from envdoctor.plugin_loading import load_plugins
from envdoctor.plugins import Loaded, Where
from envdoctor.probes.built_in_stages import IMPORT, TORCH_STAGES
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from envdoctor.probes.stage import EXIT, Stage, StageResult
from envdoctor.probes.staging import StageRun, run_stages
from tests.support.patients import empty_patient, fake_torch

FINE = "__version__ = '2.13.0+cpu'\n"


def target_only(loaded: Loaded) -> Loaded:
    """The plugins with nothing but the probes of the target."""
    plugins = tuple(
        replace(one, probes=tuple(probe for probe in one.probes if probe.where is Where.TARGET))
        for one in loaded.plugins
    )
    return replace(loaded, plugins=plugins)


def events_of(children: Children, python: Path, timeout_s: float = 60.0) -> list[ProbeEvent]:
    """What is told of `import torch`."""
    told: list[ProbeEvent] = []
    collect(
        Options(python=str(python), timeout_s=timeout_s),
        target_only(load_plugins()),
        children=children,
        services={},
        on_event=told.append,
    )
    return [one for one in told if one.probe == "import torch"]


@pytest.mark.parametrize(
    ("torch", "state", "words"),
    [
        (FINE, "finished", ""),
        ("raise ImportError('libfoo.so: no such file')", "unknown", "ImportError: libfoo.so"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "unknown", "SIGSEGV"),
        ("import os; os._exit(7)", "unknown", "exited with code 7"),
    ],
)
def test_a_stage_tells_how_it_ended(
    children: Children, tmp_path: Path, torch: str, state: str, words: str
) -> None:
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, torch)
    begin, end = events_of(children, patient.python)
    assert (begin.state, end.state) == ("started", state)
    assert words in end.detail


def test_a_hanging_stage_tells_that_it_did_not_answer(children: Children, tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, "import time; time.sleep(600)")
    told = events_of(children, patient.python, timeout_s=6.0)
    assert [one.state for one in told] == ["started", "unknown"]
    assert "no answer" in told[-1].detail


@pytest.mark.parametrize("body", ["import time; time.sleep(600)", "while True: pass"])
def test_a_stage_that_hangs_says_where(children: Children, tmp_path: Path, body: str) -> None:
    (made,) = stages(tmp_path, a=body)
    found = results_of(children, [replace(made, timeout_s=1.0)])
    assert found["a"].state == "hang"
    assert f'File "{tmp_path}/a.py", line 2 in a' in found["a"].output_tail


def test_what_else_is_written_to_the_descriptor_is_left_out(
    children: Children, tmp_path: Path
) -> None:
    patient = empty_patient(tmp_path / "venv")
    noise = "import os, sys\nos.write(int(sys.argv[1]), b'[1]\\n{}\\n7\\nx\\n')\n"
    fake_torch(patient, noise + FINE)
    results = run_stages(str(patient.python), [IMPORT], run=context_of(children).run)
    assert results[IMPORT.name].state == "ok"
    assert sys.version.startswith(results["version"].data["version"])


def stages(folder: Path, **bodies: str) -> list[Stage]:
    """Stages whose functions have these bodies; each in a file of its own."""
    made = []
    for name, body in bodies.items():
        source = folder / f"{name}.py"
        source.write_text(f"def {name}(child):\n    {body}\n")
        made.append(Stage(name=name, source=source, function=name, timeout_s=5.0))
    return made


KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


def results_of(children: Children, made: list[Stage], **options: object) -> dict[str, StageResult]:
    return run_stages(sys.executable, made, run=context_of(children).run, **options)


def test_a_stage_that_kills_its_child_costs_only_itself(children: Children, tmp_path: Path) -> None:
    made = stages(tmp_path, a="return {'pid': __import__('os').getpid()}", b=KILL, c="return {}")
    found = results_of(children, made)
    assert [found[name].state for name in "abc"] == ["ok", "signal", "ok"]
    assert found["b"].signal == "SIGKILL"
    assert found[EXIT].state == "ok"


@pytest.mark.parametrize("body", [KILL, "raise ValueError('no')", "import time; time.sleep(600)"])
def test_what_needs_a_stage_that_fails_is_skipped(
    children: Children, tmp_path: Path, body: str
) -> None:
    a, b, c, d = stages(tmp_path, a=body, b="return {}", c="return {}", d="return {}")
    made = [replace(a, timeout_s=1.0), replace(b, needs=("a",)), replace(c, needs=("b",)), d]
    found = results_of(children, made)
    assert [found[name].state for name in "bcd"] == ["skipped", "skipped", "ok"]
    assert (found["b"].detail, found["c"].detail) == ("`a` did not succeed", "`b` did not succeed")


def test_stages_that_are_asked_for_later_run_in_the_same_child(
    children: Children, tmp_path: Path
) -> None:
    pid = "return {'pid': __import__('os').getpid()}"
    first, second = stages(tmp_path, a=pid, b=pid)
    run = StageRun(sys.executable, [first], run=context_of(children).run).start()
    assert run.wait_for("a").state == "ok"
    run.ask([second])
    run.complete()
    found = run.results()
    assert found["a"].data == found["b"].data


def test_a_run_that_is_stopped_keeps_what_it_has(children: Children, tmp_path: Path) -> None:
    made = stages(tmp_path, a="return {}", b="import time; time.sleep(600)", c="return {}")
    run = StageRun(sys.executable, made, run=context_of(children).run).start()
    run.wait_for("a")
    run.stop()
    found = run.results()
    assert [found[name].state for name in "abc"] == ["ok", "timed-out", "timed-out"]


def test_a_file_that_cannot_be_executed_is_no_fault_of_the_target(
    children: Children, tmp_path: Path
) -> None:
    good, bad, none = stages(tmp_path, good="return {}", bad="return {", none="return [1]")
    missing = replace(good, name="missing", source=tmp_path / "missing.py")
    found = results_of(children, [bad, missing, none, good])
    ends = [(found[name].state, found[name].detail.partition(":")[0]) for name in found]
    assert ends[1:5] == [
        ("unable", "SyntaxError"),
        ("unable", "FileNotFoundError"),
        ("unable", "TypeError"),
        ("ok", ""),
    ]


@pytest.mark.parametrize(
    ("atexit", "state", "words"),
    [
        ("pass", "ok", ""),
        ("import time; time.sleep(600)", "hang", "no answer"),
        ("while True: pass", "hang", "no answer"),
        ("import ctypes; ctypes.string_at(0)", "signal", "SIGSEGV"),
        ("import os; os._exit(7)", "exit", "code 7"),
    ],
)
def test_the_end_of_the_interpreter_is_a_result_of_its_own(
    children: Children, tmp_path: Path, atexit: str, state: str, words: str
) -> None:
    patient = empty_patient(tmp_path / "venv")
    leave = f"import atexit\ndef leave():\n    {atexit}\natexit.register(leave)\n"
    fake_torch(patient, FINE + leave)
    started = time.monotonic()
    found = run_stages(str(patient.python), TORCH_STAGES, run=context_of(children).run)
    assert time.monotonic() - started < 15
    assert found[IMPORT.name].state == "ok"
    assert found[EXIT].state == state
    assert words in found[EXIT].detail


@pytest.mark.parametrize("left_s", [0.0, 0.5])
def test_a_deadline_that_is_near_ends_a_stage(
    children: Children, tmp_path: Path, left_s: float
) -> None:
    (made,) = stages(tmp_path, a="import time; time.sleep(600); return {}")
    began = time.monotonic()
    found = results_of(children, [made], deadline=began + left_s)
    assert time.monotonic() - began < left_s + 3
    assert found["a"].state == "hang"


@pytest.mark.parametrize(
    ("leave", "outcome", "words"),
    [
        ("import time; time.sleep(600)", "hang", "no answer"),
        ("import os; print('going', flush=True); os.abort()", "signal", "SIGABRT"),
        ("", "ok", ""),
    ],
)
def test_how_the_interpreter_exits_is_part_of_the_import(
    children: Children, tmp_path: Path, leave: str, outcome: str, words: str
) -> None:
    patient = empty_patient(tmp_path / "venv")
    body = f"import atexit\ndef leave():\n    {leave or 'pass'}\natexit.register(leave)\n"
    fake_torch(patient, FINE + body)
    snapshot = collect(
        Options(python=str(patient.python)),
        target_only(load_plugins()),
        children=children,
        services={},
    )
    imported = snapshot.value(TorchImport)
    assert imported is not None
    assert (imported.outcome, imported.exit_outcome) == ("ok", outcome)
    assert words in imported.exit_detail
    assert ("going" in imported.exit_output_tail) is ("going" in leave)


def test_an_import_that_never_ends_has_no_exit(children: Children, tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    fake_torch(patient, "import time; time.sleep(600)")
    snapshot = collect(
        Options(python=str(patient.python), timeout_s=4.0),
        target_only(load_plugins()),
        children=children,
        services={},
    )
    imported = snapshot.value(TorchImport)
    assert imported is not None
    assert (imported.outcome, imported.exit_outcome) == ("hang", None)
