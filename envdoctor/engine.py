"""Runs checks over a snapshot and puts root causes above their consequences. Pure."""

import time
from collections.abc import Callable, Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Any

import msgspec

from envdoctor.facts import Known, Observed, Reason, Snapshot, Unknown
from envdoctor.findings import Code, Confidence, Evidence, Finding, Fix, Safety, Severity
from envdoctor.plugins import Check, Derivation, PluginFailure
from envdoctor.record import Record
from envdoctor.signature import Missing, arguments_for

PLUGIN_LOAD_FAILED = Code(
    id="ED001",
    name="plugin-load-failed",
    family="plugin-load-failed",
    severity=Severity.WARNING,
    message="plugin `{plugin}` of `{distribution}` could not be loaded: {error}",
)
CHECK_CRASHED = Code(
    id="ED002",
    name="check-crashed",
    family="check-crashed",
    severity=Severity.WARNING,
    message="check `{check}` of the doctor itself failed: {error}",
)
CORE_CODES = (PLUGIN_LOAD_FAILED, CHECK_CRASHED)


class Outcome(Record):
    """What became of one check. `status`: ran, skipped, crashed. `blind` marks a check that can
    yield an error and could not look."""

    check: str
    topic: str
    status: str
    codes: tuple[str, ...] = ()
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    blind: bool = False


def derive_facts(
    steps: Iterable[Derivation], snapshot: Snapshot, services: Mapping[type, object]
) -> Snapshot:
    """The snapshot with the derived facts, each after those it needs; none is kept as recorded."""
    by_kind = {step.provides: step for step in steps}
    order = TopologicalSorter(
        {kind: {need.kind for need in step.needs} for kind, step in by_kind.items()}
    ).static_order()
    for step in (by_kind[kind] for kind in order if kind in by_kind):
        snapshot = snapshot.with_facts({step.provides: _derived(step, snapshot, services)})
    return snapshot


def _derived(step: Derivation, snapshot: Snapshot, services: Mapping[type, object]) -> Known:
    arguments = arguments_for(step.needs, snapshot, services)
    if isinstance(arguments, Missing):
        return Unknown(
            reason=arguments.unknown.reason,
            detail=f"needs {arguments.kind}: {arguments.unknown.detail}",
        )
    try:
        value = step.fn(**arguments)
    except Exception as error:
        return Unknown(
            reason=Reason.CRASHED, detail=f"{step.name}: {type(error).__name__}: {error}"
        )
    if value is None:
        return Unknown(reason=Reason.NOT_APPLICABLE, detail=f"{step.name} does not apply here")
    return Observed(value=value, source=f"derived by {step.name}")


def run_checks(
    checks: Iterable[Check],
    snapshot: Snapshot,
    services: Mapping[type, object],
    wanted: Callable[[Check], bool] = lambda check: True,
) -> tuple[Outcome, ...]:
    """Run every check whose needs are observed; one that raises does not disturb the others."""
    return tuple(
        _run(check, snapshot, services) if wanted(check) else _not_wanted(check) for check in checks
    )


def _not_wanted(check: Check) -> Outcome:
    return _outcome(check, status="skipped", reason="switched off by the user")


def _run(check: Check, snapshot: Snapshot, services: Mapping[type, object]) -> Outcome:
    arguments = arguments_for(check.needs, snapshot, services)
    can_err = any(code.severity is Severity.ERROR for code in check.codes)
    if isinstance(arguments, Missing):
        unknown = arguments.unknown
        return _outcome(
            check,
            status="skipped",
            reason=f"{arguments.kind} is unknown ({unknown.reason.value}): {unknown.detail}",
            blind=can_err and unknown.reason.is_failure,
        )
    started = time.perf_counter()
    try:
        findings = tuple(check.fn(**arguments))
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        crash = CHECK_CRASHED.finding(
            subject=check.name,
            check=check.name,
            error=text,
            evidence=(Evidence(label="exception", value=text, source=check.name),),
            fixes=(Fix(summary="report this with the output of `envdoctor collect`"),),
        )
        return _outcome(check, status="crashed", reason=text, findings=(crash,), blind=can_err)
    seconds = time.perf_counter() - started
    return _outcome(check, status="ran", findings=findings, seconds=seconds)


def _outcome(check: Check, **fields: Any) -> Outcome:
    codes = tuple(code.id for code in check.codes)
    return Outcome(check=check.name, topic=check.topic, codes=codes, **fields)


def failure_findings(failures: Iterable[PluginFailure]) -> tuple[Finding, ...]:
    """A finding for every plugin that could not be loaded."""
    return tuple(
        PLUGIN_LOAD_FAILED.finding(
            subject=failure.name,
            plugin=failure.name,
            distribution=failure.distribution,
            error=failure.error,
            evidence=(
                Evidence(
                    label="entry point", value=failure.entry_point, source=failure.distribution
                ),
            ),
            fixes=(
                Fix(
                    summary="update or remove that distribution from the doctor's own environment",
                    commands=(f"pip install --upgrade {failure.distribution}",),
                    safety=Safety.CHANGES_ENV,
                ),
            ),
        )
        for failure in failures
    )


def rank(findings: Iterable[Finding], codes: Iterable[Code]) -> tuple[Finding, ...]:
    """Root causes first, each followed by its consequences, whose `because` is set.

    A finding explains another if its code says so and it is at least as severe. Root causes are
    ordered by severity, then confidence, then the number of consequences, then code and subject.
    """
    pool = tuple(findings)
    explains = {code.id: frozenset(code.explains) for code in codes}
    causes: dict[int, Finding] = {}
    for finding in pool:
        root = _root(finding, pool, explains)
        # Two codes that explain each other (of two plugins, say): the later one is the root.
        causes[id(finding)] = finding if causes.get(id(root)) is finding else root
    groups: dict[str, list[Finding]] = {}
    for finding in pool:
        root = causes[id(finding)]
        if root is not finding:
            groups.setdefault(root.id, []).append(_because(finding, root))
    roots = [finding for finding in pool if causes[id(finding)] is finding]
    roots.sort(key=lambda finding: _order(finding, len(groups.get(finding.id, ()))))
    ranked: list[Finding] = []
    for root in roots:
        ranked.append(root)
        ranked.extend(sorted(groups.pop(root.id, ()), key=lambda finding: _order(finding, 0)))
    return tuple(ranked)


def _root(
    finding: Finding, pool: tuple[Finding, ...], explains: Mapping[str, frozenset[str]]
) -> Finding:
    current, seen = finding, {finding.code}
    while True:
        causes = [
            other
            for other in pool
            if finding.code != other.code
            and other.code not in seen
            and current.code in explains.get(other.code, frozenset())
            and other.severity.rank >= finding.severity.rank
        ]
        if not causes:
            return current
        current = min(causes, key=lambda other: _order(other, 0))
        seen.add(current.code)


def _order(finding: Finding, consequences: int) -> tuple[int, int, int, str, str]:
    certainty = list(Confidence).index(finding.confidence)
    return -finding.severity.rank, certainty, -consequences, finding.code, finding.subject or ""


def _because(finding: Finding, root: Finding) -> Finding:
    return msgspec.structs.replace(finding, because=root.id)
