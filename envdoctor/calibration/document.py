"""The document of `envdoctor calibrate`: what was measured, and the findings about it."""

from collections.abc import Mapping
from typing import ClassVar

from envdoctor.calibration.text import render_calibration
from envdoctor.clock import now_utc
from envdoctor.diagnose import diagnose
from envdoctor.facts import SCHEMA_VERSION, Snapshot, Tool, Unknown
from envdoctor.facts.calibration import Calibration, ExpectedRate
from envdoctor.findings import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Finding
from envdoctor.plugins import Loaded
from envdoctor.record import Record
from envdoctor.render.text import render_findings
from envdoctor.report import ExaminedTarget

TOPICS = frozenset({"performance", "training_rate", "slowdown", "sharing", "limits", "placement"})


class CalibrationReport(Record, tag="calibration-report"):
    """One calibration. `calibration` is null if nothing could be measured, then `problem` says
    why; `findings` are those of the performance checks."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    created_at: str
    target: ExaminedTarget | None
    exit_code: int
    calibration: Calibration | None
    problem: str = ""
    findings: tuple[Finding, ...] = ()


class Prediction(Record, tag="prediction"):
    """Expected ResNet-50 training rates of one GPU model; nothing was measured."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    schema_version: int = SCHEMA_VERSION
    tool: Tool = Tool()
    gpu: str
    expected: tuple[ExpectedRate, ...]


def calibration_report(
    snapshot: Snapshot, loaded: Loaded, services: Mapping[type, object]
) -> CalibrationReport:
    """The document for facts that hold a Calibration, known or not. Pure but for the time."""
    fact = snapshot.get(Calibration)
    report = diagnose(snapshot, loaded, services, wanted=lambda check: check.topic in TOPICS)
    problem = f"{fact.reason.value}: {fact.detail}" if isinstance(fact, Unknown) else ""
    calibration = snapshot.value(Calibration)
    return CalibrationReport(
        created_at=now_utc(),
        target=report.target,
        exit_code=_exit_code(calibration),
        calibration=calibration,
        problem=problem,
        findings=report.findings,
    )


def _exit_code(calibration: Calibration | None) -> int:
    if calibration is None:
        return EXIT_INCOMPLETE
    return EXIT_INTERRUPTED if calibration.interrupted else EXIT_OK


def render_report(report: CalibrationReport) -> str:
    """The document as text of 80 columns, without colour."""
    target = report.target
    where = f"target: {target.path} ({target.chosen_because})" if target else ""
    measured = (
        f"nothing could be measured: {report.problem}"
        if report.calibration is None
        else render_calibration(report.calibration).rstrip()
    )
    blocks = (where, measured, render_findings(report.findings))
    return "\n\n".join(block for block in blocks if block) + "\n"
