"""Which interpreters can be the patient, by the files of the machine alone; nothing is run."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from envdoctor.probes.context import Context
from envdoctor.probes.files import matching

VARIABLE = "ENVDOCTOR_PYTHON"
"""Names the target where `--python` does not."""


def named_by_the_user(requested: str | None, context: Context) -> tuple[str, str] | None:
    """The absolute path of the interpreter that the user named, and by what; None if by nothing."""
    if requested is not None:
        return _absolute(requested, context), "--python"
    variable = context.env.get(VARIABLE)
    return (_absolute(variable, context), VARIABLE) if variable else None


def _absolute(requested: str, context: Context) -> str:
    """The path of an interpreter that is given as a path, a folder, or the name of a command."""
    path = os.path.normpath(os.path.join(context.cwd, os.path.expanduser(requested)))
    if os.sep not in requested and not os.path.exists(context.path(path)):
        return _on_path(requested, context) or requested
    return (_inside(path, context) or path) if os.path.isdir(context.path(path)) else path


def default_candidates(context: Context, doctor: str) -> Iterator[tuple[str, str]]:
    """Paths and their origins, in the order in which they are considered, each path once.

    `doctor` is the doctor's own interpreter.
    """
    seen: set[str] = set()
    for path, origin in _all_candidates(context, doctor):
        if path and path not in seen:
            seen.add(path)
            yield path, origin


def _all_candidates(context: Context, doctor: str) -> Iterator[tuple[str | None, str]]:
    env = context.env
    yield _inside(env.get("VIRTUAL_ENV"), context), "VIRTUAL_ENV"
    yield _inside(env.get("CONDA_PREFIX"), context), "CONDA_PREFIX"
    local = os.path.join(context.cwd, ".venv")
    yield _inside(local, context) if os.path.isdir(context.path(local)) else None, "./.venv"
    if context.is_live:
        yield doctor, "the doctor's own interpreter"
    else:
        for folder in _OF_IMAGES:
            found = _inside(folder, context) if os.path.isdir(context.path(folder)) else None
            yield found, f"`{folder}`, as images have it"
    for name in ("python3", "python"):
        yield _on_path(name, context), f"`{name}` on PATH"


_OF_IMAGES = ("/opt/venv", "/venv", "/app/.venv", "/workspace/.venv", "/opt/conda")
"""Where images keep the environment that is first on the PATH they set, which no file tells."""


def _on_path(name: str, context: Context) -> str | None:
    if not context.is_live:
        folders = context.env.get("PATH", "").split(":")
        places = (os.path.join(folder, name) for folder in folders if folder)
        return next((place for place in places if os.path.lexists(context.path(place))), None)
    # Not needed for a path, and its import would hold the target's child up.
    import shutil

    return shutil.which(name, path=context.env.get("PATH"))


def _inside(folder: str | None, context: Context) -> str | None:
    """The interpreter of a venv or prefix; its usual path even where it is missing."""
    if not folder:
        return None
    names = [os.path.join(folder, "bin", name) for name in ("python", "python3")]
    return next((path for path in names if os.path.exists(context.path(path))), names[0])


def site_packages_beside(path: str, context: Context) -> tuple[str, ...]:
    """The site-packages of the environment in which an interpreter lies, as far as folders tell."""
    lib = context.path(path).parent.parent / "lib"
    own = sorted(context.name(found) for found in matching(lib, "python*/site-packages"))
    return (*own, *_of_debian(path, context))


def _of_debian(path: str, context: Context) -> list[str]:
    """Where the system's own Python looks on Debian and Ubuntu (Debian Python Policy, 2.5)."""
    if os.path.dirname(path) != "/usr/bin":
        return []
    local = matching(context.path("/usr/local/lib"), "python3.*/dist-packages")
    own = matching(context.path("/usr/lib"), "python3/dist-packages")
    return [context.name(found) for found in (*sorted(local), *own)]


def has_torch(folders: Sequence[str], cwd: str, context: Context) -> bool:
    """Whether a torch, whole or damaged, lies in one of the folders of a module path."""
    return any(_holds_torch(context.path(folder or cwd)) for folder in folders)


def _holds_torch(folder: Path) -> bool:
    package = folder / "torch"
    if os.path.exists(package / "__init__.py") or os.path.isdir(package / "lib"):
        return True
    return bool(matching(folder, "torch-*.dist-info"))


def _is_closed(file: str) -> bool:
    """Whether this user may not walk to a file, or to the end of its link."""
    try:
        os.stat(file)
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


Problem = tuple[Literal["not-found", "not-executable", "base-missing"], str]


def problem_on_disk(path: str, context: Context) -> Problem | None:
    """Why an interpreter cannot be started, as far as its file tells; None if nothing tells so."""
    file = str(context.path(path))
    if not context.is_live and os.path.lexists(file):
        return None
    if os.path.isfile(file):
        return None if os.access(file, os.X_OK) else ("not-executable", "it is not executable")
    if os.path.isdir(file):
        return "not-found", "the folder holds no bin/python"
    if _is_closed(file):
        # As a venv of root's own Python is to everybody else: it may well be there.
        where = f"its end is `{os.path.realpath(file)}`, where" if os.path.islink(file) else "there"
        return "not-executable", f"{where} this user may not look"
    if os.path.islink(file):
        base = os.path.realpath(file)
        return "base-missing", f"it is a link to `{base}`, which is gone"
    folder = os.path.dirname(os.path.dirname(path))
    if os.path.isdir(context.path(folder)) and os.path.basename(os.path.dirname(path)) == "bin":
        made = ", only a Scripts/python.exe: it was made on Windows; make one here"
        of_windows = os.path.isfile(context.path(f"{folder}/Scripts/python.exe"))
        return "not-found", f"`{folder}` holds no bin/python{made if of_windows else ''}"
    return "not-found", "there is no such file"
