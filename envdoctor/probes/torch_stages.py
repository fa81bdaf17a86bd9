"""The facts that come from the stages in the target's child: the import and what follows it."""

from collections.abc import Mapping

import msgspec

from envdoctor.facts import F, Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.torch import Frame, LoadedLibraries, TorchFirstUse, TorchImport, TorchRuntime
from envdoctor.plugins import Cost, Probe, StageResult, Where

ISOLATED_IMPORT = "isolated_import"
"""The result of a second `import`, run with -I."""

Stages = Mapping[str, StageResult]

_REASONS = {
    "hang": Reason.TIMED_OUT,
    "signal": Reason.CRASHED,
    "exit": Reason.CRASHED,
    "exception": Reason.CRASHED,
}


def decode_import(stages: Stages) -> dict[type[Fact], Known]:
    """What `import torch` did. A death or a hang is an observation, not an unknown."""
    result = stages["import"]
    if result.state == "not-reached":
        return {TorchImport: _not_reached(stages)}
    isolated = stages.get(ISOLATED_IMPORT)
    data = result.data
    fact = TorchImport(
        outcome=result.state,
        seconds=data.get("import_seconds", result.seconds),
        file=data.get("file"),
        version=data.get("version"),
        exception=data.get("exception"),
        message=data.get("message") or ("" if result.state == "ok" else result.detail),
        cause=data.get("cause", ""),
        frames=tuple(Frame(**frame) for frame in data.get("frames", ())),
        signal=result.signal,
        exit_code=result.exit_code,
        output_tail=result.output_tail,
        isolated_outcome=isolated.state if isolated else None,
        isolated_file=isolated.data.get("file") if isolated else None,
        isolated_message=isolated.detail if isolated else "",
        shadowed=tuple(data.get("shadowed", ())),
    )
    return {TorchImport: Observed(value=fact, source="import torch", seconds=result.seconds)}


def _of_stage(stages: Stages, stage: str, kind: type[F], source: str) -> Known:
    result = stages[stage]
    if result.state == "not-reached":
        return _not_reached(stages)
    if result.state != "ok":
        return Unknown(reason=_REASONS[result.state], detail=result.detail)
    try:
        value = msgspec.convert({**result.data, "type": kind.__name__}, kind)
    except msgspec.ValidationError as error:
        return Unknown(reason=Reason.UNDECODABLE, detail=f"stage {stage}: {error}")
    return Observed(value=value, source=source, seconds=result.seconds)


def _not_reached(stages: Stages) -> Unknown:
    imported = stages.get("import")
    if imported is not None and imported.state not in ("ok", "not-reached"):
        return Unknown(reason=Reason.NOT_APPLICABLE, detail="`import torch` did not succeed")
    return Unknown(reason=Reason.NOT_OBSERVED, detail="the stage was not run")


def decode_runtime(stages: Stages) -> dict[type[Fact], Known]:
    """What the imported torch says of itself."""
    return {TorchRuntime: _of_stage(stages, "runtime", TorchRuntime, "torch")}


def decode_first_use(stages: Stages) -> dict[type[Fact], Known]:
    """Whether the first matmul and convolution work on every device."""
    return {TorchFirstUse: _of_stage(stages, "first_use", TorchFirstUse, "torch")}


def decode_maps(stages: Stages) -> dict[type[Fact], Known]:
    """The libraries that are loaded after torch was used."""
    return {LoadedLibraries: _of_stage(stages, "maps", LoadedLibraries, "/proc/self/maps")}


TARGET_PROBES = (
    Probe(
        name="import torch",
        where=Where.TARGET,
        provides=(TorchImport,),
        stages=("import",),
        decode=decode_import,
        timeout_s=90.0,
        cost=Cost.SLOW,
        slow_because="a first import reads up to a few GB from disk",
    ),
    Probe(
        name="torch runtime",
        where=Where.TARGET,
        provides=(TorchRuntime,),
        stages=("runtime",),
        decode=decode_runtime,
        timeout_s=90.0,
        cost=Cost.SLOW,
        slow_because="the first CUDA call initialises the driver and every GPU",
    ),
    Probe(
        name="first use",
        where=Where.TARGET,
        provides=(TorchFirstUse,),
        stages=("first_use",),
        decode=decode_first_use,
        timeout_s=90.0,
        cost=Cost.SLOW,
        slow_because="the first kernel on a GPU loads its libraries",
    ),
    Probe(
        name="loaded libraries",
        where=Where.TARGET,
        provides=(LoadedLibraries,),
        stages=("maps",),
        decode=decode_maps,
    ),
)
