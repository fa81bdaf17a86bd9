"""A collective on old and new releases of torch, from real wheels."""

import pytest

from tests.support.doctor import envdoctor
from tests.wheels.environments import installed


@pytest.mark.wheels
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("release", ["2.0.1", "2.6.0", "2.11.0", "2.15.0"])
def test_ranks_reach_each_other_on_this_release(release: str) -> None:
    """The torchrun of 1.13 itself does not start on Python 3.11."""
    python = installed(release).python
    run = envdoctor("collective", "--json", "--backend", "gloo", "--python", python, timeout_s=300)
    assert (run.exit_code, run.json["verdict"]) == (0, "healthy"), run.json
    tried = run.json["collective"]
    assert tried["nodes"][0]["torch"].startswith(release)
    assert [one["used"] for one in tried["ranks"]] == [["lo"], ["lo"]]
