"""The gate of a CI runner, as a workflow runs it: the exit code, the annotations and the files, in
every format at once."""

import json
import re
from pathlib import Path

import html5lib
import msgspec
import pytest
from junitparser import JUnitXml

from envdoctor.facts import Snapshot
from envdoctor.facts.documents import facts_document
from envdoctor.formats import DIAGNOSIS
from tests.render.test_ci_formats import check_document, families
from tests.support.cases import CASES
from tests.support.doctor import Run, envdoctor, validator
from tests.support.healthy_machines import HEALTHY_MACHINES

FILES = [name for name in DIAGNOSIS if name != "github"]


def gate(folder: Path, snapshot: Snapshot, *options: str) -> Run:
    """The step of a workflow, in a checkout of a project: one run that writes all there is."""
    facts = folder / "facts.json"
    facts.write_bytes(msgspec.json.encode(facts_document(snapshot)))
    (folder / "requirements.txt").write_text("numpy\ntorch==2.6.0\n")
    outputs = [word for name in FILES for word in ("-o", f"{name}=out.{name}")]
    words = ("check", "--facts", str(facts), "--format", "github", *outputs, *options)
    env = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    return envdoctor(*words, cwd=folder, env=env)


def annotations(run: Run) -> list[str]:
    return re.findall(r"^::(error|warning) ", run.stdout, re.MULTILINE)


def files_agree(folder: Path, exit_code: int, verdict: str, fault: str | None) -> None:
    """Every file is one document of its format, and all say the same."""
    texts = {name: (folder / f"out.{name}").read_text(encoding="utf-8") for name in FILES}
    for name in FILES:
        if name not in ("text", "markdown", "html"):
            check_document(name, texts[name])
    report = json.loads(texts["json"])
    validator().validate(report)
    assert (report["verdict"], report["fault"], report["exit_code"]) == (verdict, fault, exit_code)
    assert texts["text"].startswith(f"verdict: {verdict} - ")
    assert texts["markdown"].startswith(f"# envdoctor: {verdict}\n")
    assert (folder / "summary.md").read_text() == texts["markdown"]
    html5lib.HTMLParser(strict=True).parse(texts["html"])
    assert verdict in texts["html"]
    first = json.loads(texts["jsonl"].splitlines()[0])
    assert (first["verdict"], first["fault"]) == (verdict, fault)
    (suite,) = JUnitXml.fromstring(texts["junit"].encode())
    assert (suite.failures > 0, suite.errors > 0) == (exit_code == 1, exit_code == 3)
    (sarif,) = json.loads(texts["sarif"])["runs"]
    assert sarif["invocations"][0]["exitCode"] == exit_code
    assert sarif["properties"]["faults"] == [fault]
    assert len(json.loads(texts["gitlab"])) == len(report["findings"]) == len(sarif["results"])
    verdicts = families(texts["openmetrics"])["envdoctor_verdict"].samples
    assert [one.labels["verdict"] for one in verdicts if one.value] == [verdict]


@pytest.mark.parametrize(
    ("machine", "exit_code", "verdict", "fault", "expected"),
    [
        ("healthy-gpu", 0, "healthy", None, []),
        ("cpu-torch-on-gpu-machine", 1, "broken", "environment", ["error"]),
        ("driver-not-loaded", 1, "broken", "machine", ["error"]),
        ("container-with-small-shm", 0, "degraded", "machine", ["warning"]),
        # Withheld: a CUDA build where no GPU was given, as on the machine that builds an image, and
        # in a pod that asked for none on a node that has some.
        ("cuda-torch-without-gpu", 0, "healthy", None, []),
        ("kubernetes-without-a-gpu", 0, "healthy", None, []),
        # Unknown: nothing answered; and nobody wanted to look.
        ("nothing-answers-in-time", 3, "incomplete", None, []),
        ("nothing-was-run", 0, "unproven", None, []),
    ],
)
def test_the_gate(
    tmp_path: Path,
    machine: str,
    exit_code: int,
    verdict: str,
    fault: str | None,
    expected: list[str],
) -> None:
    snapshot = CASES[machine].snapshot if machine in CASES else HEALTHY_MACHINES[machine]
    run = gate(tmp_path, snapshot)
    assert run.exit_code == exit_code, run.stderr
    assert annotations(run) == expected
    files_agree(tmp_path, exit_code, verdict, fault)
    at_the_line = "file=requirements.txt,line=2" in run.stdout
    assert at_the_line is (fault == "environment")


@pytest.mark.parametrize(
    ("policy", "exit_code", "verdict", "fault", "expected"),
    [
        ('[versions]\ntorch = ">=9"\n', 1, "broken", "environment", ["error"]),
        ("[gpus]\n\nmin-count = 9\n", 1, "broken", "machine", ["error"]),
        ("[speed]\nspeedup = 20\n", 0, "unproven", None, []),
    ],
)
def test_the_gate_with_a_policy(
    tmp_path: Path,
    policy: str,
    exit_code: int,
    verdict: str,
    fault: str | None,
    expected: list[str],
) -> None:
    """What does not hold is annotated at the line of the policy that asks for it."""
    (tmp_path / "envdoctor.toml").write_text(policy)
    run = gate(tmp_path, CASES["healthy-gpu"].snapshot, "--policy", "envdoctor.toml")
    assert run.exit_code == exit_code, run.stderr
    assert annotations(run) == expected
    files_agree(tmp_path, exit_code, verdict, fault)
    line = policy.count("\n") if exit_code == 1 else 0
    assert (f"file=envdoctor.toml,line={line}" in run.stdout) is (exit_code == 1)


def test_a_gate_that_is_refused_leaves_no_file_and_says_why(tmp_path: Path) -> None:
    """A workflow that uploads what it finds uploads nothing of another run."""
    (tmp_path / "envdoctor.toml").write_text("[versions]\ntroch = '>=2'\n")
    run = gate(tmp_path, CASES["healthy-gpu"].snapshot, "--policy", "envdoctor.toml")
    assert run.exit_code == 2
    assert run.stdout.startswith("::error ")
    assert "did you mean `torch`" in run.stdout
    assert not [*tmp_path.glob("out.*")]
