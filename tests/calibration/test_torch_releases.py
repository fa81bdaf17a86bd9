"""The worker on old and new releases of torch, from real wheels."""

import msgspec
import pytest

from envdoctor.calibration.runner import calibrate
from envdoctor.facts import Observed
from envdoctor.facts.calibration import Settings
from envdoctor.probes.run import Children
from tests.wheels.environments import installed

SETTINGS = Settings(
    devices=("cpu",), batch_size=1, budget_s=2.0, usable_cpus=1.0, all_reduce=True, compile=True
)
WITHOUT_COMPILE = ("1.13.1", "2.0.1")
"""torch.compile came with 2.0, for Python 3.11 with 2.1."""


@pytest.mark.wheels
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("release", ["1.13.1", "2.0.1", "2.6.0", "2.11.0", "2.15.0"])
def test_every_part_runs_on_this_release(release: str, children: Children) -> None:
    settings = SETTINGS
    if release in WITHOUT_COMPILE:
        settings = msgspec.structs.replace(settings, compile=False)
    known = calibrate(str(installed(release).python), settings, children=children)
    assert isinstance(known, Observed), known
    result = known.value
    assert result.complete
    assert [one for one in result.left_out if one.failed] == []
    assert result.conditions.torch_version is not None
    assert result.conditions.torch_version.startswith(release)
    assert {run.compiled for run in result.runs} == {False, settings.compile}
    assert {"matmul fp32", "memory copy", "gloo all-reduce bus"} <= {
        one.name for one in result.ceilings
    }
