"""The folders that an interpreter finds modules in."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envdoctor.probes.context import Context

if TYPE_CHECKING:
    from envdoctor.facts.python import Interpreter, Target


def search_path(sys_path: Sequence[str], cwd: str, context: Context) -> tuple[Path, ...]:
    """The folders of a module path, each once; an empty entry is the current directory."""
    folders = (context.path(os.path.join(cwd, entry)) for entry in sys_path)
    return tuple(folder for folder in dict.fromkeys(folders) if os.path.isdir(folder))


def folders_of(
    target: "Target", interpreter: "Interpreter | None", context: Context
) -> tuple[Path, ...]:
    """The folders of the target; those that lie beside it where it does not say its own."""
    if interpreter is None:
        return search_path(target.site_packages, "", context)
    return search_path(interpreter.sys_path, interpreter.cwd, context)
