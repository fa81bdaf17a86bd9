"""Device nodes that access(2) calls open and open(2) refuses: AppArmor, a mount with `nodev`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.facts import Snapshot
from envdoctor.facts.machine import Nvml
from tests.conftest import require
from tests.support.diagnosis import report_on
from tests.support.gpu_states import NO_DEVICE, NO_GPUS, unseen_by_torch

NODES = ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")
REFUSED = replace(NO_DEVICE, refused_nodes=NODES)


def refused(*changes: Any, **fields: Any) -> Snapshot:
    return unseen_by_torch(
        Nvml(status="NVML_ERROR_UNKNOWN"),
        NO_GPUS,
        REFUSED,
        *changes,
        **{"Driver": {"device_nodes": NODES}, **fields},
    )


def test_what_the_kernel_refuses_is_seen_by_opening(tmp_path: Path) -> None:
    """On a file system that is mounted without devices the mode says nothing."""
    script = (
        'mount -t tmpfs -o nodev none "$PWD" && cd "$PWD" && '
        "for name in nvidia0 nvidiactl nvidia-caps; do mknod -m 666 $name c 1 3; done && "
        'touch nvidia-uvm && exec "$@"'
    )
    inside = ["unshare", "--mount", "sh", "-c", script, "sh"]
    allowed = subprocess.run([*inside, "true"], cwd=tmp_path, capture_output=True, check=False)
    require(allowed.returncode == 0, "root that may mount a file system")
    code = (
        "import json, os; from envdoctor.probes.cuda_child import refused_nodes;"
        "print(json.dumps(refused_nodes(os.getcwd())))"
    )
    command = [*inside, sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [Path(node).name for node in json.loads(done.stdout)] == ["nvidia0", "nvidiactl"]


@pytest.mark.parametrize("container", [{"kind": "none"}, {"kind": "lxc"}])
def test_nodes_that_open_refuses_are_the_cause(container: dict[str, str]) -> None:
    first = report_on(refused(Container=container)).findings[0]
    assert first.name == "device-permission"
    assert first.evidence[0].source == "open(2)"
    assert "AppArmor" in first.notes[0]
