"""Environments that work, put together from real wheels in every usual way: none is called ill.

Each counts only if its own Python imports all of it; then an error or a warning is a false alarm.
"""

import datetime
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doctor import envdoctor
from tests.wheels.environments import (
    CACHE,
    Environment,
    clean_environment,
    installed,
    linked_copy,
)
from tests.wheels.layouts import LAYOUTS

RESULTS = Path(__file__).parent / "results" / "healthy.json"

PAIRED = {
    "2.4.1": ("torchvision==0.19.1",),
    "2.6.0": ("torchvision==0.21.0", "torchaudio==2.6.0", "bitsandbytes==0.45.5", "torchao==0.9.0"),
    "2.13.0": (),
    "2.15.0": (),
}
"""Releases of torch with what was released for each."""

pytestmark = [pytest.mark.wheels, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module", params=PAIRED)
def base(request: pytest.FixtureRequest) -> Iterator[tuple[str, Environment]]:
    environment = installed(request.param, *PAIRED[request.param])
    yield request.param, environment
    shutil.rmtree(environment.folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_said_of_what_works(base: tuple[str, Environment], layout: str) -> None:
    version, environment = base
    folder = CACHE / "healthy" / "env"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.parent.mkdir()
    copy = linked_copy(environment, folder)
    place = LAYOUTS[layout](copy)
    modules = ["torch", *(one.partition("==")[0] for one in PAIRED[version])]
    code = f"import {', '.join(modules)}; torch.ones(2) @ torch.ones(2)"
    variables = {**clean_environment(), **place.variables}
    python = place.target / "bin/python"
    subprocess.run([python, "-c", code], check=True, env=variables, cwd=place.cwd)
    run = envdoctor(
        *("check", "--json", "--python", place.target),
        env=place.variables,
        cwd=place.cwd,
        timeout_s=300,
    )
    loud = [
        f"{one['name']}: {one['message']}"
        for one in run.json["findings"]
        if one["severity"] != "info"
    ]
    _record(version, layout, run.json["verdict"], loud)
    assert (loud, run.json["verdict"]) == ([], "healthy")


def _record(version: str, layout: str, verdict: str, loud: list[str]) -> None:
    table = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"environments": []}
    rows = [
        row for row in table["environments"] if (row["torch"], row["layout"]) != (version, layout)
    ]
    row = {"torch": version, "beside": list(PAIRED[version]), "layout": layout, "verdict": verdict}
    rows.append({**row, "told": loud, "date": str(datetime.date.today())})
    false = sum(bool(one["told"]) for one in rows)
    document = {"environments_tried": len(rows), "false_alarms": false, "environments": rows}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
