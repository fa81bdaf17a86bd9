"""The built-in plugin: every check and derived fact of the topic modules beside this file."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from envdoctor.api import Check, Derivation, Plugin, __version__


def _topics() -> Iterator[object]:
    """What the topic modules define, module by module, in the order of definition."""
    for module in pkgutil.iter_modules(__path__):
        yield from vars(importlib.import_module(f"{__name__}.{module.name}")).values()


def _plugin() -> Plugin:
    defined = list(
        dict.fromkeys(item for item in _topics() if isinstance(item, Check | Derivation))
    )
    return Plugin(
        name="builtin",
        version=__version__,
        derive=tuple(item for item in defined if isinstance(item, Derivation)),
        checks=tuple(item for item in defined if isinstance(item, Check)),
        pages=Path(__file__).with_name("pages"),
    )


plugin = _plugin()
