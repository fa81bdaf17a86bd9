"""`pytest --envdoctor`: a broken environment ends the session once, with its root cause, and not
every test that imports torch; the header of the session says what the doctor found.

Loaded by pytest wherever envdoctor is installed: imports nothing before the option is given.
"""

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from envdoctor.report import Report

_HEADER = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("envdoctor", "the PyTorch/CUDA environment")
    group.addoption(
        "--envdoctor",
        action="store_true",
        help="diagnose the environment first, and stop where torch does not work in it",
    )
    group.addoption(
        "--envdoctor-expect",
        choices=("gpu", "cpu"),
        help="what torch is expected to use; a missing GPU then stops the session",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Diagnose, once also with several workers (pytest-xdist)."""
    config = session.config
    if not config.getoption("--envdoctor") or hasattr(config, "workerinput"):
        return
    report = _diagnosed(config)
    config.stash[_HEADER] = _in_a_line(report)
    if report.exit_code == 1:
        pytest.exit(_why(report), returncode=pytest.ExitCode.TESTS_FAILED)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The verdict and the versions."""
    line = config.stash.get(_HEADER, None)
    return [line] if line is not None else []


def _diagnosed(config: pytest.Config) -> "Report":
    from envdoctor.errors import BadInput
    from envdoctor.program import check

    try:
        return check(sys.executable, expect=config.getoption("--envdoctor-expect"))
    except BadInput as error:
        raise pytest.UsageError(f"envdoctor: {error}") from error


def _in_a_line(report: "Report") -> str:
    stack = report.stack
    versions = (
        ("torch", stack.torch_version),
        ("CUDA", stack.torch_cuda),
        ("driver", stack.driver_release),
    )
    known = ", ".join(f"{name} {version}" for name, version in versions if version)
    return f"envdoctor: {report.verdict.value}" + (f" ({known})" if known else "")


def _why(report: "Report") -> str:
    """The root cause and its fix, as the command line tells them."""
    from envdoctor.formats import Look
    from envdoctor.redaction import user_filter
    from envdoctor.render.emitters import EMITTERS

    return EMITTERS["text"](user_filter().document(report), Look(width=100)).strip()
