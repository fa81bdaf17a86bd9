"""Which library an undefined symbol should have come from, by its name."""

from collections.abc import Iterable

from envdoctor.facts.libraries import Problem
from envdoctor.knowledge.libraries import LibraryCatalogue, stem_of
from envdoctor.loader.process import SYMBOL, Process


def with_culprits(
    problems: Iterable[Problem], process: Process, libraries: LibraryCatalogue
) -> list[Problem]:
    """Symbol problems split by the library that should have offered them, with its path."""
    named: list[Problem] = []
    for problem in problems:
        if problem.kind != SYMBOL:
            named.append(problem)
            continue
        groups: dict[str | None, list[str]] = {}
        for symbol in problem.names:
            groups.setdefault(libraries.provider_of(symbol), []).append(symbol)
        for stem, symbols in groups.items():
            named.append(_blamed(problem, stem, tuple(symbols), process))
    return named


def _blamed(
    problem: Problem, stem: str | None, names: tuple[str, ...], process: Process
) -> Problem:
    holders = [*process.mapped, *process.unmapped]
    culprit = next((one for one in holders if stem_of(one.elf.soname or "") == stem), None)
    return Problem(
        kind=SYMBOL,
        library=culprit.elf.soname or problem.library if culprit else stem or problem.library,
        needed_by=problem.needed_by,
        path=culprit.path if culprit else None,
        names=names,
    )
