"""Which outcomes a policy makes wanted. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from envdoctor.facts import Reason
from envdoctor.outcomes import Outcome
from envdoctor.policy.records import PolicyFile


def wanted_by(held: PolicyFile, outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The outcomes, with such as the policy asks for and nobody tried unseen. What was tried is
    wanted, because somebody asked for that."""
    tried = tuple(outcomes)
    there = {"gpu", *(one.action for one in tried)}
    left = dict.fromkeys(one for one in held.policy.outcomes if one not in there)
    return (*tried, *(_untried(one) for one in left))


_TRIED_BY: Mapping[str, str] = {
    "distributed": "envdoctor collective",
    "compile": "envdoctor check --try compile",
    "extend": "envdoctor check --try extend",
}


def _untried(action: Any) -> Outcome:
    return Outcome(
        action=action,
        state="unseen",
        reason=Reason.SWITCHED_OFF,
        detail=f"a diagnosis does not try it; `{_TRIED_BY[action]}` does",
    )
