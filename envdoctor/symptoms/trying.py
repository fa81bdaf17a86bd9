"""A line of Python to try in the target, as a fix that only looks."""

from envdoctor.facts import Snapshot
from envdoctor.facts.python import Target
from envdoctor.findings import Fix
from envdoctor.repair.interpreters import try_in_target


def line_to_try(snapshot: Snapshot, line: str, summary: str) -> Fix:
    """The line as a command of the target's interpreter."""
    return try_in_target(python_of(snapshot), line, summary=summary)


def python_of(snapshot: Snapshot) -> str:
    """The target's interpreter, or what a shell takes for one."""
    target = snapshot.value(Target)
    return target.path if target else "python3"
