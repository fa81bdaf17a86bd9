"""From findings and outcomes to the answer: what weighs how much, and what is the cause. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from envdoctor.facts import Reason
from envdoctor.findings import (
    Code,
    Confidence,
    Finding,
    Fix,
    Layer,
    Severity,
    SharedFault,
    Verdict,
)
from envdoctor.outcomes import IMPORT_TORCH, Outcome, in_words


def conclude(
    found: Iterable[Finding],
    outcomes: tuple[Outcome, ...],
    codes: Iterable[Code],
    overrule: Callable[[Finding], Finding] = lambda finding: finding,
) -> tuple[tuple[Finding, ...], tuple[Outcome, ...]]:
    """The findings as they weigh, ranked, and the outcomes with what is certain to fail. The user
    can `overrule` what a finding weighs."""
    by_id = {code.id: code for code in codes}
    merged = merge(found, by_id, outcomes)
    weighed = tuple(overrule(weigh(finding, outcomes)) for finding in merged)
    predicted = tuple(_predicted(outcome, weighed) for outcome in outcomes)
    return rank(weighed, by_id.values()), predicted


def merge(
    found: Iterable[Finding], codes: Mapping[str, Code], outcomes: tuple[Outcome, ...] = ()
) -> tuple[Finding, ...]:
    """Findings that are equal but for their subjects become one with all of these subjects, unless
    something else causes them or they weigh otherwise: two GPUs that are lost to torch in two ways
    have a cause each."""
    each = tuple(found)
    kinds = [_kind(finding) for finding in each]
    if len(set(kinds)) == len(each):
        return each
    weighed = tuple(weigh(finding, outcomes) for finding in each) if outcomes else each
    causes = _causes(weighed, codes.values())
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding, own, kind in zip(each, weighed, kinds, strict=True):
        # What is equal to its cause is the same finding, told twice.
        cause = _kind(_root(own, causes))
        groups.setdefault((kind, own.severity, None if cause == kind else cause), []).append(
            finding
        )
    return tuple(one for group in groups.values() for one in _merged(group, codes))


def _kind(finding: Finding) -> tuple[object, ...]:
    data = repr(sorted(finding.data.items()))
    return finding.code, finding.severity, finding.confidence, data


def _merged(group: list[Finding], codes: Mapping[str, Code]) -> tuple[Finding, ...]:
    first = group[0]
    code = codes.get(first.code)
    if len(group) == 1 or code is None:
        return tuple(group)

    def all_of(field: str) -> tuple[Any, ...]:
        seen: list[Any] = []
        for one in (one for finding in group for one in getattr(finding, field)):
            if one not in seen:
                seen.append(one)
        return tuple(seen)

    fixes: dict[Fix, list[str]] = {}
    for fix in all_of("fixes"):
        commands = fixes.setdefault(msgspec.structs.replace(fix, commands=()), [])
        commands.extend(one for one in fix.commands if one not in commands)
    one = code.finding(
        subjects=all_of("subjects"),
        breaks=all_of("breaks"),
        severity=first.severity,
        confidence=first.confidence,
        evidence=all_of("evidence"),
        fixes=tuple(
            msgspec.structs.replace(fix, commands=tuple(commands))
            for fix, commands in fixes.items()
        ),
        notes=all_of("notes"),
        **first.data,
    )
    return (one,)


_OF_ANY_MACHINE = (Layer.INTERPRETER, Layer.FILES, Layer.LIBRARIES, Layer.BUILD, Layer.IMPORT)
"""Where a disease lies that breaks a build wherever it is taken to."""


def weigh(finding: Finding, outcomes: tuple[Outcome, ...]) -> Finding:
    """The finding, no louder than the outcomes that it breaks allow, and with these by name.

    An error stays one only where an outcome that is wanted fails or could not be seen. One that
    breaks no outcome by its code (a plugin's own) is left as it is.
    """
    if not finding.breaks:
        return finding
    broken = [outcome for outcome in outcomes if outcome.broken_by(finding)]
    if broken:
        finding = msgspec.structs.replace(finding, breaks=tuple(one.id for one in broken))
    if any(one.wanted in ("yes", "unknown") and one.state != "works" for one in broken):
        return finding
    if any(one.state == "fails" for one in broken):
        return _at_most(finding, Severity.WARNING, "")
    working = [one for one in broken if one.state == "works"]
    if working:
        # What was judged by its signs alone is no warning either where the thing itself was seen.
        quiet = Severity.INFO if finding.severity is Severity.ERROR else finding.severity
        return _at_most(finding, quiet, f"seen to work all the same: {in_words(*working)}")
    if any(one.wanted == "elsewhere" for one in broken):
        portable = finding.layer in _OF_ANY_MACHINE
        sure = finding.confidence is Confidence.CERTAIN
        most = (Severity.ERROR if sure else Severity.WARNING) if portable else Severity.INFO
        return _at_most(finding, most, "")
    if broken or not _is_of_a_gpu(finding):
        return _at_most(finding, Severity.WARNING, "")
    return _at_most(finding, Severity.INFO, "nothing that is wanted here needs it")


def _is_of_a_gpu(finding: Finding) -> bool:
    return all(one.startswith("compute:gpu") for one in finding.breaks)


def _at_most(finding: Finding, most: Severity, note: str) -> Finding:
    if finding.severity.rank <= most.rank:
        return finding
    notes = (*finding.notes, *((note,) if note else ()))
    return msgspec.structs.replace(finding, severity=most, notes=notes)


def _predicted(outcome: Outcome, findings: tuple[Finding, ...]) -> Outcome:
    """An outcome that could not be seen and that an error is certain to break."""
    if outcome.state != "unseen" or outcome.wanted not in ("yes", "unknown"):
        return outcome
    breaking = (one for one in findings if one.severity is Severity.ERROR)
    cause = next((one for one in breaking if outcome.broken_by(one)), None)
    if cause is None:
        return outcome
    return msgspec.structs.replace(
        outcome, state="fails", basis="predicted", detail=cause.message, source=cause.id
    )


def verdict_of(
    findings: tuple[Finding, ...],
    outcomes: tuple[Outcome, ...],
    *,
    narrowed: bool,
    in_time: bool = True,
) -> Verdict:
    """The answer in one word; `narrowed` says that the user left checks out, `in_time` that none
    was left out because time ran out."""
    severities = {finding.severity for finding in findings}
    if Severity.ERROR in severities:
        return Verdict.BROKEN
    open_ones = [one for one in outcomes if one.state == "unseen" and one.wanted in _MUST_BE_SEEN]
    if not in_time or any(one.reason is not Reason.SWITCHED_OFF for one in open_ones):
        return Verdict.INCOMPLETE
    # Where a policy ignores what breaks an outcome, it fails all the same.
    failing = any(one.state == "fails" and one.wanted == "yes" for one in outcomes)
    if Severity.WARNING in severities or failing:
        return Verdict.DEGRADED
    return Verdict.UNPROVEN if open_ones or narrowed else Verdict.HEALTHY


_MUST_BE_SEEN = ("yes", "unknown")


def fault_of(findings: tuple[Finding, ...]) -> SharedFault | None:
    """Where the cause of the verdict lies: in what the gravest root causes belong to. Null where
    there is neither an error nor a warning, or none but the doctor's own."""
    roots = [one for one in findings if one.because is None and one.fault != "doctor"]
    gravest = max((one.severity for one in roots), key=lambda one: one.rank, default=Severity.INFO)
    if gravest is Severity.INFO:
        return None
    machine = any(one.severity is gravest and one.fault == "machine" for one in roots)
    environment = any(one.severity is gravest and one.fault == "environment" for one in roots)
    return "both" if machine and environment else "machine" if machine else "environment"


def rank(findings: Iterable[Finding], codes: Iterable[Code]) -> tuple[Finding, ...]:
    """Root causes first, each followed by its consequences, whose `because` is set.

    Of the findings that break one outcome of one subject, the lowest is the root; a code may also
    say whom it explains. A cause is at least as severe as its consequence. Root causes are ordered
    by severity, then confidence, then the number of consequences, then layer, code and subjects.
    """
    pool = tuple(findings)
    causes = _causes(pool, codes)
    groups: dict[int, list[Finding]] = {}
    for finding in pool:
        root = _root(finding, causes)
        if root is not finding:
            groups.setdefault(id(root), []).append(_because(finding, root))
    roots = [finding for finding in pool if _root(finding, causes) is finding]
    roots.sort(key=lambda finding: _order(finding, len(groups.get(id(finding), ()))))
    ranked: list[Finding] = []
    for root in roots:
        ranked.append(root)
        ranked.extend(sorted(groups.get(id(root), ()), key=lambda finding: _order(finding, 0)))
    return tuple(ranked)


def _causes(pool: tuple[Finding, ...], codes: Iterable[Code]) -> dict[int, Finding | None]:
    """The cause of each finding, by its `id()`; null for a root."""
    explains = {code.id: frozenset(code.explains) for code in codes}
    return {id(finding): _cause(finding, pool, explains) for finding in pool}


def _cause(
    effect: Finding, pool: tuple[Finding, ...], explains: Mapping[str, frozenset[str]]
) -> Finding | None:
    """The lowest of the findings that this one is a consequence of."""
    causes = (
        other
        for other in pool
        if other is not effect
        and other.severity.rank >= effect.severity.rank
        and _is_cause(other, effect, explains)
    )
    return min(causes, key=lambda other: (other.layer.height, _order(other, 0)), default=None)


def _root(finding: Finding, causes: Mapping[int, Finding | None]) -> Finding:
    """The end of the way from cause to cause; of codes that explain each other (of two plugins,
    say) the first in the order of findings."""
    way = [finding]
    while (cause := causes[id(way[-1])]) is not None:
        circle = next((way[place:] for place, one in enumerate(way) if one is cause), None)
        if circle is not None:
            return min(circle, key=lambda one: _order(one, 0))
        way.append(cause)
    return way[-1]


def _is_cause(cause: Finding, effect: Finding, explains: Mapping[str, frozenset[str]]) -> bool:
    if effect.code in explains.get(cause.code, frozenset()):
        return _about_the_same(cause, effect)
    if cause.code in explains.get(effect.code, frozenset()):
        return False
    if effect.layer is Layer.POLICY:
        # What is asked for is not so, whatever else fails.
        return False
    lower = cause.layer.height < effect.layer.height
    return lower and bool(effect.breaks) and all(_breaks(cause, one) for one in effect.breaks)


def _breaks(cause: Finding, outcome: str) -> bool:
    """Whether a finding breaks an outcome, or the import that everything rests on."""
    # Where torch imports all the same, what is said of its import is a warning.
    if IMPORT_TORCH in cause.breaks and cause.severity is Severity.ERROR:
        return True
    return any(outcome == one or outcome.startswith(f"{one}:") for one in cause.breaks)


def _about_the_same(cause: Finding, effect: Finding) -> bool:
    """Whether nothing says that the two are about different outcomes or devices."""
    if IMPORT_TORCH in cause.breaks:
        return True
    if cause.breaks and effect.breaks:
        return all(_breaks(cause, one) for one in effect.breaks)
    kinds = {one.partition(":")[0] for one in cause.subjects if ":" in one}
    others = {one.partition(":")[0] for one in effect.subjects if ":" in one}
    if not kinds & others:
        return True
    return not {_device(one) for one in cause.subjects}.isdisjoint(map(_device, effect.subjects))


_DEVICE = re.compile(
    r"gpu:[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]|gpu:cuda:\d+|[^:]*(:[^:]*)?"
)
"""The device in a subject: `gpu:0`, `gpu:0000:07:00.0`, `gpu:cuda:1`, the `cuda:0` of a run."""


def _device(subject: str) -> str:
    found = _DEVICE.match(subject)
    return found[0] if found else subject


_DIGITS = re.compile(r"\d+")


def _of_one_width(number: re.Match[str]) -> str:
    """So that GPU 2 comes before GPU 10."""
    return number[0].zfill(9)


def _order(finding: Finding, consequences: int) -> tuple[int, int, int, int, str, tuple[str, ...]]:
    certainty = list(Confidence).index(finding.confidence)
    severity = -finding.severity.rank
    height = finding.layer.height
    subjects = tuple(_DIGITS.sub(_of_one_width, one) for one in finding.subjects)
    return severity, certainty, -consequences, height, finding.code, subjects


def _because(finding: Finding, root: Finding) -> Finding:
    return msgspec.structs.replace(finding, because=root.id)
