"""The imports that were seen to fail, of torch and of what is built on it, and what they say."""

from collections.abc import Iterator

from envdoctor.api import CompanionImports, Record, TorchImport


class ImportFailure(Record):
    """An import that failed: the outcome that it breaks, what it said, and the files in which it
    did, the innermost last."""

    outcome: str
    text: str
    files: tuple[str, ...] = ()


def failures_of(
    imported: TorchImport | None, companions: CompanionImports | None
) -> Iterator[ImportFailure]:
    """Those of torch first."""
    if imported is not None and imported.fails:
        yield ImportFailure(
            outcome="import:torch",
            text="\n".join(filter(None, (imported.message, imported.cause))),
            files=tuple(frame.file for frame in imported.frames),
        )
    for one in companions.items if companions else ():
        if one.outcome != "ok":
            yield ImportFailure(
                outcome=f"import:{one.name}",
                text=one.message,
                files=tuple(frame.file for frame in one.frames),
            )
