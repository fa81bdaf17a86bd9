"""Plugins: how they are written. The built-in checks are one of them."""

import enum
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from envdoctor.facts import Fact, Known
from envdoctor.findings import Code, Finding, Topic
from envdoctor.plugins.signature import Need, needs_of
from envdoctor.probes.stage import Stage, StageResult
from envdoctor.record import Record

OURS = ("core", "builtin")
"""The plugins that are the doctor itself; no other may take their names."""

Findings = Iterable[Finding]
CheckFunction = Callable[..., Findings]


class Check(Record):
    """A pure function over facts and knowledge that yields findings of its codes."""

    name: str
    codes: tuple[Code, ...]
    needs: tuple[Need, ...]
    fn: CheckFunction

    @property
    def topic(self) -> Topic:
        """What the check is grouped by: the topic of its first code."""
        return self.codes[0].topic


def check(*codes: Code) -> Callable[[CheckFunction], Check]:
    """Make a check of a function; its parameters are its needs."""

    def decorate(function: CheckFunction) -> Check:
        return Check(
            name=function.__name__.replace("_", "-"),
            codes=codes,
            needs=needs_of(function),
            fn=function,
        )

    return decorate


class Where(enum.Enum):
    """Where a probe runs: in a child of the target interpreter, or on the machine by the doctor."""

    TARGET = "target"
    HOST = "host"


class Cost(enum.Enum):
    """FAST: files. SLOW: may wait for a disk, a driver or an import. LOAD: uses the machine."""

    FAST = "fast"
    SLOW = "slow"
    LOAD = "load"


Provided = Mapping[type[Fact], Known]


class Probe(Record, dict=True):
    """A source of facts, of one kind or of a few that are only known together.

    HOST: `observe` looks at the machine. It is called with what its parameters name: facts, the
    Context that says where to look, or another service. TARGET: `stages` are run in the
    target's child, and `decode` makes facts of the mapping of their results, by their names.
    `static` probes execute nothing of the target's packages. `slow_because` is shown while one
    waits.
    """

    name: str
    where: Where
    provides: tuple[type[Fact], ...]
    observe: Callable[..., Provided] | None = None
    stages: tuple[Stage, ...] = ()
    decode: Callable[[Mapping[str, StageResult]], Provided] | None = None
    timeout_s: float = 20.0
    cost: Cost = Cost.FAST
    static: bool = False
    slow_because: str = ""

    def __post_init__(self) -> None:
        needed, other = (self.observe, self.decode)[:: 1 if self.where is Where.HOST else -1]
        if needed is None or other is not None:
            raise TypeError(f"probe `{self.name}`: a HOST probe observes, a TARGET probe decodes")

    @cached_property
    def needs(self) -> tuple[Need, ...]:
        """The facts and services that a HOST probe asks for."""
        return needs_of(self.observe) if self.observe is not None else ()


class Derivation(Record):
    """A pure function from facts to one more fact."""

    name: str
    provides: type[Fact]
    needs: tuple[Need, ...]
    fn: Callable[..., Fact | None]


_D = TypeVar("_D", bound=Fact)


def derive(provides: type[_D]) -> Callable[[Callable[..., _D | None]], Derivation]:
    """Make a derivation of a function; returning None means that the fact does not apply."""

    def decorate(function: Callable[..., _D | None]) -> Derivation:
        return Derivation(
            name=function.__name__.replace("_", "-"),
            provides=provides,
            needs=needs_of(function),
            fn=function,
        )

    return decorate


class Plugin(Record):
    """A set of probes, derived facts, checks and pages. `facts` are types that it adds."""

    name: str
    version: str
    probes: tuple[Probe, ...] = ()
    derive: tuple[Derivation, ...] = ()
    checks: tuple[Check, ...] = ()
    facts: tuple[type[Fact], ...] = ()
    pages: Path | None = None


class PluginFailure(Record):
    """A plugin that is installed and could not be loaded."""

    name: str
    entry_point: str
    distribution: str
    error: str


class Loaded(Record):
    """The plugins of this installation, and those that failed to load."""

    plugins: tuple[Plugin, ...]
    failures: tuple[PluginFailure, ...] = ()

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks of all plugins."""
        return tuple(check for plugin in self.plugins for check in plugin.checks)

    @property
    def codes(self) -> tuple[Code, ...]:
        """The codes of all checks, by their ids, each once."""
        codes = {code.id: code for check in self.checks for code in check.codes}
        return tuple(codes[key] for key in sorted(codes))

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The probes of all plugins."""
        return tuple(probe for plugin in self.plugins for probe in plugin.probes)

    @property
    def derivations(self) -> tuple[Derivation, ...]:
        """The derivations of all plugins, in their order."""
        return tuple(step for plugin in self.plugins for step in plugin.derive)

    @property
    def foreign_derivations(self) -> tuple[Derivation, ...]:
        """Those that are not the doctor's own."""
        foreign = (plugin for plugin in self.plugins if plugin.name not in OURS)
        return tuple(step for plugin in foreign for step in plugin.derive)

    @property
    def ours(self) -> "Loaded":
        """The plugins that are the doctor itself, alone."""
        return Loaded(plugins=tuple(one for one in self.plugins if one.name in OURS))

    def owner_of(self, check: Check) -> Plugin | None:
        """The plugin that brings a check."""
        return next((one for one in self.plugins if any(own is check for own in one.checks)), None)

    def is_ours(self, probe: Probe) -> bool:
        """Whether a probe is the doctor's own."""
        ours = (own for plugin in self.plugins if plugin.name in OURS for own in plugin.probes)
        return any(own is probe for own in ours)

    @property
    def fact_types(self) -> tuple[type[Fact], ...]:
        """Every type of fact that a plugin provides, derives or declares."""
        provided = [kind for probe in self.probes for kind in probe.provides]
        derived = [step.provides for step in self.derivations]
        declared = [kind for plugin in self.plugins for kind in plugin.facts]
        return tuple(dict.fromkeys([*provided, *derived, *declared]))
