"""Real CUDA wheels, broken in many ways: the prediction must be what is mapped.

    ENVDOCTOR_WHEELS=/big/disk pytest -m wheels tests/wheels -s
    ENVDOCTOR_WHEELS_TORCH=2.6.0 ...      only that release
    ENVDOCTOR_WHEELS_ONLY=nvJitLink ...   only scenarios with that text in their name; the others
                                          keep their outcomes in the results file

One environment at a time; each is removed after its turn unless ENVDOCTOR_WHEELS_KEEP is set.
"""

import datetime
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from envdoctor.probes.built_in_stages import IMPORT, RUNTIME
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from envdoctor.probes.staging import run_stages
from tests.driver.fake import build_fake
from tests.wheels.environments import CACHE, Environment, installed
from tests.wheels.lane import Outcome, as_document, try_scenario
from tests.wheels.scenarios import SCENARIOS

RELEASES = ("2.1.2", "2.4.1", "2.6.0", "2.8.0", "2.15.0")
RESULTS = Path(__file__).with_name("results")
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.wheels, pytest.mark.timeout(7200)]

_chosen = tuple(filter(None, os.environ.get("ENVDOCTOR_WHEELS_TORCH", "").split(","))) or RELEASES


@pytest.fixture(scope="module", params=_chosen)
def base(request: pytest.FixtureRequest) -> Iterator[tuple[str, Environment]]:
    """An installed environment whose files are the same afterwards."""
    environment = installed(request.param)
    before = environment.state()
    yield request.param, environment
    assert environment.state() == before, "the base was written into"
    if "ENVDOCTOR_WHEELS_KEEP" not in os.environ:
        shutil.rmtree(environment.folder)


def test_the_prediction_is_what_is_mapped(base: tuple[str, Environment]) -> None:
    version, environment = base
    folder = CACHE / f"work-{version}"
    folder.mkdir(exist_ok=True)
    wanted = os.environ.get("ENVDOCTOR_WHEELS_ONLY", "")
    outcomes: list[Outcome] = []
    for scenario in SCENARIOS:
        if wanted not in scenario.name:
            continue
        outcome = try_scenario(environment, version, scenario, folder)
        print(f"{version} {scenario.name}: {outcome.right}/{outcome.mapped} {outcome.faults or ''}")
        outcomes.append(outcome)
    shutil.rmtree(folder)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"torch-{version}.json"
    together = merged(file, outcomes) if wanted else outcomes
    document = as_document(together, datetime.date.today().isoformat())
    text = json.dumps(document, indent=1) + "\n"
    for folder, name in ((CACHE, "CACHE"), (ROOT, "REPO"), (Path.home(), "HOME")):
        text = text.replace(str(folder), name)
    file.write_text(text)
    assert document["environments_tried"] >= 25
    assert not [(one.scenario, one.faults) for one in outcomes if one.faults]


def test_the_driver_writes_where_it_is_read(
    base: tuple[str, Environment], compiler: str, children: Children, tmp_path: Path
) -> None:
    """The runtime of CUDA in the wheels loads libcuda after the variable is set."""
    library = build_fake(compiler, tmp_path, "cuda.c", "libcuda.so.1", "INIT_STATUS=803")
    run = context_of(children, env={**os.environ, "LD_LIBRARY_PATH": str(library)}).run
    results = run_stages(str(base[1].python), (IMPORT, RUNTIME), run=run)
    assert "803" in results[RUNTIME.name].data["cuda_error"]
    assert "Returning 803 from cuInit" in (results[RUNTIME.name].log or "")
    assert results[IMPORT.name].log == ""


def merged(file: Path, outcomes: list[Outcome]) -> list[Outcome]:
    """The recorded outcomes, those of the scenarios that were tried again replaced."""
    recorded = json.loads(file.read_text())["outcomes"] if file.exists() else []
    again = {one.scenario for one in outcomes}
    kept = [Outcome(**one) for one in recorded if one["scenario"] not in again]
    order = [scenario.name for scenario in SCENARIOS]
    return sorted([*kept, *outcomes], key=lambda one: order.index(one.scenario))
