"""What authors of plugins import: checks, findings, probes, plugins and the facts."""

from envdoctor.facts import Fact, Known, Observed, Reason, Snapshot, Unknown, machine, python, torch
from envdoctor.facts.machine import *  # noqa: F403
from envdoctor.facts.python import *  # noqa: F403
from envdoctor.facts.torch import *  # noqa: F403
from envdoctor.findings import Code, Confidence, Evidence, Finding, Fix, Safety, Severity
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

__all__ = [
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
    "Known",
    "Observed",
    "Plugin",
    "Probe",
    "Reason",
    "Safety",
    "Severity",
    "Snapshot",
    "Stage",
    "StageResult",
    "Unknown",
    "Where",
    "check",
    "derive",
]

__all__ += machine.__all__
__all__ += python.__all__
__all__ += torch.__all__
