"""What no other part compares: settings of the kernel, its log, facts of plugins, and speed."""

from collections.abc import Iterator
from typing import Any

import msgspec

from envdoctor.compare.pair import Found, Pair, swap_fields
from envdoctor.compare.records import Difference
from envdoctor.facts import Fact
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import NAMES, Calibration, CalibrationBaseline, CalibrationRun
from envdoctor.facts.derived import DriverRelease, GpuTrace, Wanted
from envdoctor.facts.kernel import KernelLog, KernelModules
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.machine import (
    Container,
    CudaInit,
    Driver,
    Environment,
    Gpus,
    Host,
    HostCompiler,
    HostIdentity,
    Limits,
    Nvml,
    PciGpus,
    TemporaryFolders,
    Toolkits,
    WorkingFolder,
)
from envdoctor.facts.network import Network
from envdoctor.facts.python import Distributions, InstalledFiles, Installer, Interpreter, Target
from envdoctor.facts.torch import (
    CompanionImports,
    CudaComponents,
    CudaLog,
    ImportTrials,
    LoadedLibraries,
    TorchAbsent,
    TorchBuild,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
)
from envdoctor.findings import Layer
from envdoctor.record import stable

_ELSEWHERE: frozenset[type[Fact]] = frozenset(
    (
        *(Container, CudaInit, Driver, Environment, Gpus, Host, HostCompiler, Limits, Nvml),
        *(PciGpus, Toolkits, Network, Distributions, InstalledFiles, Installer, Interpreter),
        *(Target, CompanionImports, CudaComponents, TorchAbsent, TorchBuild, TorchFirstUse),
        *(TorchImport, TorchRuntime, LibraryResolution, LoadedLibraries),
    )
)
"""What the other parts compare, or what follows from what they compare."""

_OF_ONE_LOOK: frozenset[type[Fact]] = frozenset(
    (
        *(
            HostIdentity,
            WorkingFolder,
            TemporaryFolders,
            ImportTrials,
            CudaLog,
            Calibration,
            CalibrationBaseline,
        ),
        *(Assessment, DriverRelease, GpuTrace, Wanted),
    )
)
"""Whose machine it is, where the doctor stood, and what is derived."""

_LAYERS = {KernelModules: Layer.KERNEL_MODULE, KernelLog: Layer.BUS}
_LONGEST = 80


def differences(pair: Pair) -> Iterator[Found]:
    """The remaining facts field by field, and how fast both train."""
    for kind, _ in pair.first.snapshot.items():
        both = None if kind in _ELSEWHERE | _OF_ONE_LOOK else pair.both(kind)
        if both is not None:
            yield from _fields(pair, kind, *both)
    yield from _speed(pair)


def _fields(pair: Pair, kind: type[Fact], first: Fact, second: Fact) -> Iterator[Found]:
    name = str(kind.__struct_config__.tag)
    for field in kind.__struct_fields__:
        if field in kind.volatile:
            continue
        values = [
            _shown(stable(getattr(one, field)), place)
            for one, place in zip((first, second), pair.places, strict=True)
        ]
        if values[0][0] == values[1][0]:
            continue
        of_driver = kind in _LAYERS
        yield Found(
            difference=Difference(
                part="driver" if of_driver else "other",
                name=f"{name}.{field}",
                sentence=f"`{name}.{field}`: {pair.each(values[0][1], values[1][1])}",
                first=values[0][1],
                second=values[1][1],
                weight="matters" if of_driver else "little",
                layer=_LAYERS.get(kind, Layer.FIRST_USE),
                can_break=("compute:gpu",) if of_driver else (),
            ),
            swap=swap_fields(kind, field),
        )


def _shown(value: Any, places: Any) -> tuple[str, str]:
    """The value as it is compared, and as it is told."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    told = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    empty = {"null": "nothing", "[]": "none", "true": "yes", "false": "no", "": "nothing"}
    return places.mapped(text), empty.get(told, told)


# --- speed ---

_BEYOND_NOISE = 0.05
"""A smaller difference of two rates is nothing that anybody feels."""


def _speed(pair: Pair) -> Iterator[Found]:
    """Training rates whose intervals do not meet."""
    both = pair.both(Calibration)
    if both is None:
        return
    first, second = ({_key(run): run for run in one.figures} for one in both)
    for key in first:
        if key not in second:
            continue
        rates = first[key].rate, second[key].rate
        apart = rates[0].high < rates[1].low or rates[1].high < rates[0].low
        gap = abs(rates[0].median - rates[1].median) / max(rates[0].median, rates[1].median, 1e-9)
        if not apart or gap < _BEYOND_NOISE:
            continue
        shown = [f"{one.median:.0f} {first[key].unit}" for one in rates]
        device, precision, model = key[0], key[1], NAMES[first[key].model]
        yield Found(
            difference=Difference(
                part="speed",
                name=" ".join(key),
                sentence=f"{model} training on {device} in {precision}: {pair.each(*shown)}",
                first=shown[0],
                second=shown[1],
                weight="matters",
                layer=Layer.SPEED,
                can_break=("speed",),
            )
        )


def _key(run: CalibrationRun) -> tuple[str, ...]:
    of_another = () if run.model == "resnet50" else (run.model,)
    return (run.device, run.precision, *of_another)
