"""Shared fixtures: real children, real interpreters, no mocks."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from envdoctor.probes.run import Children

ON_CI = os.environ.get("CI") == "true"

# Fewer examples than Hypothesis takes by itself: the lanes take thousands.
settings.register_profile("suite", settings(), max_examples=60)
settings.load_profile("suite")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are CPUs: a third of the time tests wait for children, and some for what
    never answers."""
    return len(os.sched_getaffinity(0)) + 1


# What a shell starts in the background ignores SIGINT, and so would all that the tests start; what
# `nohup` starts, SIGHUP.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def require(condition: bool, what: str) -> None:
    """Skip a test whose tool is missing; on CI that is a failure."""
    if condition:
        return
    if ON_CI:
        pytest.fail(f"CI needs {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture
def children() -> Iterator[Children]:
    """A registry of children that leaves none behind."""
    registry = Children()
    yield registry
    registry.kill_all()


@pytest.fixture(scope="session")
def compiler() -> str:
    """A C compiler."""
    path = shutil.which("gcc") or shutil.which("cc")
    require(path is not None, "a C compiler")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's data of real failures and vendor facts; tests without it are skipped."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "cases" / "cases.jsonl").is_file():
        pytest.skip("the shared data is not here")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--write-goldens` writes what the goldens hold anew, to be read as a diff."""
    parser.addoption("--write-goldens", action="store_true", help="write golden files anew")


@pytest.fixture
def write_goldens(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written."""
    return bool(request.config.getoption("--write-goldens"))
