"""The worker in a real interpreter: measured, interrupted, killed, hanging, without torch."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from envdoctor.calibration.progress import CalibrationProgress
from envdoctor.calibration.runner import calibrate
from envdoctor.facts import Observed, Reason, Unknown
from envdoctor.facts.calibration import Calibration, Settings
from envdoctor.probes.run import Children
from tests.calibration.synthetic import make_run
from tests.support.doctor import validator

QUICK = Settings(
    batch_size=1,
    budget_s=1.0,
    precisions=("fp32",),
    ceilings=False,
    pipeline=False,
    # One thread: two that wait for each other take minutes where other tests run at once.
    usable_cpus=1.0,
)


def patient(folder: Path, torch_source: str) -> str:
    """An interpreter whose torch is the given text."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text(torch_source, encoding="utf-8")
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    return str(python)


def measured(known: Observed[Calibration] | Unknown) -> Calibration:
    assert isinstance(known, Observed), known
    return known.value


def test_a_training_step_is_measured(children: Children) -> None:
    told: list[CalibrationProgress] = []
    result = measured(calibrate(sys.executable, QUICK, children=children, on_progress=told.append))
    (run,) = result.runs
    assert result.complete
    assert (run.device, run.precision, run.batch_size) == ("cpu", "fp32", 1)
    assert run.steps >= 2
    assert run.images_per_s.low <= run.images_per_s.median <= run.images_per_s.high
    assert run.ms_per_step == pytest.approx(1000 / run.images_per_s.median)
    assert run.tflops == pytest.approx(run.images_per_s.median * 6 * 4.089e9 / 1e12)
    assert run.peak_memory_bytes is not None
    assert 300e6 < run.peak_memory_bytes < 3e9
    assert result.conditions.torch_version
    assert {"starting", "warm-up", "timing"} <= {one.phase for one in told}
    assert msgspec.json.decode(msgspec.json.encode(result), type=Calibration) == result


def test_ceilings_and_pipeline_are_measured(children: Children, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(
        QUICK, ceilings=True, pipeline=True, all_reduce=True, data=str(tmp_path)
    )
    (tmp_path / "one.bin").write_bytes(bytes(3_000_000))
    result = measured(calibrate(sys.executable, settings, children=children))
    assert [one for one in result.left_out if one.failed] == []
    ceilings = {one.name: one for one in result.ceilings}
    assert {"matmul fp32", "memory copy", "gloo all-reduce bus"} <= set(ceilings)
    assert all(one.value.median > 0 for one in ceilings.values())
    assert result.pipeline is not None
    assert result.pipeline.data_files_read == 1
    assert result.pipeline.checkpoint_bytes is not None
    assert result.pipeline.checkpoint_bytes > 4 * 25_557_032
    assert result.pipeline.checkpoint_write_s is not None
    assert result.pipeline.checkpoint_read_s is not None
    assert result.pipeline.checkpoint_read_s > 0
    assert (result.pipeline.decoder is None) == bool(result.pipeline.missing)


def test_jpegs_are_decoded_with_the_pillow_of_the_target(
    children: Children, torchvision: Path, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{torchvision}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    settings = msgspec.structs.replace(QUICK, precisions=("tf32",), pipeline=True, usable_cpus=2.0)
    pipeline = measured(calibrate(str(python), settings, children=children)).pipeline
    assert pipeline is not None
    assert pipeline.decoder == "pillow"
    assert [one.workers for one in pipeline.rates] == [1, 2]
    assert all(one.images_per_s.median > 0 for one in pipeline.rates)
    # A photograph of ImageNet has 108 kB on average: 138 GB in 1,281,167 images.
    assert pipeline.mean_image_bytes == pytest.approx(108_000, rel=0.1)


def test_an_interrupt_keeps_what_was_measured(children: Children) -> None:
    def interrupt(progress: CalibrationProgress) -> None:
        if progress.phase == "timing":
            raise KeyboardInterrupt

    settings = msgspec.structs.replace(QUICK, budget_s=16.0)
    result = measured(calibrate(sys.executable, settings, children=children, on_progress=interrupt))
    assert result.interrupted
    assert not result.complete
    assert result.incomplete_because == "interrupted by the user"
    assert len(result.runs) == 1
    _, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=5.0)
    assert [one for one in alive if one.name() != "sh"] == [], "the guard alone is left"


def test_a_worker_that_is_killed_leaves_what_it_measured(children: Children) -> None:
    def kill(progress: CalibrationProgress) -> None:
        if progress.phase == "timing":
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if any("worker.py" in word for word in child.cmdline()):
                        child.kill()

    settings = msgspec.structs.replace(QUICK, budget_s=16.0)
    result = measured(calibrate(sys.executable, settings, children=children, on_progress=kill))
    assert not result.complete
    assert not result.interrupted
    assert "killed by the system" in result.incomplete_because
    assert "memory" in result.incomplete_because
    assert len(result.runs) == 1


def test_a_device_or_precision_that_is_not_there_is_said(children: Children) -> None:
    settings = msgspec.structs.replace(QUICK, devices=("cuda:7",))
    result = measured(calibrate(sys.executable, settings, children=children))
    assert result.runs == ()
    assert "torch has no such device; it has cpu" in result.left_out[0].reason
    settings = msgspec.structs.replace(QUICK, precisions=("tf32",))
    result = measured(calibrate(sys.executable, settings, children=children))
    assert [one.reason for one in result.left_out] == ["cpu has no tf32"]


def test_a_batch_that_does_not_fit_into_memory_is_said(children: Children) -> None:
    settings = msgspec.structs.replace(QUICK, batch_size=1_000_000)
    result = measured(calibrate(sys.executable, settings, children=children))
    assert result.runs == ()
    assert "a batch of 1000000 needs about" in result.left_out[0].reason


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        ("raise ImportError('libfoo.so: cannot open')", Reason.CRASHED, "libfoo.so: cannot open"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Reason.CRASHED, "SIGSEGV"),
        ("import os; os._exit(7)", Reason.CRASHED, "exited with code 7"),
        ("import sys; sys.exit(0)", Reason.CRASHED, "SystemExit"),
        ("print('noise on stdout')", Reason.CRASHED, "cannot be imported"),
        ("import time; time.sleep(60)", Reason.TIMED_OUT, "no sign of life within 2 s"),
    ],
)
def test_a_broken_torch_is_unknown_with_its_reason(
    tmp_path: Path, children: Children, source: str, reason: Reason, words: str
) -> None:
    python = patient(tmp_path, source)
    known = calibrate(python, QUICK, children=children, silence_limit_s=2.0)
    assert isinstance(known, Unknown)
    assert known.reason is reason
    assert words in known.detail


def test_children_that_are_ended_start_no_worker(children: Children) -> None:
    children.kill_all()
    known = calibrate(sys.executable, QUICK, children=children)
    assert known == Unknown(reason=Reason.CRASHED, detail="stopped before the worker began")


def test_what_a_library_writes_to_the_descriptor_is_left_out(
    tmp_path: Path, children: Children
) -> None:
    noise = "import os, sys\nos.write(int(sys.argv[1]), b'[]\\n{}\\n7\\n{\"data\": 1}\\n')\n"
    python = patient(tmp_path, noise + "raise ImportError('after the noise')")
    known = calibrate(python, QUICK, children=children)
    assert isinstance(known, Unknown)
    assert "after the noise" in known.detail


def test_an_interpreter_that_cannot_be_started(tmp_path: Path, children: Children) -> None:
    known = calibrate(str(tmp_path / "python"), QUICK, children=children)
    assert isinstance(known, Unknown)
    assert "cannot be started" in known.detail


def test_a_module_in_the_users_folder_is_not_taken_for_ours(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("target", "stats", "session", "channel", "worker"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not mine')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = msgspec.structs.replace(QUICK, precisions=("tf32",))
    assert measured(calibrate(sys.executable, settings, children=children)).complete


def command(*arguments: str) -> list[str]:
    """The command on one CPU, so that torch uses one thread."""
    return ["taskset", "-c", "0", sys.executable, "-m", "envdoctor", *arguments]


def test_ctrl_c_prints_the_partial_document_and_exits_with_130() -> None:
    """Beside other work even the half second after Ctrl-C may be too short for a report; of three
    times once it is not."""
    report = interrupted()
    for _ in range(2):
        report = report if report["type"] == "calibration-report" else interrupted()
    assert report["type"] == "calibration-report"
    assert report["calibration"]["complete"] is False
    assert report["calibration"]["interrupted"] is True


def interrupted() -> Any:
    """The document of a calibration that gets a SIGINT while it measures."""
    arguments = ("calibrate", "--python", sys.executable, "--json", "--batch-size", "1")
    process = subprocess.Popen(
        command(*arguments, "--budget", "100"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    while b"measuring cpu fp32" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    report = json.loads(out)
    validator().validate(report)
    assert process.returncode == report["exit_code"] == 130
    return report


def test_the_document_and_the_baseline(tmp_path: Path) -> None:
    result = tmp_path / "now.json"
    quick = ("calibrate", "--python", sys.executable, "--batch-size", "1", "--budget", "1")
    short = (*quick, "--precision", "fp32", "--no-ceilings", "--no-pipeline")
    done = subprocess.run(command(*short, "-o", str(result)), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(result.read_text(encoding="utf-8"))
    validator().validate(document)
    (run,) = document["calibration"]["runs"]
    assert set(run) >= set(msgspec.to_builtins(make_run(1.0)))
    # A month ago the machine was a hundred times as fast.
    for figure in ("median", "low", "high"):
        run["images_per_s"][figure] *= 100
    run["at_least"] = False
    result.write_text(json.dumps(document), encoding="utf-8")
    again = command(*short, "--json", "--baseline", str(result))
    done = subprocess.run(again, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    names = [finding["name"] for finding in document["findings"]]
    # Beside other work the run is a bound, and a bound is slower than nothing.
    (now,) = document["calibration"]["runs"]
    assert ("slower-than-baseline" in names) is not now.get("at_least", False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("calibrate", "--python", "/nowhere/python"),
            "`/nowhere/python` cannot be used: there is no such file",
        ),
        (("calibrate", "--what-if", "RTX 9999"), "`RTX 9999` is no GPU"),
        (("calibrate", "--data", "/nowhere"), "is no folder"),
        (("calibrate", "--baseline", os.devnull), "is no file"),
        (("calibrate", "--precision", "int4"), "invalid value"),
        (("predict", "Voodoo 2"), "is no GPU"),
        (("predict", "L4", "--precision", "fp8"), "invalid value"),
        (("predict", "Tesla T4", "--precision", "tf32"), "nothing is known"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments: tuple[str, ...], words: str) -> None:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_predict_says_text_and_json_alike() -> None:
    name = "A100-SXM4-80GB"
    text = subprocess.run(command("predict", name), capture_output=True, text=True, check=True)
    plain = subprocess.run(
        command("predict", name, "--json"), capture_output=True, text=True, check=True
    )
    validator().validate(json.loads(plain.stdout))
    rates = {one["precision"]: one for one in json.loads(plain.stdout)["expected"]}
    assert rates["bf16"]["images_per_s"]["median"] == 2470
    assert "2,470 images/s" in text.stdout
    assert max(map(len, text.stdout.splitlines())) <= 80
