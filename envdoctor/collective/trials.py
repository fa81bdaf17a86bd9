"""What can be changed for a collective that fails on one machine, tried in children of its own."""

import time
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from envdoctor.collective.runner import try_collective
from envdoctor.facts import Observed, Unknown
from envdoctor.facts.collective import Collective, Trial
from envdoctor.probes.run import Children

_CHANGES: Mapping[str, tuple[tuple[str, str | None], ...]] = {
    "gloo": (("GLOO_SOCKET_IFNAME", None),),
    "nccl": (("NCCL_SOCKET_IFNAME", None), ("NCCL_P2P_DISABLE", "1")),
}
"""Variables by backend, and what they are set to; null: they are taken away."""

_ROOM = 1.5
"""So many times as long as the first collective took must be left for another one."""


def with_trials(
    known: Observed[Collective] | Unknown,
    python: str,
    *,
    children: Children,
    until: float,
    variables: Mapping[str, str],
    on_step: Callable[[str], None],
) -> Observed[Collective] | Unknown:
    """The fact with what changes brought, up to the first that makes it work; as it is where there
    is nothing to change. Several machines would have to change it together."""
    if isinstance(known, Unknown):
        return known
    tried = known.value
    if tried.works or tried.settings.nnodes > 1:
        return known
    trials: list[Trial] = []
    for variable, value in _CHANGES[tried.backend]:
        changed = {name: one for name, one in variables.items() if name != variable}
        if value is not None:
            changed[variable] = value
        in_time = until - time.monotonic() > _ROOM * tried.seconds
        if changed == dict(variables) or not in_time:
            continue
        again = try_collective(
            python,
            tried.settings,
            children=children,
            until=until,
            variables=changed,
            on_step=on_step,
        )
        works = isinstance(again, Observed) and again.value.works
        trials.append(Trial(variable=variable, value=value, works=works))
        if works:
            break
    return replace(known, value=replace(tried, trials=tuple(trials)))
