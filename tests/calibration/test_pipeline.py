"""The input pipeline where something is short: shared memory, time, images."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from envdoctor.calibration.target import pipeline
from envdoctor.facts.calibration import Calibration
from tests.calibration.conftest import Told
from tests.conftest import require

SCRIPT = """
import sys, msgspec
from envdoctor.facts.calibration import Settings
from envdoctor.calibration.runner import calibrate
from envdoctor.probes.run import Children
settings = Settings(devices=("none",), ceilings=False, usable_cpus=2.0)
known = calibrate(sys.argv[1], settings, children=Children())
sys.stdout.buffer.write(msgspec.json.encode(known.value))
"""


def calibrated_with_shared_memory_of(size: str, python: Path) -> Calibration:
    """In a mount namespace of its own, where /dev/shm is as small as Docker's."""
    mount = f'mount -t tmpfs -o size={size} none /dev/shm && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    allowed = subprocess.run([*command, "true"], capture_output=True, check=False)
    require(allowed.returncode == 0, "root that may mount a file system")
    command += [sys.executable, "-c", SCRIPT, str(python)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=Calibration)


@pytest.fixture
def python(torchvision: Path, tmp_path: Path) -> Path:
    """An interpreter with torch and Pillow."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{torchvision}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python


def test_batches_fit_into_a_small_shared_memory(python: Path) -> None:
    """With batches of 16 images a worker is killed by SIGBUS there."""
    result = calibrated_with_shared_memory_of("16m", python)
    assert result.pipeline is not None
    assert [one.workers for one in result.pipeline.rates] == [1, 2]
    assert [one.what for one in result.left_out] == ["device"]


def test_no_shared_memory_is_said_with_what_to_do(python: Path) -> None:
    result = calibrated_with_shared_memory_of("1m", python)
    assert result.pipeline is not None
    assert result.pipeline.rates == ()
    assert result.pipeline.decoding_rate is None
    (left,) = [one for one in result.left_out if one.what == "decoding"]
    assert "/dev/shm has 1 MB free, 2 workers need 3 MB" in left.reason
    assert "--shm-size" in left.reason


@pytest.mark.parametrize(
    ("workers", "shared", "batch"),
    [(4, None, 16), (32, 16 * 2**30, 16), (4, 64 * 2**20, 11), (32, 64 * 2**20, 1), (32, 10**7, 0)],
)
def test_the_batch_follows_the_shared_memory(workers: int, shared: int | None, batch: int) -> None:
    assert pipeline.batch_for(workers, shared) == batch


def test_no_more_of_a_folder_is_listed_than_is_read(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.tar").write_bytes(bytes(1000))
    listed = []
    scandir = os.scandir

    def listing(path: str) -> Iterator[os.DirEntry[str]]:
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listing)
    monkeypatch.setattr(pipeline, "READ_BYTES", 1000)
    read = pipeline.read_speed(told.channel, str(tmp_path))
    assert read["data_files_read"] == 1
    assert len(listed) == 2
    assert told.all("progress")


def test_a_folder_without_images_is_not_searched_for_ever(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.jpg").write_bytes(b"1")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone")
    assert pipeline._jpegs(told.channel, str(tmp_path)) == [b"1"]
    monkeypatch.setattr(pipeline, "LOOK_SECONDS", -1.0)
    assert pipeline._jpegs(told.channel, str(tmp_path)) == []


def test_the_first_batch_waits_for_the_start_of_the_workers() -> None:
    def decode(data: bytes) -> Any:
        time.sleep(0.05)
        return torch.zeros(1)

    first_s, batches_s = pipeline._batch_seconds(pipeline.Images([b""], decode), 2, 2, 0.1)
    assert first_s > 2 * 0.05
    assert len(batches_s) >= pipeline.FEWEST_SAMPLES


def test_a_scaling_that_breaks_leaves_no_rate_that_would_pass_for_the_best(
    told: Told, torchvision: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(torchvision))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    impossible = -1
    monkeypatch.setattr(pipeline, "worker_counts", lambda cpus: [1, impossible])
    with pytest.raises(ValueError, match="num_workers"):
        pipeline.measure_pipeline(told.channel, {"shm_free_bytes": None}, 1.0)
    last = told.all("pipeline")[-1]
    assert last["checkpoint_bytes"] > 0
    assert "rates" not in last
