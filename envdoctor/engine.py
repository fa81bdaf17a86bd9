"""Derives facts and runs checks over a snapshot. Pure."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any, Literal

import msgspec

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
from envdoctor.plugins import OURS, Check, Derivation, Loaded, Plugin, PluginFailure, Probe
from envdoctor.plugins.bounded import LIMIT_S, Failed, run_bounded, run_in_turn
from envdoctor.plugins.signature import Missing, arguments_for
from envdoctor.plugins.type_check import WrongType, require_type
from envdoctor.record import Record
from envdoctor.repair.doctor import update_plugin
from envdoctor.watchdog import NEVER

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
    detailed="{part} `{check}` of {owner} failed: {error}",
)
MAX_FINDINGS = 1000
"""Of one check. What concerns many is one finding with many subjects."""

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
    steps: Iterable[Derivation],
    snapshot: Snapshot,
    services: Mapping[type, object],
    *,
    foreign: Collection[Derivation] = (),
    limit_s: float = LIMIT_S,
    until: float = NEVER,
) -> Snapshot:
    """The snapshot with the derived facts, each after those it needs; none is kept as recorded.

    `foreign` are the steps of others' plugins, which may end their process. `until` is the moment
    of the monotonic clock at which the time of the run is over.
    """
    by_kind = {step.provides: step for step in steps}
    circle = _circle(by_kind)
    while circle:
        names = ", ".join(sorted(by_kind.pop(kind).name for kind in circle))
        why = Unknown(reason=Reason.CRASHED, detail=f"{names} need each other")
        snapshot = snapshot.with_facts(dict.fromkeys(circle, why))
        circle = _circle(by_kind)
    for kind in _order(by_kind).static_order():
        if kind in by_kind:
            bounded = _fact_apart if by_kind[kind] in foreign else _fact_here
            within = partial(bounded, limit_s=limit_s, until=until)
            fact = _derived(by_kind[kind], snapshot, services, within)
            snapshot = snapshot.with_facts({kind: fact})
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


def _derived(
    step: Derivation,
    snapshot: Snapshot,
    services: Mapping[type, object],
    bounded: Callable[[Derivation, Mapping[str, Any]], Fact | Failed | None],
) -> Known:
    try:
        arguments = arguments_for(step.needs, snapshot, services)
    except LookupError as error:
        return failure_of(step.name, Failed(error=str(error)))
    if isinstance(arguments, Missing):
        unknown = arguments.unknown
        detail = f"needs {arguments.kind}: {unknown.detail}"
        return Unknown(reason=unknown.reason, detail=detail)
    value = bounded(step, arguments)
    if isinstance(value, Failed):
        return failure_of(step.name, value)
    if value is None:
        return Unknown(reason=Reason.NOT_APPLICABLE, detail=f"{step.name} does not apply here")
    return Observed(value=value, source=f"derived by {step.name}")


def _fact_here(
    step: Derivation, arguments: Mapping[str, Any], *, limit_s: float, until: float
) -> Fact | Failed | None:
    return run_bounded(partial(_fact_of, step, arguments), limit_s, until=until)


def _fact_apart(
    step: Derivation, arguments: Mapping[str, Any], *, limit_s: float, until: float
) -> Fact | Failed | None:
    from envdoctor.plugins.processes import in_process

    plain = in_process(lambda: msgspec.to_builtins(_fact_of(step, arguments)), limit_s, until=until)
    if plain is None or isinstance(plain, Failed):
        return plain
    return msgspec.convert(plain, step.provides)


def _fact_of(step: Derivation, arguments: Mapping[str, Any]) -> Fact | None:
    value = step.fn(**arguments)
    if value is not None:
        require_type(value, step.provides)
    return value


def failure_of(name: str, failed: Failed) -> Unknown:
    """The fact of a derivation or probe that has a defect, or that was not given the time."""
    reason = Reason.TIMED_OUT if failed.out_of_time else Reason.CRASHED
    return Unknown(reason=reason, detail=f"{name}: {failed.error}")


def run_checks(
    checks: Iterable[Check],
    snapshot: Snapshot,
    services: Mapping[type, object],
    wanted: Callable[[Check], bool] = lambda check: True,
    *,
    owner_of: Callable[[Check], Plugin | None] = lambda check: None,
    limit_s: float = LIMIT_S,
    until: float = NEVER,
) -> tuple[CheckRun, ...]:
    """Run every check whose needs are observed; one that fails does not disturb the others.

    `until` is the moment of the monotonic clock at which the time of the run is over.
    """
    every = tuple(checks)
    owners = [owner_of(check) for check in every]
    runs = [_left_out(check, snapshot, services, wanted) for check in every]
    for is_foreign, run_all in ((False, run_in_turn), (True, _all_apart)):
        numbers = [
            number
            for number, owner in enumerate(owners)
            if runs[number] is None and _is_foreign(owner) is is_foreign
        ]
        works = [partial(_run, every[number], snapshot, services) for number in numbers]
        for number, result in zip(numbers, run_all(works, limit_s, until=until), strict=True):
            runs[number] = (
                _gave_nothing(every[number], result, owners[number])
                if isinstance(result, Failed)
                else result
            )
    return tuple(run for run in runs if run is not None)


def _is_foreign(owner: Plugin | None) -> bool:
    return owner is not None and owner.name not in OURS


def _all_apart(
    works: Sequence[Callable[[], CheckRun]], limit_s: float, *, until: float
) -> tuple[CheckRun | Failed, ...]:
    if not works:
        return ()
    from envdoctor.plugins.processes import all_in_processes

    plain = all_in_processes([partial(_plain, work) for work in works], limit_s, until=until)
    return tuple(
        one if isinstance(one, Failed) else msgspec.convert(one, CheckRun) for one in plain
    )


def _plain(work: Callable[[], CheckRun]) -> Any:
    return msgspec.to_builtins(work())


def _left_out(
    check: Check,
    snapshot: Snapshot,
    services: Mapping[type, object],
    wanted: Callable[[Check], bool],
) -> CheckRun | None:
    """Why a check is not run; None for one that is."""
    if not wanted(check):
        return _record(check, status="skipped", reason="switched off by the user")
    try:
        arguments = arguments_for(check.needs, snapshot, services)
    except LookupError:
        # A defect, to be told as what becomes of it.
        return None
    return _skipped(check, arguments) if isinstance(arguments, Missing) else None


def _run(check: Check, snapshot: Snapshot, services: Mapping[type, object]) -> CheckRun:
    started = time.perf_counter()
    arguments = arguments_for(check.needs, snapshot, services)
    assert not isinstance(arguments, Missing)
    findings = tuple(islice(check.fn(**arguments), MAX_FINDINGS + 1))
    _require_sound_findings(check, findings)
    seconds = time.perf_counter() - started
    return _record(check, status="ran", findings=findings, seconds=seconds)


def _require_sound_findings(check: Check, findings: tuple[Finding, ...]) -> None:
    """Raise WrongType for what no report could hold, or what is not for this check to say."""
    if len(findings) > MAX_FINDINGS:
        raise WrongType(f"it gives more than {MAX_FINDINGS} findings")
    own = {(code.id, code.name) for code in check.codes}
    for finding in findings:
        if not isinstance(finding, Finding):
            raise WrongType(f"it gives a {type(finding).__name__}, not a Finding")
        require_type(finding, Finding)
        if (finding.code, finding.name) not in own:
            raise WrongType(f"it gives `{finding.code}`, which is none of its codes")


def _gave_nothing(check: Check, failed: Failed, owner: Plugin | None) -> CheckRun:
    if failed.out_of_time:
        return _record(check, status="skipped", reason=failed.error, unknown=Reason.TIMED_OUT)
    return _crashed(check, failed.error, owner)


def _crashed(check: Check, error: str, owner: Plugin | None) -> CheckRun:
    crash = _crash("check", check.name, error, owner)
    return _record(check, status="crashed", reason=error, findings=(crash,))


def _crash(part: str, name: str, error: str, owner: Plugin | None) -> Finding:
    """That a part of the doctor, or of a plugin, has a defect."""
    plugin = f"plugin `{owner.name}`" if owner is not None and _is_foreign(owner) else ""
    fix = f"tell the author of {plugin}, or remove it" if plugin else _REPORT_IT
    return CHECK_CRASHED.finding(
        subjects=(name,),
        part=part,
        check=name,
        owner=plugin or "the doctor itself",
        error=error,
        evidence=(Evidence(label="exception", value=error, source=name),),
        fixes=(Fix(summary=fix),),
    )


_REPORT_IT = "report this with the output of `envdoctor collect`"


def fact_failures(loaded: Loaded, snapshot: Snapshot) -> tuple[Finding, ...]:
    """A finding for every probe and derivation of a plugin that has a defect."""
    return tuple(
        _crash(part, step.name, unknown.detail.removeprefix(f"{step.name}: "), plugin)
        for plugin in loaded.plugins
        if plugin.name not in OURS
        for part, step in _sources(plugin)
        if (unknown := _own_failure(step, snapshot)) is not None
    )


def _sources(plugin: Plugin) -> Iterable[tuple[str, Probe | Derivation]]:
    yield from (("probe", probe) for probe in plugin.probes)
    yield from (("derivation", step) for step in plugin.derive)


def _own_failure(step: Probe | Derivation, snapshot: Snapshot) -> Unknown | None:
    """What says that this one failed, and not one that it needs: it begins with its name."""
    kinds = step.provides if isinstance(step, Probe) else (step.provides,)
    facts = (snapshot.get(kind) for kind in kinds)
    return next(
        (
            fact
            for fact in facts
            if isinstance(fact, Unknown)
            and fact.reason is Reason.CRASHED
            and fact.detail.startswith(f"{step.name}: ")
        ),
        None,
    )


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
