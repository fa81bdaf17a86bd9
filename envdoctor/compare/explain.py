"""Which difference explains a finding that one side alone has.

The counter-proof: one thing of that side is put as it is on the other, and the checks are asked
again. Where the finding is gone, that thing explains it. Where none takes it away, because what was
seen to fail stays seen, the differences explain it of which the finding itself speaks.
"""

import re
from collections.abc import Callable, Iterable, Iterator

import msgspec

from envdoctor.compare.pair import Examined, Found, Pair
from envdoctor.compare.records import Difference, Explained, How, OneSided
from envdoctor.compare.works import is_consequence
from envdoctor.facts import Reason, Snapshot
from envdoctor.findings import Finding, Severity
from envdoctor.record import Record
from envdoctor.symptoms.codes import CORE_CODES

Judge = Callable[[Snapshot, frozenset[str]], tuple[Finding, ...]]
"""The findings about a snapshot of the checks that have one of these codes."""

MOST_SWAPS = 80
"""Differences that are put to the proof on each side; each takes some milliseconds."""


class OwnFinding(Record):
    """A finding, the number of the one side that has it, and whether the other could have it."""

    side: int
    finding: Finding
    looked_for: bool = True


def one_sided(pair: Pair) -> tuple[OwnFinding, ...]:
    """The warnings and errors whose code one side alone has, in the order of their side."""
    sides = [_telling(side) for side in (pair.first, pair.second)]
    codes = [{one.code for one in side} for side in sides]
    others = pair.second, pair.first
    return tuple(
        OwnFinding(side=number, finding=one, looked_for=_could_have(others[number], one))
        for number, side in enumerate(sides)
        for one in side
        if one.code not in codes[1 - number]
    )


def _could_have(side: Examined, finding: Finding) -> bool:
    """Whether somebody looked for it there: the check ran, or what it needs has no meaning there;
    of what torch itself ran into, whether that was tried."""
    if finding.code in _SYMPTOMS:
        broken = [one for one in side.report.outcomes if one.broken_by(finding)]
        return any(one.state != "unseen" or one.reason in _NOTHING_TO_SEE for one in broken)
    would_break = [one.state for one in side.report.outcomes if one.broken_by(finding)]
    if would_break and set(would_break) == {"works"}:
        return True
    checks = [one for one in side.report.checks if finding.code in one.codes]
    return any(one.status == "ran" or one.unknown in _NOTHING_TO_SEE for one in checks)


_NOTHING_TO_SEE = (Reason.NOT_APPLICABLE,)


def shared(pair: Pair) -> tuple[str, ...]:
    """The names of the warnings and errors that both sides have."""
    first, second = (_telling(side) for side in (pair.first, pair.second))
    others = {one.code for one in second}
    return tuple(dict.fromkeys(one.name for one in first if one.code in others))


def _telling(side: Examined) -> list[Finding]:
    return [one for one in side.report.findings if one.severity is not Severity.INFO]


def as_record(pair: Pair, one: OwnFinding) -> OneSided:
    """The finding as the document has it."""
    found = one.finding
    return OneSided(
        side=_name(pair, one.side),
        id=found.id,
        code=found.code,
        name=found.name,
        severity=found.severity,
        message=found.message,
        because=found.because,
        looked_for=one.looked_for,
        page=found.page,
    )


def _name(pair: Pair, side: int) -> str:
    return (pair.names.first, pair.names.second)[side]


def explained(
    pair: Pair, found: Iterable[Found], own: tuple[OwnFinding, ...], judge: Judge
) -> tuple[Found, ...]:
    """The differences, each with the findings that it explains."""
    several = tuple(found)
    for number, side, donor in ((0, pair.first, pair.second), (1, pair.second, pair.first)):
        theirs = [one.finding for one in own if one.side == number]
        if theirs:
            several = _of_side(_name(pair, number), side, donor, theirs, several, judge)
    return several


def _of_side(
    name: str,
    side: Examined,
    donor: Examined,
    theirs: list[Finding],
    found: tuple[Found, ...],
    judge: Judge,
) -> tuple[Found, ...]:
    codes = frozenset(one.code for one in theirs)
    before = {one.code for one in judge(side.snapshot, codes)}
    gone: dict[int, set[str]] = {}
    for place, one in enumerate(found[:MOST_SWAPS]):
        if one.swap is not None and (not _is_aside(one) or _named_by(theirs, one)):
            after = judge(one.swap(side.snapshot, donor.snapshot), codes)
            gone[place] = before - {finding.code for finding in after}
    causes = {place for place, one in enumerate(found) if not is_consequence(one)}
    removed = {code for place in causes for code in gone.get(place, ())}
    several = list(found)
    for is_cause in (True, False):
        for place in range(len(found)):
            if (place in causes) is is_cause:
                told = _told(name, several[place], theirs, gone.get(place, set()), removed)
                several[place] = _with(several[place], told, theirs)
        if is_cause:
            # What a cause explains, its consequences do not.
            told_of = {told.finding for one in several for told in one.difference.explains}
            theirs = [one for one in theirs if one.id not in told_of]
    return tuple(several)


def _named_by(findings: Iterable[Finding], one: Found) -> bool:
    return any(speaks_of(finding, one) for finding in findings)


def _is_aside(found: Found) -> bool:
    return bool(found.difference.follows) or (
        found.difference.weight == "little" and not found.words
    )


def _told(
    name: str, one: Found, theirs: Iterable[Finding], gone: set[str], removed: set[str]
) -> Iterator[Explained]:
    several = tuple(theirs)
    codes = {finding.id: finding.code for finding in several}
    for finding in several:
        how = _how(one, finding, codes.get(finding.because or ""), gone, removed)
        if how is not None:
            yield Explained(
                side=name,
                finding=finding.id,
                name=finding.name,
                severity=finding.severity,
                how=how,
            )


def _how(
    one: Found, finding: Finding, root: str | None, gone: set[str], removed: set[str]
) -> How | None:
    """`root` is the code of its cause: a consequence goes with that, or for no reason."""
    if finding.code in gone and root in (None, *gone):
        return "removes"
    # What the counter-proof shows needs no hint.
    follows = bool(one.difference.follows)
    hinted = finding.code not in removed and not follows and speaks_of(finding, one)
    return "about" if hinted else None


def _with(one: Found, told: Iterable[Explained], theirs: Iterable[Finding]) -> Found:
    told = tuple(told)
    ids = {each.finding for each in told}
    own = [finding for finding in theirs if finding.id in ids]
    explains = (*one.difference.explains, *told)
    return msgspec.structs.replace(
        one,
        difference=msgspec.structs.replace(one.difference, explains=explains),
        named=one.named + sum(speaks_of(finding, one) for finding in own),
        roots=one.roots + sum(finding.because is None for finding in own),
    )


def unexplained(pair: Pair, found: Iterable[Found], own: Iterable[OwnFinding]) -> Iterator[Found]:
    """The root causes that one side alone has and that nothing in the differences explains, as
    differences of their own. What torch itself was seen to fail with is an outcome already."""
    told = {(one.side, one.finding) for each in found for one in each.difference.explains}
    seen = {each.difference.name for each in found if is_consequence(each)}
    for one in own:
        finding, side = one.finding, _name(pair, one.side)
        if finding.because is not None or (side, finding.id) in told or not one.looked_for:
            continue
        if finding.code in _SYMPTOMS and seen & {_outcome(id_) for id_ in finding.breaks}:
            continue
        at = (pair.names.at_first, pair.names.at_second)[one.side]
        explained = Explained(
            side=side,
            finding=finding.id,
            name=finding.name,
            severity=finding.severity,
            how="removes",
        )
        yield Found(
            difference=Difference(
                part="outcome",
                name=finding.name,
                sentence=f"{finding.message}, {at} alone",
                first=finding.id if one.side == 0 else None,
                second=finding.id if one.side == 1 else None,
                weight="stops" if finding.severity is Severity.ERROR else "matters",
                layer=finding.layer,
                can_break=finding.breaks,
                explains=(explained,),
            )
        )


_SYMPTOMS = frozenset(code.id for code in CORE_CODES)


def _outcome(id_: str) -> str:
    """The outcomes of all GPUs are told as one."""
    return "compute:gpu" if id_.startswith("compute:gpu") else id_


def speaks_of(finding: Finding, found: Found) -> bool:
    """Whether a finding names that thing. What it only cites beside others, as a package among its
    evidence, it does not speak of; a variable or a library in its evidence it does."""
    texts = [finding.message, *finding.subjects, *map(str, finding.data.values())]
    if found.difference.part != "packages":
        texts += [part for one in finding.evidence for part in (one.label, one.value, one.source)]
    text = "\n".join(texts)
    words = (re.escape(word) for word in found.words if word)
    return any(re.search(rf"(?<![\w.-]){word}(?![\w-])", text) for word in words)
