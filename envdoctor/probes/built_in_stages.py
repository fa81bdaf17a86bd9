"""The stages that ask an interpreter who it is and use its torch, in the order of their danger.

What they are is known without any plugin, so that a child begins before the plugins are loaded.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

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

COMPANIONS = ("torchvision", "torchaudio", "torchtext", "torchcodec")
"""PyTorch's own domain libraries, by their import names, which are those of their distributions."""

COMPANION_STAGES = tuple(
    Stage(
        name=f"import {name}",
        source=_SOURCES / "companions.py",
        function=name,
        needs=(IMPORT.name,),
        slow_because="a first import reads libraries from disk",
    )
    for name in COMPANIONS
)
BUILT_IN_STAGES = (*TORCH_STAGES, *COMPANION_STAGES)
