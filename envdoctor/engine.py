"""Derives facts and runs checks over a snapshot. Pure."""

import time
from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from envdoctor.facts import Fact, Known, Observed, Reason, Snapshot, Unknown
from envdoctor.findings import (
    Code,
    Evidence,
    Finding,
    Fix,
    Layer,
    Severity,
    Topic,
)
from envdoctor.plugins import Check, Derivation, PluginFailure
from envdoctor.record import Record
from envdoctor.repair.doctor import update_plugin
from envdoctor.signature import Missing, arguments_for

PLUGIN_LOAD_FAILED = Code(
    id="ED001",
    name="plugin-load-failed",
    family="plugin-load-failed",
    severity=Severity.WARNING,
    topic="doctor",
    layer=Layer.DOCTOR,
    message="a plugin could not be loaded",
    detailed="plugin `{plugin}` of `{distribution}` could not be loaded: {error}",
)
CHECK_CRASHED = Code(
    id="ED002",
    name="check-crashed",
    family="check-crashed",
    severity=Severity.WARNING,
    topic="doctor",
    layer=Layer.DOCTOR,
    message="a check of the doctor itself failed",
    detailed="check `{check}` of the doctor itself failed: {error}",
)
ENGINE_CODES = (PLUGIN_LOAD_FAILED, CHECK_CRASHED)


class CheckRun(Record):
    """What became of one check, and what it found."""

    check: str
    topic: Topic
    status: Literal["ran", "skipped", "crashed"]
    codes: tuple[str, ...] = ()
    reason: str = ""
    unknown: Reason | None = None
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0


def derive_facts(
    steps: Iterable[Derivation], snapshot: Snapshot, services: Mapping[type, object]
) -> Snapshot:
    """The snapshot with the derived facts, each after those it needs; none is kept as recorded."""
    by_kind = {step.provides: step for step in steps}
    circle = _circle(by_kind)
    while circle:
        names = ", ".join(sorted(by_kind.pop(kind).name for kind in circle))
        why = Unknown(reason=Reason.CRASHED, detail=f"{names} need each other")
        snapshot = snapshot.with_facts(dict.fromkeys(circle, why))
        circle = _circle(by_kind)
    for kind in _order(by_kind).static_order():
        if kind in by_kind:
            snapshot = snapshot.with_facts({kind: _derived(by_kind[kind], snapshot, services)})
    return snapshot


def _order(by_kind: Mapping[type[Fact], Derivation]) -> TopologicalSorter[type[Fact]]:
    return TopologicalSorter(
        {kind: {need.kind for need in step.needs} for kind, step in by_kind.items()}
    )


def _circle(by_kind: Mapping[type[Fact], Derivation]) -> frozenset[type[Fact]]:
    """Derived facts that need each other (of two plugins, say); empty where there are none."""
    try:
        _order(by_kind).prepare()
    except CycleError as error:
        return frozenset(error.args[1])
    return frozenset()


def _derived(step: Derivation, snapshot: Snapshot, services: Mapping[type, object]) -> Known:
    try:
        arguments = arguments_for(step.needs, snapshot, services)
        if isinstance(arguments, Missing):
            unknown = arguments.unknown
            detail = f"needs {arguments.kind}: {unknown.detail}"
            return Unknown(reason=unknown.reason, detail=detail)
        value = step.fn(**arguments)
    except Exception as error:
        text = f"{step.name}: {type(error).__name__}: {error}"
        return Unknown(reason=Reason.CRASHED, detail=text)
    if value is None:
        return Unknown(reason=Reason.NOT_APPLICABLE, detail=f"{step.name} does not apply here")
    return Observed(value=value, source=f"derived by {step.name}")


def run_checks(
    checks: Iterable[Check],
    snapshot: Snapshot,
    services: Mapping[type, object],
    wanted: Callable[[Check], bool] = lambda check: True,
) -> tuple[CheckRun, ...]:
    """Run every check whose needs are observed; one that raises does not disturb the others."""
    return tuple(
        _run(check, snapshot, services)
        if wanted(check)
        else _record(check, status="skipped", reason="switched off by the user")
        for check in checks
    )


def _run(check: Check, snapshot: Snapshot, services: Mapping[type, object]) -> CheckRun:
    started = time.perf_counter()
    try:
        arguments = arguments_for(check.needs, snapshot, services)
        if isinstance(arguments, Missing):
            return _skipped(check, arguments)
        findings = tuple(check.fn(**arguments))
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        crash = CHECK_CRASHED.finding(
            subjects=(check.name,),
            check=check.name,
            error=text,
            evidence=(Evidence(label="exception", value=text, source=check.name),),
            fixes=(Fix(summary="report this with the output of `envdoctor collect`"),),
        )
        return _record(check, status="crashed", reason=text, findings=(crash,))
    seconds = time.perf_counter() - started
    return _record(check, status="ran", findings=findings, seconds=seconds)


def _skipped(check: Check, missing: Missing) -> CheckRun:
    unknown = missing.unknown
    reason = f"{missing.kind} is unknown ({unknown.reason.value}): {unknown.detail}"
    return _record(check, status="skipped", reason=reason, unknown=unknown.reason)


def _record(check: Check, **fields: Any) -> CheckRun:
    codes = tuple(code.id for code in check.codes)
    return CheckRun(check=check.name, topic=check.topic, codes=codes, **fields)


def failure_findings(failures: Iterable[PluginFailure]) -> tuple[Finding, ...]:
    """A finding for every plugin that could not be loaded."""
    return tuple(
        PLUGIN_LOAD_FAILED.finding(
            subjects=(failure.name,),
            plugin=failure.name,
            distribution=failure.distribution,
            error=failure.error,
            evidence=(
                Evidence(
                    label="entry point", value=failure.entry_point, source=failure.distribution
                ),
            ),
            fixes=(update_plugin(failure.distribution),),
        )
        for failure in failures
    )
