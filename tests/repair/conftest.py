"""A shell for every test of repairs: the POSIX shell of the system, and bash."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import require
from tests.repair.shell import PROGRAMS, Shell


@pytest.fixture(params=["sh", "bash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """Programs that record their calls, in a folder of this test."""
    require(shutil.which(request.param) is not None, request.param)
    made = Shell(root=tmp_path, name=request.param)
    for program in PROGRAMS:
        made.add(made.programs / program)
    return made
