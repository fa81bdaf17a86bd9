"""The built-in plugin: every check and derived fact of the topic modules beside this file."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from envdoctor import __version__
from envdoctor.facts.calibration import Calibration, CalibrationBaseline
from envdoctor.facts.machine import Expectation
from envdoctor.facts.python import Interpreter, Target
from envdoctor.plugins import Check, Derivation, Plugin
from envdoctor.probes.disk import DISK_PROBES
from envdoctor.probes.loader import LOADER_PROBES
from envdoctor.probes.machine import MACHINE_PROBES
from envdoctor.probes.torch_stages import TARGET_PROBES


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
        probes=(*TARGET_PROBES, *DISK_PROBES, *MACHINE_PROBES, *LOADER_PROBES),
        derive=tuple(item for item in defined if isinstance(item, Derivation)),
        checks=tuple(item for item in defined if isinstance(item, Check)),
        facts=(Target, Interpreter, Expectation, Calibration, CalibrationBaseline),
        pages=Path(__file__).with_name("pages"),
    )


plugin = _plugin()
