"""Whether a machine is what its policy asks for. Pure."""

import datetime
from collections.abc import Callable, Iterator, Mapping

import msgspec

from envdoctor.facts import Reason, Snapshot
from envdoctor.findings import Finding, Fix, Severity
from envdoctor.outcomes import Outcome
from envdoctor.policy.codes import POLICY_EXCEPTION_EXPIRED
from envdoctor.policy.equipment import judge_gpus, judge_room
from envdoctor.policy.installed import judge_packages, judge_versions
from envdoctor.policy.judged import Unseen
from envdoctor.policy.records import PolicyFile
from envdoctor.policy.speed import judge_speed
from envdoctor.record import Record


class Holding(Record):
    """What does not hold, and whether the whole does; and what the policy makes of a finding."""

    findings: tuple[Finding, ...]
    outcome: Outcome
    overrule: Callable[[Finding], Finding]


def holding(
    held: PolicyFile, snapshot: Snapshot, versions: Mapping[str, str | None], today: datetime.date
) -> Holding:
    """Judge a machine; `versions` are those of the report's stack."""
    judged = (
        *judge_versions(held, snapshot, versions),
        *judge_packages(held, snapshot),
        *judge_gpus(held, snapshot),
        *judge_room(held, snapshot),
        *judge_speed(held, snapshot),
    )
    findings = [one for one in judged if isinstance(one, Finding)]
    unseen = [one for one in judged if isinstance(one, Unseen)]
    return Holding(
        findings=(*findings, *_expired(held, today)),
        outcome=_outcome(held, findings, unseen),
        overrule=lambda finding: _as_the_policy_says(held, finding, today),
    )


def _outcome(held: PolicyFile, findings: list[Finding], unseen: list[Unseen]) -> Outcome:
    outcome = Outcome(action="hold", subject=held.path, state="works", source=held.path)
    if findings:
        count = f"{len(findings)} of what it asks for {'is' if len(findings) == 1 else 'are'} not"
        return msgspec.structs.replace(outcome, state="fails", detail=f"{count} so")
    if not unseen:
        return outcome
    # What failed is more than what nobody was asked to look at.
    gravest = next((one for one in unseen if one.why.reason is not Reason.SWITCHED_OFF), unseen[0])
    names = ", ".join(one.what for one in unseen)
    return msgspec.structs.replace(
        outcome, state="unseen", reason=gravest.why.reason, detail=f"{names}: {gravest.why.detail}"
    )


# --- severities and exceptions ---


def _expired(held: PolicyFile, today: datetime.date) -> Iterator[Finding]:
    for number, one in enumerate(held.policy.ignore):
        if one.expires < today:
            yield POLICY_EXCEPTION_EXPIRED.finding(
                subjects=(one.rule,),
                rule=one.rule,
                expires=one.expires.isoformat(),
                because=one.reason,
                file=held.path,
                line=held.line_of(f"ignore.{number}"),
                fixes=(Fix(summary="repair what it was for, or give the exception another day"),),
            )


def _as_the_policy_says(held: PolicyFile, finding: Finding, today: datetime.date) -> Finding:
    """The finding with the severity that the policy gives its rule. What is ignored stays, as an
    information that says who ignores it and until when."""
    valid = (one for one in held.policy.ignore if one.rule == finding.code)
    ignored = next((one for one in valid if one.expires >= today), None)
    if ignored is not None:
        note = f"ignored by {held.path} until {ignored.expires}: {ignored.reason}"
        return _with(finding, Severity.INFO, note)
    given = held.policy.severity.get(finding.code)
    if given is None or given == finding.severity.value:
        return finding
    return _with(finding, Severity(given), f"{held.path} makes this {given}")


def _with(finding: Finding, severity: Severity, note: str) -> Finding:
    notes = (*finding.notes, note)
    return msgspec.structs.replace(finding, severity=severity, notes=notes)
