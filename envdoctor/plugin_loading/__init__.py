"""Finds and loads the plugins that are installed beside the doctor."""

import os
import sys
import threading
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from envdoctor.plugins import Loaded, Plugin, PluginFailure
from envdoctor.plugins.bounded import Failed, run_bounded
from envdoctor.regular_files import only_regular
from envdoctor.watchdog import NEVER

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

ENTRY_POINT_GROUP = "envdoctor.plugins"

_OWN_CHECKS = "envdoctor_checks"

LOAD_LIMIT_S = 20.0
"""For the import of a plugin, also from a slow disk."""


def load_plugins(*, limit_s: float = LOAD_LIMIT_S, until: float = NEVER) -> Loaded:
    """Load the plugins of the doctor, and those that are installed beside it.

    The core comes first: what it observes is a plugin as well. A plugin that raises while it is
    imported, does not end (within the limit, or by the moment `until` of the monotonic clock), or
    cannot be used beside those before it becomes a PluginFailure.
    """
    # Imported as late as the checks: the target's child has begun by then.
    from envdoctor.plugin_loading.core import CORE

    plugins: list[Plugin] = [CORE]
    failures: list[PluginFailure] = []
    # Our own code: it is waited for, however slow the disk is.
    checks = run_bounded(_own_checks, threading.TIMEOUT_MAX)
    if isinstance(checks, Failed):
        failures.append(
            PluginFailure(
                name="builtin",
                entry_point=_OWN_CHECKS,
                distribution="envdoctor",
                error=checks.error,
            )
        )
    else:
        plugins.append(checks)
    for entry in sorted(_entry_points(), key=lambda entry: entry.name):
        plugin, error = _load(entry, plugins, limit_s, until)
        if plugin is not None:
            plugins.append(plugin)
        else:
            failures.append(_failure(entry, error))
    return Loaded(plugins=tuple(plugins), failures=tuple(failures))


def _own_checks() -> Plugin:
    plugin: Plugin = import_module(_OWN_CHECKS).plugin
    return plugin


def _entry_points() -> "Iterable[EntryPoint]":
    """Those of this group. Where the list of another distribution cannot be read, all but that."""
    if not _may_have_others():
        return ()
    from importlib import metadata

    try:
        return metadata.entry_points(group=ENTRY_POINT_GROUP)
    except Exception:
        return [one for each in metadata.distributions() for one in _entry_points_of(each)]


def _may_have_others() -> bool:
    """Whether anything on the path could name this group. To import what reads entry points costs
    as much as all that is needed before the target's child starts, and few have plugins."""
    return any(map(_names_the_group, sys.path))


def _names_the_group(folder: str) -> bool:
    try:
        names = os.listdir(folder or ".")
    except OSError:
        # An archive may hold distributions, too.
        return os.path.isfile(folder)
    return any(
        _holds_the_group(os.path.join(folder, name, "entry_points.txt"))
        for name in names
        if name.endswith((".dist-info", ".egg-info", ".egg"))
    )


def _holds_the_group(path: str) -> bool:
    if path.endswith(".egg/entry_points.txt"):
        # Its metadata lie deeper, and are for others to find.
        return True
    try:
        with open(path, "rb", opener=only_regular) as file:
            return ENTRY_POINT_GROUP.encode() in file.read()
    except OSError:
        return False


def _entry_points_of(distribution: "Distribution") -> "list[EntryPoint]":
    try:
        return [one for one in distribution.entry_points if one.group == ENTRY_POINT_GROUP]
    except Exception:
        return []


def _load(
    entry: "EntryPoint", before: Iterable[Plugin], limit_s: float, until: float
) -> tuple[Plugin | None, str]:
    """The plugin, or why there is none."""
    if error := _error_in_a_trial(entry, before, limit_s, until):
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
    from envdoctor.plugins.processes import in_process

    error = in_process(partial(_tried, entry, before), limit_s, until=until)
    return error.error if isinstance(error, Failed) else str(error)


def _tried(entry: "EntryPoint", before: Iterable[Plugin]) -> str:
    from envdoctor.plugin_loading.validation import why_unusable

    # What it prints is told once, when it is imported in earnest.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    loaded = entry.load()
    return why_unusable(loaded, before) if isinstance(loaded, Plugin) else _no_plugin(entry, loaded)


def _no_plugin(entry: "EntryPoint", loaded: object) -> str:
    return f"`{entry.value}` is a {type(loaded).__name__}, not a Plugin"


def _failure(entry: "EntryPoint", error: str) -> PluginFailure:
    name = (entry.dist.name if entry.dist else None) or "unknown distribution"
    return PluginFailure(name=entry.name, entry_point=entry.value, distribution=name, error=error)
