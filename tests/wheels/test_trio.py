"""PyTorch's own trio from the package index is healthy: no finding, live and by its files alone.

torchvision and torchaudio link against libraries of their own folder that Python loads by path
first; a rule that only follows the ELF files calls both broken.
"""

import shutil
from collections.abc import Iterator

import pytest

from tests.support.doctor import envdoctor
from tests.wheels.environments import Environment, installed

TRIOS = {
    "2.4.1": ("torchvision==0.19.1", "torchaudio==2.4.1"),
    "2.6.0": ("torchvision==0.21.0", "torchaudio==2.6.0"),
}

pytestmark = [pytest.mark.wheels, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module", params=TRIOS)
def trio(request: pytest.FixtureRequest) -> Iterator[Environment]:
    environment = installed(request.param, *TRIOS[request.param])
    yield environment
    shutil.rmtree(environment.folder)


@pytest.mark.parametrize("mode", ["live", "static"])
def test_the_official_trio_is_healthy(trio: Environment, mode: str) -> None:
    static = ("--static",) if mode == "static" else ()
    expected = ("--expect", "cpu")
    run = envdoctor("check", "--json", *static, *expected, "--python", trio.python, timeout_s=300)
    told = [(one["severity"], one["name"]) for one in run.json["findings"]]
    assert [one for one in told if one[0] != "info"] == []
    assert run.json["verdict"] == ("healthy" if mode == "live" else "unproven")
    outcomes = {(one["action"], one["subject"]): one["state"] for one in run.json["outcomes"]}
    for name in ("torch", "torchvision", "torchaudio"):
        assert outcomes["import", name] == ("works" if mode == "live" else "unseen")
