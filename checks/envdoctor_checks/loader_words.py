"""What the loader said when the import failed, where nothing else is known of the libraries.

A facts file that was recorded without LibraryResolution has the message alone; it names the
library, and so the disease.
"""

import re

from envdoctor.api import (
    Distributions,
    Evidence,
    Findings,
    InstalledFiles,
    Knowledge,
    LibraryResolution,
    Problem,
    ResolvedLibrary,
    Site,
    TorchImport,
    check,
)
from envdoctor_checks.import_failures import NOT_FOUND
from envdoctor_checks.loader_codes import PROBLEM_CODES, disease_of
from envdoctor_checks.loader_fixes import Repair

_NAME = r"(?<![\w.+-])(?P<library>lib[\w.+-]{1,255}?\.so(?:\.\d+)*)"
_MISSING = re.compile(_NAME + NOT_FOUND)
_VERSION = re.compile(rf"{_NAME}: version [`'](?P<name>[\w.]+)' not found")
_SYMBOL = re.compile(rf"undefined symbol: (?P<name>\w+), version {_NAME}")
"""The messages of glibc's loader (elf/dl-load.c, dl-version.c, dl-lookup.c)."""


@check(*PROBLEM_CODES)
def library_named_by_the_error(
    imported: TorchImport,
    resolution: LibraryResolution | None,
    distributions: Distributions | None,
    files: InstalledFiles | None,
    site: Site,
    known: Knowledge,
) -> Findings:
    """The library that the error of the import names, where no look at the files tells more."""
    if resolution is not None or imported.outcome != "exception":
        return
    problem = next(filter(None, map(_problem, (imported.message, imported.cause))), None)
    if problem is None or _is_damaged(problem.library, files):
        return
    library = ResolvedLibrary(soname=problem.library, path=None, problems=(problem,))
    repair = Repair(
        resolution=LibraryResolution(root="", libraries=(library,)),
        distributions=distributions,
        trials=None,
        site=site,
        libraries=known.libraries,
    )
    names = ", ".join(f"`{name}`" for name in problem.names)
    yield disease_of(problem, known.libraries).finding(
        subjects=(problem.library,),
        breaks=("import:torch",),
        library=problem.library,
        missing=f"`{problem.library}`, which torch needs,",
        are="is",
        is_not="is not",
        library_said=f"`{problem.library}`",
        needed_by=problem.needed_by,
        path=problem.library,
        detail=problem.detail,
        symbols=names,
        evidence=(Evidence(label="import torch", value=problem.detail, source="the exception"),),
        fixes=repair.of(library, problem),
    )


def _is_damaged(library: str, files: InstalledFiles | None) -> bool:
    """Whether the file is known to be damaged or gone, which is a disease of its own."""
    damaged = (file.path for item in (files.damaged if files else ()) for file in item.files)
    return any(path.rpartition("/")[2] == library for path in damaged)


def _problem(text: str) -> Problem | None:
    """What a message says is wrong with which library."""
    if found := _MISSING.search(text):
        return Problem(kind="missing", library=found["library"], needed_by="torch", detail=text)
    version = _VERSION.search(text)
    found = version or _SYMBOL.search(text)
    if found is None:
        return None
    return Problem(
        kind="version" if version else "symbol",
        library=found["library"],
        needed_by="torch",
        detail=text,
        names=(found["name"],),
    )
