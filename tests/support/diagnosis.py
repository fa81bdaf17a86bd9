"""Diagnoses a snapshot as the program does, with the plugins and the knowledge of this checkout."""

from functools import cache

from envdoctor.api import Knowledge, Snapshot
from envdoctor.derived import observed_types_of
from envdoctor.diagnose import diagnose
from envdoctor.facts.documents import read_snapshot
from envdoctor.knowledge import load
from envdoctor.plugin_loading import load_plugins
from envdoctor.plugins import Loaded
from envdoctor.report import Report

MOMENT = "2026-11-23T12:00:00+00:00"


@cache
def loaded() -> Loaded:
    """The plugins that are installed."""
    return load_plugins()


@cache
def services() -> dict[type, object]:
    """What checks may ask for beside facts."""
    return {Knowledge: load()}


def report_on(snapshot: Snapshot, plugins: Loaded | None = None) -> Report:
    """The report on a machine, at a moment that is always the same."""
    return diagnose(snapshot, plugins or loaded(), services(), created_at=MOMENT)


def recorded(path: str) -> Snapshot:
    """The machine in a facts file or a report."""
    return read_snapshot(path, observed_types_of(loaded()))
