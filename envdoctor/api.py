"""What authors of plugins import, and all that the built-in checks import of envdoctor.

Facts, findings, plugins and derived facts are here at once. What is heavier (knowledge, repairs,
prescriptions, the loader, the assessment of calibrations) is loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING

from envdoctor import __version__
from envdoctor.facts import (
    Fact,
    Known,
    Observed,
    Reason,
    Snapshot,
    Unknown,
    attached,
    attempts,
    collective,
    derived,
    kernel,
    machine,
    network,
    python,
    torch,
)
from envdoctor.facts.assessment import Assessment, ExpectedRate
from envdoctor.facts.attached import *  # noqa: F403
from envdoctor.facts.attempts import *  # noqa: F403
from envdoctor.facts.calibration import (
    Calibration,
    CalibrationBaseline,
    CalibrationRun,
    Telemetry,
)
from envdoctor.facts.collective import *  # noqa: F403
from envdoctor.facts.derived import *  # noqa: F403
from envdoctor.facts.kernel import *  # noqa: F403
from envdoctor.facts.libraries import (
    Extension,
    LibraryResolution,
    Offer,
    Owner,
    Problem,
    ResolvedLibrary,
)
from envdoctor.facts.machine import *  # noqa: F403
from envdoctor.facts.network import *  # noqa: F403
from envdoctor.facts.python import *  # noqa: F403
from envdoctor.facts.torch import *  # noqa: F403
from envdoctor.findings import (
    Code,
    Confidence,
    Evidence,
    Fault,
    Finding,
    Fix,
    Layer,
    Place,
    Safety,
    Severity,
    Topic,
    from_driver,
    in_words,
)
from envdoctor.plugins import (
    Check,
    Cost,
    Derivation,
    Findings,
    Plugin,
    Probe,
    Where,
    check,
    derive,
)
from envdoctor.probes.context import Context
from envdoctor.probes.stage import Stage, StageResult
from envdoctor.record import Record

if TYPE_CHECKING:
    from envdoctor.calibration.assess import predict_model
    from envdoctor.calibration.runs import label, main_runs
    from envdoctor.calibration.speedup import figure, throughput_gain_pct, time_saved_pct
    from envdoctor.companions import DISTRIBUTIONS, PYTORCHS_OWN, library_of
    from envdoctor.gpus import is_forward_compat, is_vgpu
    from envdoctor.knowledge import Companions, Knowledge
    from envdoctor.knowledge.arch import covers
    from envdoctor.knowledge.builds import ExtensionRelease
    from envdoctor.knowledge.drivers import (
        OPEN_FROM,
        OPEN_ONLY,
        advised_branch,
        cudnn_serves,
        driver_knows,
        driver_runs,
        driver_serves,
    )
    from envdoctor.knowledge.hardware import Xid, XidAction
    from envdoctor.knowledge.libraries import Library, LibraryCatalogue, major_of, stem_of
    from envdoctor.loader.mapped import differences
    from envdoctor.loader.tree import describe
    from envdoctor.prescribe import Prescription, machine_of, prescribe
    from envdoctor.prescribe.commands import is_default
    from envdoctor.prescribe.companions import paired_version
    from envdoctor.repair import (
        Site,
        Source,
        compilers,
        doctor,
        interpreters,
        packages,
        prescribed,
        pytorch_source,
        surroundings,
        system,
    )
    from envdoctor.shell import command
    from envdoctor.versions import decode_cudnn, parse_number, parse_version, release_numbers
    from envdoctor.withheld_gpus import HIDES_EVERY_GPU, entries_that_name, gpu_nodes

_LOADED_LATER = {
    "envdoctor.calibration.assess": ("predict_model",),
    "envdoctor.calibration.runs": ("label", "main_runs"),
    "envdoctor.calibration.speedup": ("figure", "throughput_gain_pct", "time_saved_pct"),
    "envdoctor.companions": ("DISTRIBUTIONS", "PYTORCHS_OWN", "library_of"),
    "envdoctor.gpus": ("is_forward_compat", "is_vgpu"),
    "envdoctor.knowledge": ("Companions", "Knowledge"),
    "envdoctor.knowledge.arch": ("covers",),
    "envdoctor.knowledge.builds": ("ExtensionRelease",),
    "envdoctor.knowledge.drivers": (
        "OPEN_FROM",
        "OPEN_ONLY",
        "advised_branch",
        "cudnn_serves",
        "driver_knows",
        "driver_runs",
        "driver_serves",
    ),
    "envdoctor.knowledge.hardware": ("Xid", "XidAction"),
    "envdoctor.knowledge.libraries": ("Library", "LibraryCatalogue", "major_of", "stem_of"),
    "envdoctor.loader.mapped": ("differences",),
    "envdoctor.loader.tree": ("describe",),
    "envdoctor.prescribe": ("Prescription", "machine_of", "prescribe"),
    "envdoctor.prescribe.commands": ("is_default",),
    "envdoctor.prescribe.companions": ("paired_version",),
    "envdoctor.repair": (
        "Site",
        "Source",
        "compilers",
        "doctor",
        "interpreters",
        "packages",
        "prescribed",
        "pytorch_source",
        "surroundings",
        "system",
    ),
    "envdoctor.shell": ("command",),
    "envdoctor.versions": ("decode_cudnn", "parse_number", "parse_version", "release_numbers"),
    "envdoctor.withheld_gpus": ("HIDES_EVERY_GPU", "entries_that_name", "gpu_nodes"),
}
"""The names that a module gives; type checkers read the imports above."""

_MODULE_OF = {name: module for module, names in _LOADED_LATER.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module), name)


__all__ = [
    "DISTRIBUTIONS",
    "HIDES_EVERY_GPU",
    "OPEN_FROM",
    "OPEN_ONLY",
    "PYTORCHS_OWN",
    "Assessment",
    "Calibration",
    "CalibrationBaseline",
    "CalibrationRun",
    "Check",
    "Code",
    "Companions",
    "Confidence",
    "Context",
    "Cost",
    "Derivation",
    "Evidence",
    "ExpectedRate",
    "Extension",
    "ExtensionRelease",
    "Fact",
    "Fault",
    "Finding",
    "Findings",
    "Fix",
    "Knowledge",
    "Known",
    "Layer",
    "Library",
    "LibraryCatalogue",
    "LibraryResolution",
    "Observed",
    "Offer",
    "Owner",
    "Place",
    "Plugin",
    "Prescription",
    "Probe",
    "Problem",
    "Reason",
    "Record",
    "ResolvedLibrary",
    "Safety",
    "Severity",
    "Site",
    "Snapshot",
    "Source",
    "Stage",
    "StageResult",
    "Telemetry",
    "Topic",
    "Unknown",
    "Where",
    "Xid",
    "XidAction",
    "__version__",
    "advised_branch",
    "check",
    "command",
    "compilers",
    "covers",
    "cudnn_serves",
    "decode_cudnn",
    "derive",
    "describe",
    "differences",
    "doctor",
    "driver_knows",
    "driver_runs",
    "driver_serves",
    "entries_that_name",
    "figure",
    "from_driver",
    "gpu_nodes",
    "in_words",
    "interpreters",
    "is_default",
    "is_forward_compat",
    "is_vgpu",
    "label",
    "library_of",
    "machine_of",
    "main_runs",
    "major_of",
    "packages",
    "paired_version",
    "parse_number",
    "parse_version",
    "predict_model",
    "prescribe",
    "prescribed",
    "pytorch_source",
    "release_numbers",
    "stem_of",
    "surroundings",
    "system",
    "throughput_gain_pct",
    "time_saved_pct",
]

__all__ += collective.__all__
__all__ += derived.__all__
__all__ += kernel.__all__
__all__ += machine.__all__
__all__ += network.__all__
__all__ += attached.__all__
__all__ += attempts.__all__
__all__ += python.__all__
__all__ += torch.__all__
