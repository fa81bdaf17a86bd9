"""Installed files that this user may not read."""

import re
from collections.abc import Iterator

from envdoctor.api import (
    Code,
    CompanionImports,
    Confidence,
    Distributions,
    Evidence,
    Findings,
    InstalledFiles,
    Interpreter,
    Layer,
    Record,
    Severity,
    TorchImport,
    check,
    library_of,
    surroundings,
)
from envdoctor_checks.import_failures import ImportFailure, failures_of

FILES_CLOSED_TO_USER = Code(
    id="ED114",
    name="files-closed-to-user",
    family="files-closed-to-user",
    severity=Severity.ERROR,
    topic="python",
    layer=Layer.FILES,
    breaks="import:torch",
    message="this user may not read installed files",
    detailed="this user may not read `{file}`{others}",
)

_DENIED = re.compile(
    r"Permission denied: '(?P<python>/[^'\n]+\.(?:py|pth|so(?:\.\d+)*))'"
    r"|(?<![^\s'(:])(?P<loader>/[^\s:]{1,512}): cannot open shared object file: Permission denied"
)
"""How Python and the loader name a file that they may not open; `[Errno 13]` of a folder that
somebody's program wants to write to is another matter."""
_SHOWN = 5


class _Closed(Record):
    """A file, whose it is, and the folder to open: that of its package."""

    file: str
    owner: str
    package: str
    source: str


@check(FILES_CLOSED_TO_USER)
def files_closed_to_user(
    imported: TorchImport | None,
    companions: CompanionImports | None,
    installed: InstalledFiles | None,
    distributions: Distributions | None,
    interpreter: Interpreter | None,
) -> Findings:
    """An import fails, or nobody tried it, and files that it reads are closed to its user.

    So it is where root installed under a strict umask, or a copy kept the rights of another user.
    The loader says of such a library that there is none.
    """
    failures = tuple(failures_of(imported, companions))
    if imported is None:
        failures = (ImportFailure(outcome="import:torch", text="nobody tried it"), *failures)
    listed = [*_folders(interpreter), *_listed(installed, distributions)]
    found: dict[str, _Closed] = {}
    broken: list[str] = []
    for failure in failures:
        closed = [*_named(failure), *(one for one in listed if _is_read_by(failure, one))]
        if closed:
            broken.append(failure.outcome)
            found.update((one.file, one) for one in closed)
    if not found:
        return
    first, *others = found.values()
    yield FILES_CLOSED_TO_USER.finding(
        breaks=tuple(broken),
        confidence=Confidence.CERTAIN if first.source == "the exception" else Confidence.LIKELY,
        file=first.file,
        others=f", nor {len(others)} more" if others else "",
        evidence=tuple(
            Evidence(label="closed", value=one.file, source=one.source)
            for one in (first, *others[: _SHOWN - 1])
        ),
        fixes=(surroundings.let_read(dict.fromkeys(one.package for one in found.values())),),
        notes=("the loader reports a library that it may not open as one that is not there",),
    )


def names_of_closed(installed: InstalledFiles | None) -> frozenset[str]:
    """The names of the libraries that this user may not read."""
    return frozenset(
        file.path.rpartition("/")[2]
        for item in (installed.damaged if installed else ())
        for file in item.files
        if file.kind == "closed" and ".so" in file.path
    )


def _named(failure: ImportFailure) -> Iterator[_Closed]:
    """What the exception names."""
    for match in _DENIED.finditer(failure.text):
        file = match["python"] or match["loader"]
        yield _Closed(file=file, owner="", package=_package_of(file), source="the exception")


def _package_of(file: str) -> str:
    """The package that a file is part of; the file alone where it lies among other things of its
    owner, a home folder with its keys for example."""
    package = _IN_PACKAGES.match(file)
    return package[0] if package else file


_IN_PACKAGES = re.compile(r"/(?:[^/]+/)*?(?:site|dist)-packages/[^/]+")


def _folders(interpreter: Interpreter | None) -> Iterator[_Closed]:
    """Folders of packages, or torch's own: what else was installed with it is closed as well."""
    for folder in interpreter.closed if interpreter else ():
        place = folder.removesuffix("/torch")
        if interpreter and place in interpreter.site_packages:
            yield _Closed(file=folder, owner="torch", package=place, source="os.access")


def _listed(
    installed: InstalledFiles | None, distributions: Distributions | None
) -> Iterator[_Closed]:
    """What distributions list, and is code."""
    places = (
        {one.metadata_path: one.location for one in distributions.items} if distributions else {}
    )
    for item in installed.damaged if installed else ():
        for file in item.files:
            location = places.get(item.metadata_path)
            if file.kind != "closed" or location is None or not _is_code(file.path):
                continue
            yield _Closed(
                file=f"{location}/{file.path}",
                owner=item.name,
                package=f"{location}/{file.path.partition('/')[0]}",
                source=f"{item.metadata_path}/RECORD",
            )


def _is_code(path: str) -> bool:
    return path.endswith(".py") or ".so" in path.rpartition("/")[2]


def _is_read_by(failure: ImportFailure, closed: _Closed) -> bool:
    """Whether that import reads the file: it is its own, or the error names it."""
    own = failure.outcome == f"import:{library_of(closed.owner)}"
    of_torch = failure.outcome == "import:torch" and closed.owner.startswith("nvidia-")
    module = closed.package.rpartition("/")[2].partition(".")[0]
    return own or of_torch or f"'{module}'" in failure.text
