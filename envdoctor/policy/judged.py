"""What becomes of one thing that a policy asks for. Pure."""

import math

from envdoctor.facts import Reason, Unknown
from envdoctor.findings import Code, Evidence, Finding, Fix
from envdoctor.policy.codes import (
    POLICY_DRIVER,
    POLICY_PACKAGE_FORBIDDEN,
    POLICY_PACKAGE_MISSING,
    POLICY_VERSION,
)
from envdoctor.policy.records import PolicyFile
from envdoctor.record import Record


class Unseen(Record):
    """Something that is asked for and could not be seen, and why."""

    what: str
    why: Unknown


Judged = Finding | Unseen

UNTOLD = Unknown(reason=Reason.NOT_OBSERVED, detail="nothing tells it")
"""Where what was looked at does not say."""


def is_none(fact: Unknown) -> bool:
    """Whether it is not known because there is nothing to be known."""
    return fact.reason is Reason.NOT_APPLICABLE


def rounded_down(value: float, parts: int) -> float:
    """To parts of one, and so that what is too little does not read as enough."""
    return math.floor(value * parts) / parts


def _remedy(code: Code, what: str, wanted: str) -> str:
    """What makes it hold."""
    if code is POLICY_PACKAGE_MISSING:
        return f"install `{wanted}`"
    if code is POLICY_PACKAGE_FORBIDDEN:
        return f"uninstall {what}"
    if code in (POLICY_VERSION, POLICY_DRIVER):
        return f"install a release of {what} in {wanted}"
    return "use a machine that has it"


def violation(
    held: PolicyFile, code: Code, key: str, what: str, found: str | None, wanted: str
) -> Finding:
    """A key of the policy that does not hold: what is `found`, null where nothing is."""
    line = held.line_of(key)
    return code.finding(
        subjects=(what,),
        what=what,
        found=found or "not there",
        wanted=wanted,
        file=held.path,
        line=line,
        evidence=(Evidence(label=key, value=wanted, source=f"{held.path}, line {line}"),),
        fixes=(
            Fix(summary=f"{_remedy(code, what, wanted)}, or change line {line} of {held.path}"),
        ),
    )
