"""One scenario from the prediction, written before the child starts, to the verdict on it."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envdoctor.knowledge import load
from tests.wheels.environments import (
    Environment,
    clean_environment,
    linked_copy,
    run_truth,
)
from tests.wheels.scenarios import Scenario

_TEXT = 200
LIBRARIES = load().libraries


@dataclass
class Outcome:
    """What was predicted, what happened, and what is wrong with the doctor's answer."""

    torch: str
    scenario: str
    status: str = "tried"
    imports: bool | None = None
    error: str = ""
    predicted_error: str = ""
    mapped: int = 0
    right: int = 0
    opened_later: int = 0
    opened_later_right: int = 0
    codes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def try_scenario(base: Environment, version: str, scenario: Scenario, folder: Path) -> Outcome:
    """Break a copy, predict, run for real, compare."""
    outcome = Outcome(torch=version, scenario=scenario.name)
    copy = linked_copy(base, folder / "copy")
    variables = scenario.apply(copy)
    if variables is None:
        outcome.status = "does not apply"
        return outcome
    report = predict(copy, variables, folder / "prediction.json")
    truth = run_truth(copy, variables, folder / "truth.json")
    judge(outcome, scenario, report, truth)
    return outcome


def predict(environment: Environment, variables: dict[str, str], out: Path) -> dict[str, Any]:
    """The static report, in a file before anything is loaded."""
    command = [sys.executable, "-m", "envdoctor", "check", "--static", "--python"]
    result = subprocess.run(
        [*command, str(environment.folder), "-o", str(out)],
        env={**clean_environment(), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if result.returncode not in (0, 1, 3):
        raise RuntimeError(f"envdoctor: {result.returncode}: {result.stderr[-800:]}")
    report: dict[str, Any] = json.loads(out.read_text())
    return report


def judge(
    outcome: Outcome, scenario: Scenario, report: dict[str, Any], truth: dict[str, Any]
) -> None:
    """Fill in the outcome; `faults` stays empty where the doctor was right."""
    fact = report["facts"]["LibraryResolution"]["value"]
    findings = report["findings"]
    outcome.codes = sorted({f"{f['code']}:{f['severity']}" for f in findings})
    outcome.predicted_error = (fact["import_error"] or "")[:_TEXT]
    outcome.error = str(truth.get("import") or "")[:_TEXT]
    finished = bool(truth.get("finished"))
    if "mapped" not in truth:
        outcome.status = f"died ({truth['exit']}): nothing to compare"
        outcome.imports = False
    else:
        outcome.imports = truth["import"] is None
        if finished:
            _compare_files(outcome, fact, truth["mapped"], truth.get("mapped_later", []))
        else:
            outcome.status = f"died ({truth['exit']}) after the import: nothing to compare"
    _judge_findings(outcome, scenario, findings, works=bool(outcome.imports and finished))


def _compare_files(
    outcome: Outcome, fact: dict[str, Any], mapped: list[str], later: list[str]
) -> None:
    truth = {os.path.realpath(path) for path in mapped if LIBRARIES.uses_cuda(path)}
    libraries = fact["libraries"]
    predicted = {
        one["path"] for one in libraries if one["mapped"] and LIBRARIES.uses_cuda(one["path"])
    }
    outcome.mapped, outcome.right = len(truth), len(truth & predicted)
    outcome.faults += [f"not predicted: {path}" for path in sorted(truth - predicted)]
    late = {os.path.realpath(path) for path in later if LIBRARIES.uses_cuda(path)}
    known = {one["path"] for one in libraries}
    outcome.opened_later, outcome.opened_later_right = len(late), len(late & known)
    outcome.faults += [f"not predicted, later: {path}" for path in sorted(late - known)]
    outcome.faults += [f"not mapped: {path}" for path in sorted(predicted - truth)]


def _judge_findings(
    outcome: Outcome, scenario: Scenario, findings: list[dict[str, Any]], *, works: bool
) -> None:
    errors = {f["code"] for f in findings if f["severity"] == "error"}
    loader_errors = {code for code in errors if "ED300" <= code < "ED370"}
    told = {
        f["code"] for f in findings if "ED300" <= f["code"] < "ED370" and f["severity"] != "info"
    }
    if bool(outcome.predicted_error) == bool(outcome.imports) and not outcome.status.startswith(
        "died"
    ):
        outcome.faults.append(
            f"predicted {outcome.predicted_error!r}, and it was {outcome.error!r}"
        )
    if not outcome.imports and not loader_errors & set(scenario.codes):
        outcome.faults.append(f"none of {scenario.codes} was told: {sorted(errors)}")
    if outcome.imports and scenario.hidden:
        # A warning will do: in torch 2.15 libcudnn's own parts are out of reach of LD_LIBRARY_PATH.
        if not told & set(scenario.hidden):
            outcome.faults.append(f"none of {scenario.hidden} was told: {sorted(errors)}")
    elif works and loader_errors - set(scenario.may_hide):
        outcome.faults.append(f"it works, and {sorted(loader_errors)} was told")
    if scenario.silent and told:
        outcome.faults.append(f"nothing changed, and {sorted(told)} was told")


def as_document(outcomes: list[Outcome], date: str) -> dict[str, Any]:
    """The accuracy with its denominators, and every outcome."""
    tried = [one for one in outcomes if one.status == "tried"]
    return {
        "date": date,
        "torch": sorted({one.torch for one in outcomes}),
        "files_mapped": sum(one.mapped for one in tried),
        "files_predicted_right": sum(one.right for one in tried),
        "files_opened_later": sum(one.opened_later for one in tried),
        "files_opened_later_predicted_right": sum(one.opened_later_right for one in tried),
        "environments_tried": len(tried),
        "environments_that_imported": sum(bool(one.imports) for one in tried),
        "died_before_maps": sum(one.status.startswith("died") for one in outcomes),
        "does_not_apply": sum(one.status == "does not apply" for one in outcomes),
        "faults": sum(len(one.faults) for one in outcomes),
        "outcomes": [asdict(one) for one in outcomes],
    }
