"""What the error of an import says of its cause: patterns, and the finding of what fits first."""

import re
from collections.abc import Callable, Iterable, Iterator

from envdoctor.api import (
    Code,
    CompanionImports,
    Confidence,
    Evidence,
    Finding,
    Fix,
    Record,
    Site,
    TorchBuild,
    TorchImport,
)
from envdoctor_checks.import_failures import failures_of


class Case(Record):
    """What an error names, and where a repair is done."""

    thing: str
    site: Site
    torch_path: str | None


class Reading(Record):
    """A text that an error holds, and what it says; its group is what the text names."""

    text: re.Pattern[str]
    code: Code
    fixes: Callable[[Case], Iterator[Fix]]
    note: str
    confidence: Confidence = Confidence.CERTAIN


def first_that_says(
    readings: Iterable[Reading],
    imported: TorchImport,
    companions: CompanionImports | None,
    build: TorchBuild | None,
    site: Site,
) -> Iterator[Finding]:
    """The finding of the first reading that an error fits, with all imports whose errors do."""
    failures = tuple(failures_of(imported, companions))
    for reading in readings:
        named = {one: m for one in failures if (m := reading.text.search(one.text))}
        if not named:
            continue
        first, said = next(iter(named.items()))
        case = Case(thing=said[1], site=site, torch_path=build.path if build else None)
        yield reading.code.finding(
            breaks=tuple(one.outcome for one in named),
            confidence=reading.confidence,
            thing=said[1],
            evidence=(
                Evidence(
                    label=first.outcome.replace(":", " "), value=first.text, source="the exception"
                ),
            ),
            fixes=tuple(reading.fixes(case)),
            notes=(reading.note,),
        )
        return
