"""What was observed on a machine, or why it was not; one module a subject."""

from envdoctor.facts.base import (
    SCHEMA_VERSION,
    F,
    Fact,
    Known,
    Observed,
    Reason,
    Snapshot,
    Tool,
    Unknown,
)

__all__ = [
    "SCHEMA_VERSION",
    "F",
    "Fact",
    "Known",
    "Observed",
    "Reason",
    "Snapshot",
    "Tool",
    "Unknown",
]
