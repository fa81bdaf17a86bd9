"""Compiled modules of other distributions that must load beside the installed torch."""

import copy
import os
import re
from collections.abc import Collection, Iterator, Mapping

from envdoctor.facts.libraries import Extension, Problem
from envdoctor.facts.python import Distribution
from envdoctor.knowledge.libraries import LibraryCatalogue
from envdoctor.loader.elf import Elf
from envdoctor.loader.process import MISSING, Process
from envdoctor.loader.search import Files
from envdoctor.loader.simulate import Program, Simulation
from envdoctor.loader.symbols import with_culprits

_TORCH_LIBRARIES = ("libtorch", "libc10")
_MAX_MODULES = 40
_SILENT = (
    "apex",
    "detectron2",
    "fbgemm-gpu",
    "fbgemm-gpu-cpu",
    "fbgemm-gpu-genai",
    "mmcv",
    "mmcv-full",
    "nvdiffrast",
    "pyg-lib",
    "pytorch3d",
    "torch-cluster",
    "torch-scatter",
    "torch-sparse",
    "torch-spline-conv",
)
"""What is compiled for torch and does not require it in its metadata, as torch has to be there
before it is built (their setup.py; METADATA of mmcv 2.2.0, torch-scatter 2.1.2,
fbgemm-gpu 0.8.0)."""
_REQUIRES_TORCH = re.compile(r"torch(?![\w-])(?!.*\bextra\b)")

Wheels = Mapping[str, tuple[Distribution, int | None]]


def extension_problems(program: Program, run: Simulation, wheels: Wheels) -> tuple[Extension, ...]:
    """What keeps extension modules from loading once torch is imported; the broken ones alone.

    Only modules that link torch's libraries are tried: the others (bitsandbytes brings one for each
    CUDA) are opened by choice. A library that is neither torch's, nor CUDA's, nor of any wheel says
    nothing of torch: torchaudio does without SoX, and torchcodec takes the FFmpeg that is there.
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
    names = frozenset(map(os.path.basename, wheels))
    for count, (path, distribution) in enumerate(candidates):
        if count >= _MAX_MODULES:
            return
        process = _branch(run.process, len(run.mapped))
        refused = _open_siblings(path, siblings[distribution.metadata_path], process, run)
        opening = process.dlopen(path, run.caller or process.main)
        if opening.ok:
            continue
        told = [
            problem
            for problem in opening.problems
            if not _is_of_the_system(problem, names, run.libraries)
            and not _is_of_the_system(refused.get(problem.library), names, run.libraries)
        ]
        if told:
            problems = tuple(with_culprits(told, process, run.libraries))
            yield Extension(distribution=distribution.name, path=path, problems=problems)


def _is_of_the_system(
    problem: Problem | None, names: Collection[str], libraries: LibraryCatalogue
) -> bool:
    """Whether a library is missing that nobody but the system could bring."""
    return (
        problem is not None
        and problem.kind == MISSING
        and problem.library not in names
        and not problem.library.startswith(_TORCH_LIBRARIES)
        and libraries.of(problem.library) is None
    )


def _by_distribution(wheels: Wheels) -> dict[str, dict[str, str]]:
    """The libraries of each distribution, by their names."""
    found: dict[str, dict[str, str]] = {}
    for path, (distribution, _) in wheels.items():
        found.setdefault(distribution.metadata_path, {})[os.path.basename(path)] = path
    return found


def _open_siblings(
    path: str, siblings: Mapping[str, str], process: Process, run: Simulation
) -> dict[str, Problem]:
    """Load the libraries beside a module that it needs and that no rule leads to; those that cannot
    be loaded, with the first reason.

    The Python of torchaudio and torchtext opens them by path before the module that links them.
    """
    refused: dict[str, Problem] = {}
    elf = process.files.read(path)
    for name in elf.needed if isinstance(elf, Elf) else ():
        beside = siblings.get(name)
        if beside is not None and beside != path and process.find(name) is None:
            opening = process.dlopen(beside, run.caller or process.main, everywhere=True)
            if opening.problems:
                refused[name] = opening.problems[0]
    return refused


def _is_of_torch(path: str, distribution: Distribution, files: Files) -> bool:
    """Whether a file is a module of a distribution that requires torch, and links torch."""
    told = any(_REQUIRES_TORCH.match(requirement) for requirement in distribution.requires)
    if not told and distribution.name not in _SILENT:
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
