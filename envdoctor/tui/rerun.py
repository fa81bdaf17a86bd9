"""What has to be looked at again for one check, and what stays when all is looked at. Pure."""

from collections.abc import Iterable

from msgspec.structs import replace

from envdoctor.derived import derivations_of
from envdoctor.facts import Fact, Observed, Snapshot
from envdoctor.facts.calibration import Calibration
from envdoctor.facts.python import Interpreter
from envdoctor.facts.torch import TorchRuntime
from envdoctor.plugins import Loaded, Probe, Where
from envdoctor.plugins.signature import Need


def with_calibration_of(before: Snapshot, now: Snapshot) -> Snapshot:
    """What is known now, with the calibration of before while that still is about the same torch
    of the same interpreter: to measure takes a minute, to look takes a few seconds."""
    measured = before.get(Calibration)
    old, new = before.value(Interpreter), now.value(Interpreter)
    if not isinstance(measured, Observed) or old is None or new is None:
        return now
    runtime, torch = now.value(TorchRuntime), measured.value.conditions.torch_version
    other_torch = runtime is not None and torch is not None and runtime.version != torch
    if old.executable != new.executable or other_torch:
        return now
    return now.with_facts({Calibration: measured})


def only_for(loaded: Loaded, checks: Iterable[str]) -> Loaded:
    """The plugins with only those probes that provide what these checks need, directly or not.

    The probes of the target run in one child, in order, so that either all of them stay or none.
    """
    names = frozenset(checks)
    wanted = _facts(need for check in loaded.checks if check.name in names for need in check.needs)
    wanted = _with_their_needs(wanted, loaded)
    needed = {probe.name for probe in loaded.probes if not wanted.isdisjoint(probe.provides)}
    target = any(probe.where is Where.TARGET and probe.name in needed for probe in loaded.probes)

    def stays(probe: Probe) -> bool:
        return target if probe.where is Where.TARGET else probe.name in needed

    plugins = tuple(
        replace(plugin, probes=tuple(probe for probe in plugin.probes if stays(probe)))
        for plugin in loaded.plugins
    )
    return replace(loaded, plugins=plugins)


def _with_their_needs(wanted: set[type[Fact]], loaded: Loaded) -> set[type[Fact]]:
    """Also the facts from which the wanted ones are derived, or which their probes read first."""
    while True:
        derived = {
            kind
            for step in derivations_of(loaded)
            if step.provides in wanted
            for kind in _facts(step.needs)
        }
        read_first = {
            kind
            for probe in loaded.probes
            if not wanted.isdisjoint(probe.provides)
            for kind in _facts(probe.needs)
        }
        more = (derived | read_first) - wanted
        if not more:
            return wanted
        wanted = wanted | more


def _facts(needs: Iterable[Need]) -> set[type[Fact]]:
    return {need.kind for need in needs if not need.service}
