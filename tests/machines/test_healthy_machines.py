"""A healthy machine of each kind gets neither an error nor a warning."""

import pytest

from envdoctor.api import Severity
from envdoctor.findings import Verdict
from tests.support.diagnosis import report_on
from tests.support.healthy_machines import HEALTHY_MACHINES, LEFT_IN_PEACE
from tests.support.invariants import violations

ALL = {**HEALTHY_MACHINES, **LEFT_IN_PEACE}

KINDS = (
    *("desktop", "laptop-with-two-gpus", "server-with-eight-gpus-and-nvswitch", "mig-slice"),
    *("vgpu", "docker", "kubernetes-with-a-gpu", "kubernetes-without-a-gpu", "slurm-job"),
    *("apptainer", "wsl", "jetson", "gb10", "gh200", "cpu-only-virtual-machine", "gvisor"),
    "virtualisation-host",
)


@pytest.mark.parametrize("name", [*KINDS, *(name for name in ALL if name not in KINDS)])
def test_its_owner_hears_nothing_but_that(name: str) -> None:
    report = report_on(ALL[name])
    loud = [one for one in report.findings if one.severity is not Severity.INFO]
    assert [(one.name, one.message) for one in loud] == []
    assert (report.verdict, report.exit_code) == (Verdict.HEALTHY, 0)
    assert violations(report) == []
