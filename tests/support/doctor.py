"""Runs the doctor as a user does: its command, in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

_OWN = ("ENVDOCTOR_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Run:
    """One run of the program."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def no_traceback(self) -> bool:
        return "Traceback" not in self.stderr + self.stdout


def envdoctor(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 120.0,
) -> Run:
    """Run `envdoctor` with arguments, in an environment without the user's own settings."""
    clean = {name: value for name, value in os.environ.items() if name not in _OWN}
    done = subprocess.run(
        [sys.executable, "-m", "envdoctor", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**clean, **(env or {})},
        cwd=cwd,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Run(done.returncode, done.stdout, done.stderr)


STARTS = 40


def slack_s() -> float:
    """What a bound is missed by on a machine that does other things as well: as long as it now
    takes to start a bare Python some times."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    return STARTS * (time.monotonic() - began)


def report_of(*arguments: str | Path, **options: Any) -> dict[str, Any]:
    """The report of `envdoctor check --json`, validated against the schema that ships."""
    run = envdoctor("check", "--json", *arguments, **options)
    assert run.no_traceback, run.stderr
    report: dict[str, Any] = run.json
    validator().validate(report)
    assert report["exit_code"] == run.exit_code
    return report


@cache
def validator() -> Any:
    """A validator for reports, of the schema that the program prints."""
    schema = json.loads(envdoctor("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def names(report: Mapping[str, Any]) -> list[str]:
    """The names of the findings, in their order."""
    return [finding["name"] for finding in report["findings"]]
