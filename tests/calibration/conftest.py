"""The tests that measure need a torch beside the doctor."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from envdoctor.calibration.target.channel import Channel
from tests.conftest import require

TORCHVISION = {"2.13": "0.28.0", "2.12": "0.27.0", "2.11": "0.26.0", "2.10": "0.25.0"}

collect_ignore = (
    []
    if find_spec("torch")
    else [
        "test_cpu_checks.py",
        "test_decisions.py",
        "test_gpt2.py",
        "test_gpu_path.py",
        "test_measure.py",
        "test_contention.py",
        "test_pipeline.py",
        "test_resnet50.py",
        "test_worker.py",
    ]
)


class Told:
    """A channel, and what was said on it."""

    def __init__(self, fd: int) -> None:
        self.channel = Channel(fd)

    def all(self, event: str) -> list[dict[str, Any]]:
        size = os.fstat(self.channel.fd).st_size
        lines = os.pread(self.channel.fd, size, 0).splitlines()
        return [one["data"] for one in map(json.loads, lines) if one["event"] == event]


@pytest.fixture
def told() -> Iterator[Told]:
    """A channel to measure in this process with, on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fd = os.memfd_create("told")
    yield Told(fd)
    os.close(fd)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def torchvision(request: pytest.FixtureRequest) -> Path:
    """A real torchvision with Pillow and numpy, in a folder of the test cache."""
    import torch

    release = ".".join(torch.__version__.split(".")[:2])
    require(release in TORCHVISION, "a torch whose torchvision is known")
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir(f"torchvision-{TORCHVISION[release]}"))
    if not (folder / "complete").is_file():
        wanted = [f"torchvision=={TORCHVISION[release]}", "pillow", "numpy"]
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
        done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
        require(done.returncode == 0, f"a package index with torchvision: {done.stderr[-300:]}")
        (folder / "complete").touch()
    return folder
