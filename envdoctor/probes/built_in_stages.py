"""The stages that ask an interpreter who it is and use its torch, in the order of their danger.

What they are is known without any plugin, so that a child begins before the plugins are loaded.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from envdoctor.companions import LIBRARIES, Extent, Library
from envdoctor.options import Options, Tried
from envdoctor.probes.stage import Stage, StageResult

if TYPE_CHECKING:
    from envdoctor.facts.python import Interpreter

_SOURCES = Path(__file__).parent / "target"
_ASKED_IN_S = 20.0

INTERPRETER = Stage(
    name="interpreter",
    source=_SOURCES / "interpreter.py",
    function="interpreter",
    timeout_s=_ASKED_IN_S,
)
STATIC_INTERPRETER = Stage(
    name="static interpreter",
    source=_SOURCES / "interpreter.py",
    function="static_interpreter",
    timeout_s=_ASKED_IN_S,
)

PYTHON_PATH = "ENVDOCTOR_PYTHONPATH"
"""Tells the static stage what PYTHONPATH is, which its interpreter is not given."""


def is_surprising(imported: StageResult, interpreter: "Interpreter") -> bool:
    """Whether an import failed, was disturbed, or found a torch of another place."""
    if imported.state != "ok" or imported.data.get("shadowed"):
        return True
    file = str(imported.data.get("file") or "")
    return not any(file.startswith(folder + os.sep) for folder in interpreter.site_packages)


IMPORT = Stage(
    name="import torch",
    source=_SOURCES / "torch_use.py",
    function="import_torch",
    slow_because="a first import reads up to a few GB from disk",
    isolate=is_surprising,
)
RUNTIME = Stage(
    name="torch runtime",
    source=_SOURCES / "torch_use.py",
    function="runtime",
    needs=(IMPORT.name,),
    slow_because="the first CUDA call initialises the driver and every GPU",
)
FIRST_USE = Stage(
    name="first use",
    source=_SOURCES / "torch_use.py",
    function="first_use",
    needs=(IMPORT.name,),
    slow_because="the first kernel on a GPU loads its libraries",
)
LOADED_LIBRARIES = Stage(
    name="loaded libraries",
    source=_SOURCES / "torch_use.py",
    function="loaded_libraries",
    needs=(IMPORT.name,),
)
TORCH_STAGES = (IMPORT, RUNTIME, FIRST_USE, LOADED_LIBRARIES)


def companion_stages(extent: Extent) -> dict[str, Stage]:
    """What is run of the libraries that are built on torch, by their names."""
    return {} if extent == "none" else {one.name: _stage_of(one, extent) for one in LIBRARIES}


def as_wanted(stage: Stage, options: Options) -> Stage | None:
    """A stage as it is to be run; null for one that is left out."""
    wanted = (*companion_stages(options.companions).values(), *attempt_stages(options))
    if stage.name not in _BY_CHOICE:
        return stage
    return next((one for one in wanted if one.name == stage.name), None)


def _stage_of(library: Library, extent: Extent) -> Stage:
    alone = library.compiled if extent == "light" else ()
    return Stage(
        name=f"import {library.name}",
        source=_SOURCES / "companions.py",
        function="compiled" if alone else "whole",
        arguments=(library.module, *alone),
        needs=(IMPORT.name,),
        slow_because="a first import reads libraries from disk",
    )


ATTEMPTS: Mapping[Tried, Stage] = {
    "compile": Stage(
        name="torch.compile",
        source=_SOURCES / "attempts.py",
        function="compiling",
        needs=(IMPORT.name,),
        timeout_s=240.0,
        slow_because="torch.compile builds its first kernels with the compilers of this machine",
    ),
    "extend": Stage(
        name="building an extension",
        source=_SOURCES / "attempts.py",
        function="extending",
        needs=(IMPORT.name,),
        timeout_s=240.0,
        slow_because="the headers of torch take a compiler half a minute",
    ),
}
"""What is run only where the user asks for it. On 2 busy CPUs they took 28 s and 54 s."""


def attempt_stages(options: Options) -> tuple[Stage, ...]:
    """What is tried beside, in the order of its danger."""
    return tuple(stage for name, stage in ATTEMPTS.items() if name in options.tried)


_BY_CHOICE = {stage.name for stage in (*companion_stages("all").values(), *ATTEMPTS.values())}


def built_in_stages(options: Options) -> tuple[Stage, ...]:
    """All that are to be run."""
    companions = companion_stages(options.companions)
    return (*TORCH_STAGES, *companions.values(), *attempt_stages(options))
