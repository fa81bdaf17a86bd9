"""Repairs of what surrounds a program: variables, the current folder, a file in the way.

Nothing that is installed changes: all of them are safe, and most can be tried in a child first.
`proof` is what was tried and worked.
"""

import os
from collections.abc import Iterable

from envdoctor.findings import Fix, Safety
from envdoctor.shell import assignment, command


def unset(variable: str, *, summary: str = "", proof: str = "") -> Fix:
    """Start without a variable."""
    return Fix(
        summary=summary or f"start without {variable}",
        commands=(command("unset", variable),),
        safety=Safety.SAFE,
        proof=proof,
    )


def set_variable(variable: str, value: str, *, summary: str, proof: str = "") -> Fix:
    """Start with a variable at that value."""
    return Fix(
        summary=summary,
        commands=(f"export {assignment(variable, value)}",),
        safety=Safety.SAFE,
        proof=proof,
    )


def without_entry(
    variable: str, entries: Iterable[str], unwanted: Iterable[str], *, proof: str = ""
) -> Fix:
    """Start without some of the entries of a list with colons; unset it where none is left."""
    gone = {_plain(entry) for entry in unwanted}
    kept = [entry for entry in entries if entry and _plain(entry) not in gone]
    if not kept:
        return unset(variable, proof=proof)
    named = " and ".join(f"`{entry}`" for entry in dict.fromkeys(unwanted))
    summary = f"take {named} out of {variable}"
    return set_variable(variable, ":".join(kept), summary=summary, proof=proof)


def _plain(entry: str) -> str:
    return os.path.normpath(entry)


def without_preload_line(library: str) -> Fix:
    """Take a library out of the file by which the loader preloads it into every process."""
    return Fix(
        summary=f"remove the line of `{library}` from /etc/ld.so.preload",
        commands=("sudoedit /etc/ld.so.preload",),
        safety=Safety.NEEDS_ROOT,
    )


def let_read(paths: Iterable[str]) -> Fix:
    """Open files or folders, and what is in them, to all who may use the machine."""
    return Fix(
        summary="let all users read them, as owner or root; nothing has to be installed again",
        commands=(command("sudo", "chmod", "-R", "a+rX", "--", *paths),),
        safety=Safety.NEEDS_ROOT,
    )


def leave_folder(folder: str, *, proof: str = "") -> Fix:
    """Start from another folder than the one that holds what is in the way."""
    return Fix(
        summary=f"start from another folder than `{folder}`, for example your home",
        commands=("cd",),
        safety=Safety.SAFE,
        proof=proof,
    )


def rename(file: str, *, proof: str = "") -> Fix:
    """Give a file of the user's a name that hides no module."""
    folder, name = os.path.split(file)
    new = os.path.join(folder, f"my_{name}")
    return Fix(
        summary=f"rename `{file}`, and what imports it",
        commands=(command("mv", "-n", "--", file, new),),
        safety=Safety.SAFE,
        proof=proof,
    )


def without_path_lines(entry: str, lines: Iterable[tuple[str, int]], *, proof: str = "") -> Fix:
    """Take the lines, of these files and numbers, that put a folder on the path out of them."""
    by_file: dict[str, list[int]] = {}
    for file, number in lines:
        by_file.setdefault(file, []).append(number)
    named = " and ".join(f"`{file}`" for file in by_file)
    return Fix(
        summary=f"take the line of `{entry}` out of {named}",
        commands=tuple(
            command("sed", "-i", ";".join(f"{number}d" for number in numbers), file)
            for file, numbers in by_file.items()
        ),
        safety=Safety.CHANGES_ENV,
        proof=proof,
    )


def without_path_line(entry: str, folders: Iterable[str], *, proof: str = "") -> Fix:
    """Find what puts a folder on the path, where no line of a `.pth` file spells it out."""
    grep = command("grep", "-lF", "--", entry)
    kinds = r"\( -name '*.pth' -o -name '*customize.py' \)"
    asked = [f"{command('find', one)} -maxdepth 1 {kinds} -exec {grep} {{}} +" for one in folders]
    return Fix(
        summary=f"take `{entry}` out of the .pth file or the sitecustomize.py that adds it to the "
        "path; this finds it",
        commands=tuple(asked),
        safety=Safety.SAFE,
        proof=proof,
    )
