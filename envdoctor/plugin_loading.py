"""Finds and loads the plugins that are installed beside the doctor."""

import os
import threading
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from envdoctor.bounded import Failed, run_bounded
from envdoctor.plugins import Loaded, Plugin, PluginFailure
from envdoctor.watchdog import NEVER

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

ENTRY_POINT_GROUP = "envdoctor.plugins"

LOAD_LIMIT_S = 20.0
"""For the import of a plugin, also from a slow disk."""


def load_plugins(
    blocked: Iterable[str] = (), *, limit_s: float = LOAD_LIMIT_S, until: float = NEVER
) -> Loaded:
    """Load the plugins that are installed beside the doctor, except those named in `blocked`.

    The core comes first: what it observes is a plugin as well. A plugin that raises while it is
    imported, does not end (within the limit, or by the moment `until` of the monotonic clock), or
    cannot be used beside those before it becomes a PluginFailure.
    """
    # Imported as late as the checks: the target's child has begun by then.
    from envdoctor.core_plugin import CORE

    plugins: list[Plugin] = [CORE]
    failures: list[PluginFailure] = []
    names = set(blocked)
    for entry in sorted(_entry_points(), key=_builtin_first):
        if entry.name in names:
            continue
        plugin, error = _load(entry, plugins, limit_s, until)
        if plugin is not None:
            plugins.append(plugin)
        else:
            failures.append(_failure(entry, error))
    return Loaded(plugins=tuple(plugins), failures=tuple(failures))


def _entry_points() -> "Iterable[EntryPoint]":
    """Those of this group. Where the list of another distribution cannot be read, all but that."""
    # Costs as much as all that is needed before the target's child starts.
    from importlib import metadata

    try:
        return metadata.entry_points(group=ENTRY_POINT_GROUP)
    except Exception:
        return [one for each in metadata.distributions() for one in _entry_points_of(each)]


def _entry_points_of(distribution: "Distribution") -> "list[EntryPoint]":
    try:
        return [one for one in distribution.entry_points if one.group == ENTRY_POINT_GROUP]
    except Exception:
        return []


def _builtin_first(entry: "EntryPoint") -> tuple[bool, str]:
    return not _is_builtin(entry), entry.name


def _is_builtin(entry: "EntryPoint") -> bool:
    return entry.name == "builtin" and entry.value == "envdoctor_checks:plugin"


def _load(
    entry: "EntryPoint", before: Iterable[Plugin], limit_s: float, until: float
) -> tuple[Plugin | None, str]:
    """The plugin, or why there is none."""
    if _is_builtin(entry):
        # Our own code: it is waited for, however slow the disk is.
        limit_s, until = threading.TIMEOUT_MAX, NEVER
    elif error := _error_in_a_trial(entry, before, limit_s, until):
        return None, error
    loaded = run_bounded(entry.load, limit_s, until=until)
    if isinstance(loaded, Failed):
        return None, loaded.error
    return (loaded, "") if isinstance(loaded, Plugin) else (None, _no_plugin(entry, loaded))


def _error_in_a_trial(
    entry: "EntryPoint", before: Iterable[Plugin], limit_s: float, until: float
) -> str:
    """Why somebody else's plugin cannot be used; empty if it can.

    Found out in another process, which its import may end: a library of it that crashes, say.
    """
    from envdoctor.apart import apart

    error = apart(partial(_tried, entry, before), limit_s, until=until)
    return error.error if isinstance(error, Failed) else str(error)


def _tried(entry: "EntryPoint", before: Iterable[Plugin]) -> str:
    from envdoctor.usable_plugin import why_unusable

    # What it prints is told once, when it is imported in earnest.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    loaded = entry.load()
    return why_unusable(loaded, before) if isinstance(loaded, Plugin) else _no_plugin(entry, loaded)


def _no_plugin(entry: "EntryPoint", loaded: object) -> str:
    return f"`{entry.value}` is a {type(loaded).__name__}, not a Plugin"


def _failure(entry: "EntryPoint", error: str) -> PluginFailure:
    name = (entry.dist.name if entry.dist else None) or "unknown distribution"
    return PluginFailure(name=entry.name, entry_point=entry.value, distribution=name, error=error)
