"""The imports that were seen to fail, of torch and of what is built on it, and what they say."""

import re
from collections.abc import Iterator

from envdoctor.api import CompanionImports, Record, TorchImport

_NO_MODULE = re.compile(r"No module named '([\w.]+)'")


class ImportFailure(Record):
    """An import that failed: the outcome that it breaks, what it said, and the files in which it
    did, the innermost last. `killed` by a signal, it said nothing."""

    outcome: str
    text: str
    exception: str = ""
    files: tuple[str, ...] = ()
    killed: bool = False

    @property
    def missing_module(self) -> str:
        """The module that Python did not find; empty where it was another failure."""
        found = _NO_MODULE.search(self.text)
        return found[1] if found else ""


def failures_of(
    imported: TorchImport | None, companions: CompanionImports | None
) -> Iterator[ImportFailure]:
    """Those of torch first."""
    if imported is not None and imported.fails:
        yield ImportFailure(
            outcome="import:torch",
            text="\n".join(filter(None, (imported.message, imported.cause))),
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
