"""What authors of plugins import: checks, findings, probes, plugins and the facts."""

from envdoctor.facts import Fact, Known, Observed, Reason, Snapshot, Unknown, machine, python, torch
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
from envdoctor.plugins import (
    Check,
    Cost,
    Derivation,
    Findings,
    Plugin,
    Probe,
    StageResult,
    Where,
    check,
    derive,
)

__all__ = [
    "Check",
    "Code",
    "Confidence",
    "Cost",
    "Derivation",
    "Evidence",
    "Fact",
    "Finding",
    "Findings",
    "Fix",
    "Known",
    "Layer",
    "Observed",
    "Place",
    "Plugin",
    "Probe",
    "Reason",
    "Safety",
    "Severity",
    "Snapshot",
    "StageResult",
    "Topic",
    "Unknown",
    "Where",
    "check",
    "derive",
]

__all__ += machine.__all__
__all__ += python.__all__
__all__ += torch.__all__
