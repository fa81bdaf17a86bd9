"""Whether a plugin can be used beside those before it: made of what it says, and redefining none.

Loaded only where somebody else's plugin is installed.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from envdoctor.derived import CORE_DERIVATIONS
from envdoctor.facts import Fact
from envdoctor.findings import Code
from envdoctor.plugins import OURS, Check, Derivation, Plugin, Probe, Where
from envdoctor.plugins.type_check import WrongType, require_type
from envdoctor.probes.stage import Stage
from envdoctor.record import Record
from envdoctor.symptoms.codes import CORE_CODES

_FIELDS: dict[type, dict[str, Any]] = {
    Plugin: {"name": str, "version": str, "pages": Path | None},
    Probe: {"name": str, "where": Where, "timeout_s": int | float},
    Check: {"name": str},
    Derivation: {"name": str, "provides": type},
}
"""The types of single fields. The constructors of records check none."""

_PARTS: dict[type, dict[str, type]] = {
    Plugin: {"probes": Probe, "derive": Derivation, "checks": Check, "facts": type},
    Probe: {"provides": type, "stages": Stage},
    Check: {"codes": Code},
    Derivation: {},
}
"""What fields hold tuples of."""

_LONGEST_PROBE_S = 3600.0


def why_unusable(plugin: Plugin, before: Iterable[Plugin]) -> str:
    """What is wrong with it, in words; empty if nothing is."""
    return next(_defects(plugin, tuple(before)), "")


def _defects(plugin: Plugin, before: tuple[Plugin, ...]) -> Iterator[str]:
    for part in (plugin, *plugin.probes, *plugin.checks, *plugin.derive):
        yield from _of_fields(part)
    if plugin.name in {*OURS, *(one.name for one in before)}:
        yield f"another plugin has the name `{plugin.name}`"
    yield from (defect for one in plugin.probes for defect in _of_probe(one))
    yield from (defect for one in plugin.checks for defect in _of_check(one))
    yield from _redefined_codes(plugin, before)
    yield from _redefined_facts(plugin, before)


def _of_fields(part: Record) -> Iterator[str]:
    kind = type(part)
    if kind not in _FIELDS:
        yield f"a {kind.__name__} is none of the parts of a plugin"
    for field, wanted in _FIELDS[kind].items():
        if not isinstance(getattr(part, field), wanted):
            yield f"`{field}` of its {kind.__name__} is no {getattr(wanted, '__name__', wanted)}"
    for field, wanted in _PARTS[kind].items():
        values = getattr(part, field)
        if not isinstance(values, tuple) or not all(isinstance(one, wanted) for one in values):
            yield f"`{field}` of its {kind.__name__} is no tuple of {wanted.__name__}"


def _of_probe(probe: Probe) -> Iterator[str]:
    # A parameter without a type is a defect of the plugin, to be told at once.
    _ = probe.needs
    if not 0 < probe.timeout_s <= _LONGEST_PROBE_S:
        yield f"probe `{probe.name}`: `timeout_s` is {probe.timeout_s!r}, not a time"


def _of_check(check: Check) -> Iterator[str]:
    if not check.codes:
        yield f"check `{check.name}` has no codes"
    for code in check.codes:
        try:
            require_type(code, Code)
        except WrongType as error:
            yield f"a code of check `{check.name}`: {error}"


def _redefined_codes(plugin: Plugin, before: tuple[Plugin, ...]) -> Iterator[str]:
    """A code that another plugin defines may be given too, but not made again."""
    owners = {label: (code, "the doctor") for code in CORE_CODES for label in (code.id, code.name)}
    for other in before:
        for code in _codes(other):
            owners |= {code.id: (code, other.name), code.name: (code, other.name)}
    for code in _codes(plugin):
        for label in (code.id, code.name):
            known, owner = owners.setdefault(label, (code, plugin.name))
            if known != code:
                yield f"it redefines `{label}`, which is a disease of {owner}"


def _codes(plugin: Plugin) -> Iterator[Code]:
    return (code for check in plugin.checks for code in check.codes)


def _redefined_facts(plugin: Plugin, before: tuple[Plugin, ...]) -> Iterator[str]:
    """Facts are kept by the names of their types, and each is derived by one."""
    for kind in _fact_types(plugin):
        if not issubclass(kind, Fact):
            yield f"`{kind.__name__}` is no fact"
    steps = [*CORE_DERIVATIONS, *(step for other in before for step in other.derive)]
    kinds: set[type] = {step.provides for step in steps}
    kinds |= {kind for other in before for kind in _fact_types(other)}
    names: dict[str, type] = {kind.__name__: kind for kind in kinds}
    for kind in _fact_types(plugin):
        if names.setdefault(kind.__name__, kind) is not kind:
            yield f"it redefines the fact `{kind.__name__}`"
    for step in plugin.derive:
        if step.provides in kinds:
            yield f"it derives the fact `{step.provides.__name__}`, which others give"


def _fact_types(plugin: Plugin) -> Iterator[type]:
    yield from (kind for probe in plugin.probes for kind in probe.provides)
    yield from (step.provides for step in plugin.derive)
    yield from plugin.facts
