"""The entry points of what is installed beside the doctor, as importlib.metadata finds them.

That module costs a third of all that `check --static` imports, for a dozen small files.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

_SUFFIXES = (".dist-info", ".egg-info")


class EntryPoint(NamedTuple):
    """A name that a distribution gives to one of its objects; `value` is `module:attribute`."""

    name: str
    value: str
    distribution: str

    def load(self) -> Any:
        """The object. Raises what its import raises."""
        module, _, attributes = self.value.partition("[")[0].strip().partition(":")
        found: Any = importlib.import_module(module.strip())
        for attribute in filter(None, attributes.strip().split(".")):
            found = getattr(found, attribute)
        return found


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Those of a group, of every distribution on the module path; the first of its name counts."""
    distributions: dict[str, str] = {}
    for folder in sys.path:
        for name in _metadata_folders(folder or "."):
            known = name.rpartition(".")[0].partition("-")[0].lower().replace(".", "_")
            distributions.setdefault(known, os.path.join(folder or ".", name))
    return tuple(
        EntryPoint(name=name, value=value, distribution=_name_of(folder, distribution))
        for distribution, folder in distributions.items()
        for name, value in _in_group(_read(os.path.join(folder, "entry_points.txt")), group)
    )


def _metadata_folders(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIXES))
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _name_of(folder: str, otherwise: str) -> str:
    for file in ("METADATA", "PKG-INFO"):
        for line in _read(os.path.join(folder, file)).splitlines():
            if line.startswith("Name:"):
                return line.removeprefix("Name:").strip()
    return otherwise


def _in_group(text: str, group: str) -> Iterator[tuple[str, str]]:
    """The names and values below a heading `[group]` (the entry points specification of PyPA)."""
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()
