"""What is equal on both sides, in short, and what could not be compared."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from envdoctor.compare.pair import Examined, Pair
from envdoctor.compare.records import Difference, Part, Same, Uncompared
from envdoctor.compare.torch import build_of
from envdoctor.facts import Fact, Reason, Unknown
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.machine import Driver, Environment, Gpus, Host
from envdoctor.facts.python import Distributions
from envdoctor.facts.torch import TorchAbsent, TorchBuild, TorchImport, TorchRuntime

Describe = Callable[[Examined], str | None]


def _python(side: Examined) -> str | None:
    version = side.report.stack.python
    return f"Python {version}" if version else None


def _torch(side: Examined) -> str | None:
    build = build_of(side)
    return f"torch {build}" if build else None


def _driver(side: Examined) -> str | None:
    release = side.report.stack.driver_release
    return f"driver {release}" if release else None


def _gpus(side: Examined) -> str | None:
    models = Counter(gpu.name for gpu in side.report.stack.gpus)
    words = (f"{number} x {name}" if number > 1 else name for name, number in models.items())
    return ", ".join(words) or None


def _system(side: Examined) -> str | None:
    host = side.value(Host)
    return None if host is None else host.os + (f", glibc {host.glibc}" if host.glibc else "")


_DESCRIBED: tuple[tuple[Part, Describe], ...] = (
    ("python", _python),
    ("torch", _torch),
    ("driver", _driver),
    ("gpus", _gpus),
    ("system", _system),
)

_COUNTED: tuple[tuple[Part, type[Fact], str, Callable[[Fact], Iterable[str]]], ...] = (
    (
        "packages",
        Distributions,
        "package",
        lambda fact: [f"{one.name}=={one.version}" for one in fact.items],  # type: ignore[attr-defined]
    ),
    (
        "libraries",
        LibraryResolution,
        "library",
        lambda fact: [one.soname for one in fact.libraries if one.path],  # type: ignore[attr-defined]
    ),
    ("variables", Environment, "variable", lambda fact: fact.variables),  # type: ignore[attr-defined]
)


def same(pair: Pair, differences: Iterable[Difference]) -> Iterator[Same]:
    """The parts that are equal, or how much of them is."""
    differing = tuple(differences)
    for part, describe in _DESCRIBED:
        first, second = describe(pair.first), describe(pair.second)
        if first is not None and first == second:
            yield Same(part=part, text=first)
    for part, kind, noun, names in _COUNTED:
        both = pair.both(kind)
        if both is None:
            continue
        others = {one.name for one in differing if one.part == part}
        first_names, second_names = (set(names(one)) for one in both)
        equal = {one for one in first_names & second_names if one.partition("==")[0] not in others}
        if equal:
            yield Same(part=part, text=f"{len(equal)} {_plural(noun, len(equal))}")


def _plural(noun: str, number: int) -> str:
    if number == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


_LOOKED_AT: tuple[tuple[Part, type[Fact]], ...] = (
    ("torch", TorchBuild),
    ("outcome", TorchImport),
    ("packages", Distributions),
    ("libraries", LibraryResolution),
    ("driver", Driver),
    ("gpus", Gpus),
    ("system", Host),
    ("variables", Environment),
)

_WORDS = {
    Reason.TIMED_OUT: "the look timed out",
    Reason.CRASHED: "the look failed",
    Reason.UNDECODABLE: "the answer could not be read",
    Reason.SWITCHED_OFF: "the look was switched off",
    Reason.NOT_OBSERVED: "not told",
}


def uncompared(pair: Pair) -> Iterator[Uncompared]:
    """The parts that a side does not tell of; what has no meaning there is nothing to compare."""
    sides = (pair.first, pair.names.at_first), (pair.second, pair.names.at_second)
    silent = [at for side, at in sides if side.report.stack.python is None]
    if silent:
        yield Uncompared(part="python", reason=f"not told {' and '.join(silent)}")
    for part, kind in _LOOKED_AT:
        facts = [(side.snapshot.get(kind), side, at) for side, at in sides]
        whys = [
            (fact, at)
            for fact, side, at in facts
            if isinstance(fact, Unknown)
            and fact.reason is not Reason.NOT_APPLICABLE
            and (fact.reason.is_failure or not _tells(part, side))
        ]
        if whys:
            reason = ", ".join(f"{_WORDS[fact.reason]} {at}" for fact, at in whys)
            if len(whys) == len(sides) and len({fact.reason for fact, _ in whys}) == 1:
                reason = f"{_WORDS[whys[0][0].reason]} {pair.on_both}"
            failed = any(fact.reason.is_failure for fact, _ in whys)
            yield Uncompared(part=part, reason=reason, failed=failed)


def _tells(part: Part, side: Examined) -> bool:
    """Whether something else tells of that part."""
    if part == "torch":
        absent = side.value(TorchAbsent)
        return absent is not None and absent.absent
    if part == "driver":
        runtime = side.value(TorchRuntime)
        return side.report.stack.driver_release is not None or bool(runtime and runtime.hip)
    return part == "gpus" and bool(side.report.stack.gpus)
