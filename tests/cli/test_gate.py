"""The gate of a CI runner, as a workflow runs it: the exit code, the annotations and the files."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from envdoctor.facts.documents import facts_document
from tests.support.cases import CASES
from tests.support.doctor import envdoctor


@pytest.mark.parametrize(
    ("machine", "exit_code", "verdict", "fault", "annotations"),
    [
        ("healthy-gpu", 0, "healthy", None, []),
        ("cpu-torch-on-gpu-machine", 1, "broken", "environment", ["error"]),
        ("driver-not-loaded", 1, "broken", "machine", ["error"]),
        ("container-with-small-shm", 0, "degraded", "machine", ["warning"]),
        # Withheld: a CUDA build where no GPU was given, as on the machine that builds an image.
        ("cuda-torch-without-gpu", 0, "healthy", None, []),
        ("nothing-is-known", 3, "incomplete", None, []),
    ],
)
def test_the_gate(
    tmp_path: Path,
    machine: str,
    exit_code: int,
    verdict: str,
    fault: str | None,
    annotations: list[str],
) -> None:
    facts = tmp_path / "facts.json"
    facts.write_bytes(msgspec.json.encode(facts_document(CASES[machine].snapshot)))
    (tmp_path / "requirements.txt").write_text("numpy\ntorch==2.6.0\n")
    files = ("-o", "sarif=out.sarif", "-o", "json=out.json")
    env = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    run = envdoctor("check", "--facts", facts, "--format", "github", *files, cwd=tmp_path, env=env)
    assert run.exit_code == exit_code, run.stderr
    found = re.findall(r"^::(error|warning) ", run.stdout, re.MULTILINE)
    assert found == annotations
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["verdict"], report["fault"], report["exit_code"]) == (verdict, fault, exit_code)
    (sarif,) = json.loads((tmp_path / "out.sarif").read_text())["runs"]
    assert sarif["invocations"][0]["exitCode"] == exit_code
    assert sarif["properties"]["faults"] == [fault]
    assert (tmp_path / "summary.md").read_text().startswith(f"# envdoctor: {verdict}\n")
    at_the_line = "file=requirements.txt,line=2" in run.stdout
    assert at_the_line is (fault == "environment")
