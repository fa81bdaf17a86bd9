"""Which outcomes a policy makes wanted. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from envdoctor.facts import Reason
from envdoctor.outcomes import Outcome
from envdoctor.policy.records import PolicyFile


def wanted_by(held: PolicyFile, outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The outcomes, those that the policy asks for wanted; such as nobody tried are unseen."""
    asked: dict[str, bool] = {one: False for one in held.policy.outcomes if one != "gpu"}
    found = []
    for outcome in outcomes:
        if outcome.action in asked:
            asked[outcome.action] = True
            outcome = msgspec.structs.replace(outcome, wanted="yes")  # noqa: PLW2901
        found.append(outcome)
    left = (_untried(one) for one, there in asked.items() if not there)
    return (*found, *left)


_TRIED_BY = {"distributed": "; `envdoctor collective` does"}


def _untried(action: Any) -> Outcome:
    return Outcome(
        action=action,
        state="unseen",
        reason=Reason.SWITCHED_OFF,
        detail=f"a diagnosis does not try it{_TRIED_BY.get(action, '')}",
    )
