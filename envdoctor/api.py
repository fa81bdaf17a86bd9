"""What authors of plugins import: checks, findings, probes, plugins and the core facts."""

from envdoctor import core_facts
from envdoctor.core_facts import *  # noqa: F403
from envdoctor.facts import Fact, Known, Observed, Reason, Snapshot, Unknown
from envdoctor.findings import Code, Confidence, Evidence, Finding, Fix, Safety, Severity
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
    "Observed",
    "Plugin",
    "Probe",
    "Reason",
    "Safety",
    "Severity",
    "Snapshot",
    "StageResult",
    "Unknown",
    "Where",
    "check",
    "derive",
]

__all__ += core_facts.__all__
