"""What is told of the target's stages while they run, with real children."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from envdoctor.collect import collect
from envdoctor.events import ProbeEvent
from envdoctor.options import Options
from envdoctor.plugins import Loaded, Where, load_plugins
from envdoctor.probes.run import Children
from envdoctor.probes.staging import run_stages
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


def test_what_else_is_written_to_the_descriptor_is_left_out(
    children: Children, tmp_path: Path
) -> None:
    patient = empty_patient(tmp_path / "venv")
    noise = "import os, sys\nos.write(int(sys.argv[1]), b'[1]\\n{}\\n7\\nx\\n')\n"
    fake_torch(patient, noise + FINE)
    results = run_stages(
        str(patient.python), ["import"], children=children, timeout_s={"import": 60.0}
    )
    assert results["import"].state == "ok"
    assert sys.version.startswith(results["version"].data["version"])
