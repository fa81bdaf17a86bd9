"""The prologs of examples/ in a real Slurm: who is drained, and whose job runs all the same."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.examples.doctors import ENVIRONMENT, FAILS, HEALTHY, LIVE, MACHINE, MISSING, UNKNOWN
from tests.slurm.cluster import PROGRAMS, Cluster
from tests.support.patients import empty_patient, fake_torch

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

NODES = {
    "healthy": HEALTHY,
    "broken": MACHINE,
    "user": ENVIRONMENT,
    "unknown": UNKNOWN,
    "failing": FAILS,
    "without": MISSING,
    # This machine: no GPU, whatever its gres.conf says.
    "plain": LIVE,
}

GPU = "--gres=gpu:1"


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that every user can walk to, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="envdoctor-slurm-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def cluster(open_folder: Path) -> Iterator[Cluster]:
    require(os.getuid() == 0, "root")
    for program in PROGRAMS:
        require(shutil.which(program) is not None, program)
    cluster = Cluster(open_folder, NODES)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.parametrize(
    ("node", "options"),
    [
        ("healthy", (GPU,)),
        ("healthy", ()),
        # A user's broken torch, a doctor that cannot tell, one that fails, one that is not there.
        ("user", (GPU,)),
        ("unknown", (GPU,)),
        ("failing", (GPU,)),
        ("without", (GPU,)),
        # A node without a GPU that is asked for CPUs alone.
        ("plain", ()),
    ],
)
def test_a_node_that_is_in_order_or_of_which_nobody_can_tell_runs_the_job(
    cluster: Cluster, node: str, options: tuple[str, ...]
) -> None:
    job = cluster.submit(node, "id -u", *options)
    assert job.end() == "COMPLETED"
    assert job.output == "65534\n"
    assert cluster.state_of(node) in ("IDLE", "COMPLETING")


@pytest.mark.parametrize(("node", "disease"), [("broken", "ED200"), ("plain", "ED412")])
def test_a_node_that_is_broken_is_drained_with_the_reason_and_its_job_waits(
    cluster: Cluster, node: str, disease: str
) -> None:
    job = cluster.submit(node, "id -u", GPU)
    try:
        assert job.end() == "held"
        assert "DRAIN" in cluster.state_of(node)
        assert cluster.reason_of(node).startswith(f"envdoctor: {disease}")
        assert "65534" not in job.output
    finally:
        cluster.resume(node)


@pytest.fixture(scope="module")
def torch_that_fails(open_folder: Path) -> Path:
    patient = empty_patient(open_folder / "venv")
    fake_torch(patient, "raise ImportError('libnowhere.so.1: cannot open shared object file')")
    return patient.root


@pytest.mark.parametrize(
    ("wish", "doctor", "end", "said"),
    [
        ("", "plain", "COMPLETED", False),
        ("warn", "plain", "COMPLETED", True),
        ("cancel", "plain", "FAILED", True),
        # Who cannot tell cancels nothing.
        ("cancel", "failing", "COMPLETED", False),
    ],
)
def test_a_users_broken_torch_is_said_in_the_output_and_ends_the_task_where_that_is_wished(
    cluster: Cluster, torch_that_fails: Path, wish: str, doctor: str, end: str, said: bool
) -> None:
    env = {
        "ENVDOCTOR_PROLOG": wish,
        "ENVDOCTOR_HOME": str(cluster.folder / "doctors" / doctor),
        "VIRTUAL_ENV": str(torch_that_fails),
    }
    job = cluster.submit("healthy", "srun --kill-on-bad-exit=1 id -u", **env)
    assert job.end() == end
    assert ("65534\n" in job.output) is (end == "COMPLETED")
    assert ("libnowhere.so.1" in job.output) is said
    # A user's environment takes no node away.
    assert "DRAIN" not in cluster.state_of("healthy")
