"""Compiled modules of other distributions that must load beside the installed torch."""

import copy
import os
import re
from collections.abc import Iterator, Mapping

from envdoctor.facts.libraries import Extension
from envdoctor.facts.python import Distribution
from envdoctor.loader.elf import Elf
from envdoctor.loader.process import Process
from envdoctor.loader.search import Files
from envdoctor.loader.simulate import Program, Simulation
from envdoctor.loader.symbols import with_culprits

_TORCH_LIBRARIES = ("libtorch", "libc10")
_MAX_MODULES = 40
_REQUIRES_TORCH = re.compile(r"torch(?![\w-])(?!.*\bextra\b)")

Wheels = Mapping[str, tuple[Distribution, int | None]]


def extension_problems(program: Program, run: Simulation, wheels: Wheels) -> tuple[Extension, ...]:
    """What keeps extension modules from loading once torch is imported; the broken ones alone.

    Only modules that link torch's libraries are tried: the others (bitsandbytes brings one for each
    CUDA) are opened by choice.
    """
    if run.import_error is not None or run.caller is None:
        return ()
    return tuple(_broken(program, run, wheels))


def _broken(program: Program, run: Simulation, wheels: Wheels) -> Iterator[Extension]:
    files = run.process.files
    candidates = (
        (path, distribution)
        for path, (distribution, _) in wheels.items()
        if not path.startswith(program.torch_path + os.sep)
        and _is_of_torch(path, distribution, files)
    )
    siblings = _by_distribution(wheels)
    for count, (path, distribution) in enumerate(candidates):
        if count >= _MAX_MODULES:
            return
        process = _branch(run.process, len(run.mapped))
        _open_siblings(path, siblings[distribution.metadata_path], process, run)
        opening = process.dlopen(path, run.caller or process.main)
        if not opening.ok:
            problems = tuple(with_culprits(opening.problems, process, run.libraries))
            yield Extension(distribution=distribution.name, path=path, problems=problems)


def _by_distribution(wheels: Wheels) -> dict[str, dict[str, str]]:
    """The libraries of each distribution, by their names."""
    found: dict[str, dict[str, str]] = {}
    for path, (distribution, _) in wheels.items():
        found.setdefault(distribution.metadata_path, {})[os.path.basename(path)] = path
    return found


def _open_siblings(
    path: str, siblings: Mapping[str, str], process: Process, run: Simulation
) -> None:
    """Load the libraries beside a module that it needs and that no rule leads to.

    The Python of torchaudio and torchtext opens them by path before the module that links them.
    """
    elf = process.files.read(path)
    for name in elf.needed if isinstance(elf, Elf) else ():
        beside = siblings.get(name)
        if beside is not None and beside != path and process.find(name) is None:
            process.dlopen(beside, run.caller or process.main, everywhere=True)


def _is_of_torch(path: str, distribution: Distribution, files: Files) -> bool:
    """Whether a file is a module of a distribution that requires torch, and links torch."""
    if not any(_REQUIRES_TORCH.match(requirement) for requirement in distribution.requires):
        return False
    elf = files.read(path)
    return isinstance(elf, Elf) and any(name.startswith(_TORCH_LIBRARIES) for name in elf.needed)


def _branch(process: Process, mapped: int) -> Process:
    """A copy of the process after the import, in which a module can be tried."""
    branch = copy.copy(process)
    branch.mapped = process.mapped[:mapped]
    branch.unmapped = []
    branch.global_scope = list(process.global_scope)
    return branch
