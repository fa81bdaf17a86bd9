"""What takes a folder out of the module path, with what was tried."""

from collections.abc import Iterator

from envdoctor.api import Fix, ImportTrials, TorchImport, surroundings
from envdoctor_checks.module_path import Entry

_NO_USER_SITE = "PYTHONNOUSERSITE"


def without_folder(
    entry: Entry,
    entries: tuple[Entry, ...],
    imported: TorchImport | None,
    trials: ImportTrials | None,
    *,
    file: str = "",
) -> tuple[Fix, ...]:
    """The fixes for what one entry brings; `file` is what is in the way there, if it is one."""
    return tuple(_fixes(entry, entries, imported, trials, file))


def _fixes(
    entry: Entry,
    entries: tuple[Entry, ...],
    imported: TorchImport | None,
    trials: ImportTrials | None,
    file: str,
) -> Iterator[Fix]:
    single = file.removeprefix(f"{entry.path.rstrip('/')}/")
    if entry.origin == "PYTHONPATH":
        if single == "torch.py":
            # Wherever it lies, it is in the way of every program that is started there.
            yield surroundings.rename(file)
        listed = [one.path for one in entries if one.origin == "PYTHONPATH"]
        proof = proof_of(imported, trials, unset="PYTHONPATH") if len(listed) == 1 else ""
        yield surroundings.without_entry("PYTHONPATH", listed, [entry.path], proof=proof)
    elif entry.origin == "user":
        summary = f"start without the user's own site-packages, `{entry.path}`"
        proof = proof_of(imported, trials, set_variable=_NO_USER_SITE)
        yield surroundings.set_variable(_NO_USER_SITE, "1", summary=summary, proof=proof)
    elif entry.origin == "folder":
        yield from _in_current_folder(entry, imported, trials, file, single)
    else:
        folders = [one.path for one in entries if one.origin in ("environment", "base", "user")]
        if entry.lines:
            yield surroundings.without_path_lines(
                entry.path, [(one.file, one.number) for one in entry.lines]
            )
        else:
            yield surroundings.without_path_line(entry.path, folders)


def _in_current_folder(
    entry: Entry,
    imported: TorchImport | None,
    trials: ImportTrials | None,
    file: str,
    single: str,
) -> Iterator[Fix]:
    proof = proof_of(imported, trials, folder=True)
    leave = surroundings.leave_folder(entry.path, proof=proof)
    if "/" not in single and single.endswith(".py") and not _is_installed(entry.path):
        yield surroundings.rename(file, proof=proof)
    yield leave


def _is_installed(folder: str) -> bool:
    """Whether the current folder is one of a package, whose files have to keep their names."""
    return any(part in ("site-packages", "dist-packages") for part in folder.split("/"))


def proof_of(
    imported: TorchImport | None,
    trials: ImportTrials | None,
    *,
    unset: str = "",
    set_variable: str = "",
    folder: bool = False,
) -> str:
    """What was tried that is this change, or includes it, and worked."""
    if trials and trials.cured(unset=unset, set_variable=set_variable, folder=folder):
        how = f"without {unset}" if unset else f"with {set_variable}=1" if set_variable else ""
        return f"`import torch` works {how or 'from another folder'}"
    loader = unset.startswith("LD_")
    if imported and imported.works_isolated and not loader:
        return "`import torch` works with python -I, which leaves it out"
    return ""
