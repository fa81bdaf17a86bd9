"""What authors of plugins import: checks, findings, probes, facts, knowledge and repairs."""

from envdoctor.facts import (
    Fact,
    Known,
    Observed,
    Reason,
    Snapshot,
    Unknown,
    derived,
    machine,
    python,
    torch,
)
from envdoctor.facts.derived import *  # noqa: F403
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.machine import *  # noqa: F403
from envdoctor.facts.python import *  # noqa: F403
from envdoctor.facts.torch import *  # noqa: F403
from envdoctor.findings import (
    Code,
    Confidence,
    Evidence,
    Finding,
    Fix,
    Layer,
    Place,
    Safety,
    Severity,
    Topic,
)
from envdoctor.gpus import HIDES_EVERY_GPU, entries_that_name, gpu_nodes
from envdoctor.knowledge import Knowledge
from envdoctor.knowledge.arch import covers
from envdoctor.knowledge.drivers import driver_runs, driver_serves
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
from envdoctor.prescribe import Prescription
from envdoctor.probes.context import Context
from envdoctor.probes.stage import Stage, StageResult
from envdoctor.repair import Site, prescribed, system

__all__ = [
    "HIDES_EVERY_GPU",
    "Check",
    "Code",
    "Confidence",
    "Context",
    "Cost",
    "Derivation",
    "Evidence",
    "Fact",
    "Finding",
    "Findings",
    "Fix",
    "Knowledge",
    "Known",
    "Layer",
    "LibraryResolution",
    "Observed",
    "Place",
    "Plugin",
    "Prescription",
    "Probe",
    "Reason",
    "Safety",
    "Severity",
    "Site",
    "Snapshot",
    "Stage",
    "StageResult",
    "Topic",
    "Unknown",
    "Where",
    "check",
    "covers",
    "derive",
    "driver_runs",
    "driver_serves",
    "entries_that_name",
    "gpu_nodes",
    "prescribed",
    "system",
]

__all__ += derived.__all__
__all__ += machine.__all__
__all__ += python.__all__
__all__ += torch.__all__
