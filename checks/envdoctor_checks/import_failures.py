"""The imports that were seen to fail, of torch and of what is built on it, and what they say."""

import re
from collections.abc import Iterator

from envdoctor.api import CompanionImports, Record, TorchImport

_NO_MODULE = re.compile(r"No module named '([\w.]+)'|from '([\w.]+)' \(unknown location\)")
"""The second: a folder of that name, without its file, is a namespace that holds nothing."""
_NO_NAME = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
"""The name may be that of a module in the package: `_imaging` of PIL."""
_INCOMPLETE = re.compile(r"module '([\w.]+)' has no attribute")

NOT_FOUND = r": cannot open shared object file(?!: (?:Too many open files|Error 2[34]))"
"""What glibc's loader says of a library that it finds nowhere, after its name (elf/dl-load.c): with
that reason it has not looked everywhere. As a program starts it knows errors by number alone."""


class ImportFailure(Record):
    """An import that failed: the outcome that it breaks, what it said, and the files in which it
    did, the innermost last. `killed` by a signal, it said nothing."""

    outcome: str
    text: str
    exception: str = ""
    files: tuple[str, ...] = ()
    killed: bool = False

    @property
    def missing_modules(self) -> tuple[str, ...]:
        """The modules that Python did not find, and names that may be of modules."""
        found = _NO_MODULE.findall(self.text)
        named = (f"{package}.{name}" for name, package in _NO_NAME.findall(self.text))
        return (*(one or other for one, other in found), *named)

    @property
    def incomplete_module(self) -> str:
        """The module that was imported and lacks what was asked of it; empty if none is named."""
        found = _INCOMPLETE.search(self.text)
        return found[1] if found else ""


def failures_of(
    imported: TorchImport | None, companions: CompanionImports | None
) -> Iterator[ImportFailure]:
    """Those of torch first."""
    if imported is not None and imported.fails:
        instead = imported.in_place_of_torch if imported.is_no_torch else ""
        yield ImportFailure(
            outcome="import:torch",
            text="\n".join(filter(None, (imported.message, imported.cause, instead))),
            exception=imported.exception or "",
            files=tuple(frame.file for frame in imported.frames),
            killed=imported.outcome == "signal",
        )
    for one in companions.items if companions else ():
        if one.outcome != "ok":
            yield ImportFailure(
                outcome=f"import:{one.name}",
                text=one.message,
                exception=one.exception or "",
                files=tuple(frame.file for frame in one.frames),
                killed=one.outcome == "signal",
            )
