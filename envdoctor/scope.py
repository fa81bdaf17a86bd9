"""How far an examination goes: a whole one, the machine alone, or the target alone. Pure."""

from collections.abc import Iterable

from envdoctor.facts import Fact, Known, Reason, Snapshot, Unknown
from envdoctor.facts.machine import CudaInit, Driver, Gpus, Nvml, PciGpus
from envdoctor.facts.python import Interpreter, Target
from envdoctor.options import Scope
from envdoctor.plugins import Probe, Where

GPU_FACTS: frozenset[type[Fact]] = frozenset({CudaInit, Driver, Gpus, Nvml, PciGpus})
"""What tells of the machine's GPUs and of their driver."""


def left_out(scope: Scope) -> Unknown:
    """Why a fact that is out of scope is not known."""
    return Unknown(reason=Reason.SWITCHED_OFF, detail=f"left out by --scope {scope}")


def out_of_scope(probe: Probe, scope: Scope | None) -> bool:
    """Whether a probe looks at nothing that is to be judged. Those of a target that was not chosen
    end by themselves."""
    return scope == "user" and not GPU_FACTS.isdisjoint(probe.provides)


def within(snapshot: Snapshot, scope: Scope | None, probes: Iterable[Probe]) -> Snapshot:
    """The snapshot without what is out of scope, whoever recorded it."""
    if scope is None:
        return snapshot
    kinds = GPU_FACTS if scope == "user" else _of_the_target(probes)
    why: Known = left_out(scope)
    return snapshot.with_facts(dict.fromkeys(kinds, why))


def _of_the_target(probes: Iterable[Probe]) -> frozenset[type[Fact]]:
    """The target, what its own child tells, and what cannot be looked at without it."""
    kinds: set[type[Fact]] = {Target, Interpreter}
    waiting = list(probes)
    while of_the_target := [probe for probe in waiting if _needs_one_of(probe, kinds)]:
        kinds.update(kind for probe in of_the_target for kind in probe.provides)
        waiting = [probe for probe in waiting if probe not in of_the_target]
    return frozenset(kinds)


def _needs_one_of(probe: Probe, kinds: set[type[Fact]]) -> bool:
    if probe.where is Where.TARGET:
        return True
    return any(need.kind in kinds for need in probe.needs if not need.optional)
