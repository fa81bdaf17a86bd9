"""From two sides to the comparison: every part is compared, explained and ranked.

Each part of a machine is compared by a module of its own, as a person would: by what can matter,
with the places that every machine has for itself mapped upon each other.
"""

from collections.abc import Callable, Iterable, Iterator

from envdoctor.clock import now_utc
from envdoctor.compare import (
    driver,
    gpus,
    libraries,
    packages,
    python,
    rest,
    system,
    torch,
    variables,
    works,
)
from envdoctor.compare.explain import Judge, as_record, explained, one_sided, shared, unexplained
from envdoctor.compare.pair import Examined, Found, Pair
from envdoctor.compare.records import (
    WEIGHTS,
    ComparedSide,
    Comparison,
    Difference,
    Uncompared,
)
from envdoctor.compare.same import same, uncompared
from envdoctor.compare.works import is_consequence
from envdoctor.exit_codes import EXIT_FINDINGS, EXIT_INCOMPLETE, EXIT_OK
from envdoctor.knowledge import Knowledge

PARTS: tuple[Callable[[Pair], Iterator[Found]], ...] = (
    driver.differences,
    gpus.differences,
    torch.differences,
    python.differences,
    libraries.differences,
    variables.differences,
    system.differences,
    packages.differences,
    rest.differences,
    works.differences,
)


def compare(
    first: Examined,
    second: Examined,
    knowledge: Knowledge,
    judge: Judge,
    *,
    created_at: str | None = None,
) -> Comparison:
    """The differences of two sides, those first that explain what only one of them has."""
    pair = Pair(first, second, knowledge)
    own = one_sided(pair)
    found = [one for part in PARTS for one in part(pair)]
    # What can stop torch is put to the proof first.
    found.sort(key=lambda one: (WEIGHTS.index(one.difference.weight), one.difference.layer.height))
    found = [*explained(pair, found, own, judge)]
    found += unexplained(pair, found, own)
    ranked = tuple(one.difference for one in rank(found))
    missing = tuple(uncompared(pair))
    return Comparison(
        created_at=created_at or now_utc(),
        exit_code=_exit_code(missing, differs=bool(ranked) or any(one.looked_for for one in own)),
        first=_side(first, pair.names.first),
        second=_side(second, pair.names.second),
        differences=ranked,
        findings=tuple(as_record(pair, one) for one in own),
        shared=shared(pair),
        same=tuple(same(pair, ranked)),
        uncompared=missing,
    )


def rank(found: Iterable[Found]) -> list[Found]:
    """Causes that explain a finding first, by its severity; then what was seen to fail; then the
    others by what they can break, from the bottom of the stack upwards."""
    return sorted(found, key=_key)


def _key(found: Found) -> tuple[object, ...]:
    difference = found.difference
    proven = [one for one in difference.explains if one.how == "removes"]
    severity = max((one.severity.rank for one in difference.explains), default=-1)
    return (
        _group(found),
        -severity,
        -min(1, found.roots),
        -min(1, found.named),
        -len(proven),
        bool(difference.follows),
        WEIGHTS.index(difference.weight),
        _breadth(difference),
        difference.layer.height,
        difference.part,
        difference.name,
    )


_BREADTH = ("compute", "compute:gpu", "compute:cpu", "import:torch", "import:", "")
"""What a difference can break, from what is felt by all to what is felt by some: of all devices, of
the GPUs, of an import; at last builds, jobs of several processes, and speed."""


def _breadth(difference: Difference) -> int:
    if "compute" in difference.can_break:
        return 0
    ranks = (
        next(rank for rank, start in enumerate(_BREADTH) if rank and one.startswith(start))
        for one in difference.can_break
    )
    return min(ranks, default=len(_BREADTH))


def _group(found: Found) -> int:
    difference = found.difference
    if is_consequence(found):
        is_outcome = difference.name in difference.can_break
        return 2 if difference.explains or is_outcome else 3
    if not difference.explains:
        return 3
    return 0 if any(one.how == "removes" for one in difference.explains) else 1


def _exit_code(missing: tuple[Uncompared, ...], *, differs: bool) -> int:
    """Different where anything is; else whether all could be looked at that has to be."""
    if differs:
        return EXIT_FINDINGS
    vital = any(one.failed or one.part in ("python", "torch") for one in missing)
    return EXIT_INCOMPLETE if vital else EXIT_OK


def _side(side: Examined, name: str) -> ComparedSide:
    return ComparedSide(name=name, label=side.label, kind=side.kind, verdict=side.report.verdict)
