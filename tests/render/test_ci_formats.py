"""What CI systems and monitoring read, as parsers read it that others wrote."""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import jsonschema
import msgspec
import pytest
from junitparser import JUnitXml
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from envdoctor.facts.documents import facts_document
from envdoctor.findings import Severity
from envdoctor.formats import MACHINE, Line, Look
from envdoctor.output.error_documents import error_document
from envdoctor.policy.codes import POLICY_VERSION
from envdoctor.project_lines import lines_of_project, root_of_project
from envdoctor.render.emitters import EMITTERS
from envdoctor.render.places import NOWHERE, place_of
from envdoctor.report import Report, as_one
from tests.support.cases import CASES
from tests.support.diagnosis import report_on
from tests.support.doctor import envdoctor
from tests.tui import machines

PROJECT = (
    Line("pyproject.toml", 1, "[project]"),
    Line("pyproject.toml", 4, 'dependencies = ["torchvision>=0.19", "torch==2.6.0"]'),
    Line("requirements.txt", 2, "torch_geometric"),
)
SCHEMA = Path(__file__).with_name("sarif-2.1.0-rtm.5.json")
"""The schema of OASIS as SchemaStore has it, from the npm package @microsoft/jest-sarif (MIT)."""

every_case = pytest.mark.parametrize("name", [*CASES])


@cache
def report(name: str) -> Report:
    return report_on(CASES[name].snapshot)


@cache
def sarif_validator() -> jsonschema.Draft4Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())


def emitted(name: str, *reports: Report, lines: Iterable[Line] = PROJECT) -> str:
    return EMITTERS[name](as_one(reports), Look(lines=[*lines]))


# --- SARIF ---


@every_case
def test_sarif_is_valid_and_each_result_has_a_place(name: str) -> None:
    log = json.loads(emitted("sarif", report(name)))
    sarif_validator().validate(log)
    (run,) = log["runs"]
    assert len(run["results"]) == len(report(name).findings)
    prints = [one["partialFingerprints"]["envdoctorFinding/v1"] for one in run["results"]]
    assert len(set(prints)) == len(prints)
    rules = {one["id"] for one in run["tool"]["driver"]["rules"]}
    for result in run["results"]:
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uri"] in ("pyproject.toml", "requirements.txt")
        assert place["region"]["startLine"] >= 1
        assert result["ruleId"] in rules


def test_two_targets_are_one_run_whose_findings_differ() -> None:
    """GitHub takes no two runs of one tool and category."""
    one, two = report("cpu-torch-on-gpu-machine"), report("blackwell-on-cu124")
    assert one.target
    assert two.target
    log = json.loads(emitted("sarif", one, two))
    sarif_validator().validate(log)
    (run,) = log["runs"]
    assert len(run["results"]) == len(one.findings) + len(two.findings)


def test_a_finding_is_at_the_line_that_asks_for_its_package() -> None:
    (result, *_) = json.loads(emitted("sarif", report("cpu-torch-on-gpu-machine")))["runs"][0][
        "results"
    ]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "pyproject.toml"
    assert place["region"]["startLine"] == 4


def test_without_a_project_there_is_a_place_all_the_same() -> None:
    log = json.loads(emitted("sarif", report("driver-not-loaded"), lines=()))
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "envdoctor.toml"


def test_the_files_of_a_project_in_a_folder_below_its_root(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "training"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("numpy\ntorch==2.6\n")
    (folder / "pyproject.toml").mkdir()
    (folder / "uv.lock").symlink_to("/dev/zero")
    root = root_of_project(
        str(folder), {"GITHUB_WORKSPACE": str(tmp_path / "repository"), "CI_PROJECT_DIR": "/no"}
    )
    lines = lines_of_project(str(folder), root)
    assert [(line.path, line.number) for line in lines] == [
        ("training/requirements.txt", 1),
        ("training/requirements.txt", 2),
    ]
    here = root_of_project(str(folder), {})
    assert lines_of_project(str(folder), here)[0].path == "requirements.txt"


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        ("envdoctor.toml", "training/envdoctor.toml"),
        ("../policy.toml", "policy.toml"),
        ("/project/policy.toml", "policy.toml"),
        ("/etc/policy.toml", NOWHERE.path),
        ("../../policy.toml", NOWHERE.path),
    ],
)
def test_a_policy_is_pointed_at_from_the_root_of_the_project(file: str, shown: str) -> None:
    finding = POLICY_VERSION.finding(file=file, line=7, what="torch", found="1", wanted="2")
    look = Look(root="/project", folder="/project/training")
    assert place_of(finding, look).path == shown


# --- JUnit ---


@every_case
def test_junit_fails_where_the_exit_code_does(name: str) -> None:
    one = report(name)
    xml = JUnitXml.fromstring(emitted("junit", one).encode())
    (suite,) = xml
    failing = {finding.code for finding in one.findings if finding.severity is Severity.ERROR}
    assert (suite.failures > 0) is bool(failing)
    assert (suite.failures > 0) is (one.exit_code == 1)
    assert (suite.errors > 0) is (one.verdict.value == "incomplete")
    cases = list(suite)
    assert suite.tests == len(cases) == xml.tests
    texts = "".join(str(result.text) for case in cases for result in case.result)
    texts += "".join(case.system_out or "" for case in cases)
    assert {one.code for one in one.findings} <= set(re.findall(r"ED\d{3}", texts))


# --- GitHub and GitLab ---


@every_case
def test_github_gets_an_annotation_for_each_root_cause(name: str) -> None:
    one = report(name)
    first, *lines = emitted("github", one).splitlines()
    assert first.startswith(f"envdoctor: {one.verdict.value} - ")
    roots = [finding for finding in one.findings if finding.because is None]
    assert len(lines) == len(roots)
    for line, finding in zip(lines, roots, strict=True):
        # What @actions/core writes: ::name key=value,key=value::message
        match = re.fullmatch(r"::(error|warning|notice) ((?:\w+=[^,:]*,?)+)::(.+)", line)
        assert match, line
        assert finding.code in match[2]
        assert ("file=" in match[2]) is (finding.fault == "environment")


def test_what_comes_from_outside_is_no_command_of_the_runner() -> None:
    one = report("cpu-torch-on-gpu-machine")
    message = "50 %\r\n::set-output name=x::y"
    hostile = msgspec.structs.replace(one.findings[0], message=message)
    text = emitted("github", msgspec.structs.replace(one, findings=(hostile,)))
    assert [line for line in text.splitlines() if line.startswith("::set-output")] == []
    assert "50 %25%0D%0A::set-output" in text


@every_case
def test_gitlab_gets_what_its_manual_asks_for(name: str) -> None:
    issues = json.loads(emitted("gitlab", report(name)))
    assert len({one["fingerprint"] for one in issues}) == len(issues) == len(report(name).findings)
    for issue in issues:
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert issue["location"]["lines"]["begin"] >= 1
        assert not issue["location"]["path"].startswith(("/", "./"))
        assert issue["description"]
        assert issue["check_name"]


# --- OpenMetrics and JSON Lines ---


def families(text: str) -> dict[str, Metric]:
    return {one.name: one for one in openmetrics_parser.text_string_to_metric_families(text)}


@every_case
def test_prometheus_reads_the_metrics_in_both_of_its_formats(name: str) -> None:
    one = report(name)
    text = emitted("openmetrics", one)
    new = families(text)
    old = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert {family.type for family in new.values()} == {"gauge"}
    assert new.keys() == old.keys()
    verdicts = {
        sample.labels["verdict"]: sample.value for sample in new["envdoctor_verdict"].samples
    }
    assert [verdict for verdict, value in verdicts.items() if value] == [one.verdict.value]
    counts = {s.labels["severity"]: s.value for s in new["envdoctor_findings"].samples}
    assert sum(counts.values()) == len(one.findings)


def test_what_was_measured_is_a_metric() -> None:
    text = emitted("openmetrics", machines.MACHINES["two_gpus"](), report("healthy-gpu"))
    found = families(text)
    rates = found["envdoctor_training_images_per_second"].samples
    assert {one.labels["device"] for one in rates} == {"cpu", "cuda:0", "cuda:1"}
    assert len({one.labels["target"] for one in found["envdoctor_verdict"].samples}) == 2


@every_case
def test_each_line_of_json_can_be_read_alone(name: str) -> None:
    one = report(name)
    lines = [json.loads(line) for line in emitted("jsonl", one).splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds[0] == "verdict"
    assert kinds.count("finding") == len(one.findings)
    assert kinds.count("outcome") == len(one.outcomes)
    assert lines[0]["fault"] == one.fault
    assert all(line["created_at"] == one.created_at for line in lines)


# --- errors, several at once, the page of a run ---


def check_document(name: str, text: str) -> None:
    """Read a document of a format; raises where it is none."""
    if name == "junit":
        assert JUnitXml.fromstring(text.encode()).tests
    elif name == "openmetrics":
        assert [*openmetrics_parser.text_string_to_metric_families(text)]
    elif name == "github":
        assert re.match(r"::error |envdoctor: ", text)
    elif name == "sarif":
        sarif_validator().validate(json.loads(text))
    elif name == "jsonl":
        assert [json.loads(line) for line in text.splitlines()]
    elif name == "gitlab":
        assert isinstance(json.loads(text), list)
    else:
        assert json.loads(text)


@pytest.mark.parametrize("name", sorted(MACHINE))
def test_an_error_is_a_document_in_each_format(name: str) -> None:
    for message in ('no `a"b\\c<&>` in 50 %', "no `\uffff\ufffe`", "plain"):
        check_document(name, error_document(name, message, 4))
    run = envdoctor("check", "--facts", "/no/such/file", "--format", name)
    assert run.exit_code == 2
    check_document(name, run.stdout)
    assert "/no/such/file" in run.stdout or name == "openmetrics"


def test_several_formats_at_once(tmp_path: Path) -> None:
    facts = machines.file_of("broken_driver")
    copies = {name: tmp_path / f"out.{name}" for name in sorted(MACHINE - {"github"})}
    words = [word for name, file in copies.items() for word in ("-o", f"{name}={file}")]
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    env = {"GITHUB_STEP_SUMMARY": str(summary)}
    run = envdoctor("check", "--facts", facts, "--format", "github", *words, env=env)
    assert run.exit_code == 1
    assert re.search(r"^::error ", run.stdout, re.MULTILINE)
    for name, file in copies.items():
        check_document(name, file.read_text(encoding="utf-8"))
    assert summary.read_text().startswith("before\n# envdoctor: broken\n")
    alone = envdoctor("check", "--facts", facts, "-o", f"sarif={tmp_path / 'one'}")
    assert alone.stdout.startswith("verdict: broken")


def test_a_copy_that_cannot_be_written_is_an_error_document(tmp_path: Path) -> None:
    facts = machines.file_of("broken_driver")
    words = ("-o", f"jsonl={tmp_path / 'a'}", "-o", f"sarif={tmp_path / 'no' / 'b'}")
    run = envdoctor("check", "--facts", facts, "--json", *words)
    assert (run.exit_code, run.json["type"]) == (2, "error")


def test_a_summary_that_cannot_be_written_is_a_line(tmp_path: Path) -> None:
    env = {"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "summary")}
    facts = machines.file_of("healthy_cpu")
    run = envdoctor("check", "--facts", facts, "--format", "github", env=env)
    assert run.exit_code == 0
    assert "there is no folder" in run.stderr


def test_no_format_tells_a_secret(tmp_path: Path) -> None:
    token = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gH3j"
    facts = json.loads(msgspec.json.encode(facts_document(CASES["import-raises"].snapshot)))
    facts["facts"]["TorchImport"]["value"]["message"] = f"cannot fetch with {token}\x1b[2J"
    file = tmp_path / "facts.json"
    file.write_text(json.dumps(facts))
    names = sorted(MACHINE - {"github"})
    words = [word for name in names for word in ("-o", f"{name}={tmp_path / name}")]
    run = envdoctor("check", "--facts", file, "--format", "github", *words)
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in names}
    texts["github"] = run.stdout
    for name, text in texts.items():
        assert ("cannot fetch with" in text) is (name != "openmetrics")
        assert token not in text
        assert "\x1b" not in text
