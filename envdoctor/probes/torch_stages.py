"""The facts that come from the stages in the target's child: the import and what follows it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from envdoctor.facts import F, Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.attempts import CompileAttempts, ExtendAttempts
from envdoctor.facts.torch import (
    CompanionImports,
    CudaLog,
    LoadedLibraries,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
)
from envdoctor.options import Tried
from envdoctor.plugins import Cost, Probe, Where
from envdoctor.probes.boundary import Undecodable, typed
from envdoctor.probes.built_in_stages import (
    ATTEMPTS,
    FIRST_USE,
    IMPORT,
    LOADED_LIBRARIES,
    RUNTIME,
    companion_stages,
)
from envdoctor.probes.stage import EXIT, Stage, StageResult, StageState

Results = Mapping[str, StageResult]
Ended = Literal["ok", "exception", "signal", "exit", "hang"]

_ENDS: Mapping[StageState, Ended] = {
    "ok": "ok",
    "exception": "exception",
    "signal": "signal",
    "exit": "exit",
    "hang": "hang",
}
"""The states that are observations of what a stage did."""

_REASONS: Mapping[StageState, Reason] = {
    "hang": Reason.TIMED_OUT,
    "signal": Reason.CRASHED,
    "exit": Reason.CRASHED,
    "exception": Reason.CRASHED,
    "unable": Reason.CRASHED,
    "timed-out": Reason.TIMED_OUT,
    "skipped": Reason.NOT_APPLICABLE,
    "not-reached": Reason.NOT_OBSERVED,
}


def unknown(result: StageResult) -> Unknown:
    """Why a stage gave no fact; of one that hangs, with what the driver wrote first."""
    first = (result.log or "").partition("\n")[0] if result.state == "hang" else ""
    detail = f"{result.detail}: {first}" if first else result.detail
    return Unknown(reason=_REASONS[result.state], detail=detail)


def _observed(
    kind: type[F], source: str, results: Sequence[StageResult], **said: Any
) -> dict[type[Fact], Known]:
    """A fact made of what stages said; undecodable where a value does not have its type."""
    try:
        value = typed(said, kind)
    except Undecodable as error:
        detail = f"{results[0].stage}: {error}"
        return {kind: Unknown(reason=Reason.UNDECODABLE, detail=detail)}
    seconds = sum(result.seconds for result in results)
    return {kind: Observed(value=value, source=source, seconds=seconds)}


def decode_import(results: Results) -> dict[type[Fact], Known]:
    """What `import torch` did. A death or a hang is an observation, not an unknown."""
    result = results[IMPORT.name]
    outcome = _ENDS.get(result.state)
    if outcome is None:
        return {TorchImport: unknown(result)}
    isolated, data = result.isolated, result.data
    left = results.get(EXIT)
    return _observed(
        TorchImport,
        "import torch",
        [result],
        outcome=outcome,
        seconds=data.get("import_seconds", result.seconds),
        file=data.get("file"),
        version=data.get("version"),
        exception=data.get("exception"),
        message=data.get("message") or result.detail,
        cause=data.get("cause", ""),
        frames=data.get("frames", ()),
        signal=result.signal,
        exit_code=result.exit_code,
        output_tail=result.output_tail,
        isolated_outcome=_ENDS.get(isolated.state) if isolated else None,
        isolated_file=isolated.data.get("file") if isolated else None,
        isolated_message=isolated.detail if isolated else "",
        shadowed=data.get("shadowed", ()),
        exit_outcome=_exit_outcome(left),
        exit_detail=left.detail if left else "",
        exit_output_tail=left.output_tail if left and left.state != "ok" else "",
    )


def _exit_outcome(left: StageResult | None) -> Literal["ok", "signal", "exit", "hang"] | None:
    ended = _ENDS.get(left.state) if left else None
    return None if ended == "exception" else ended


def _of_stage(
    results: Results, stage: Stage, kind: type[F], source: str
) -> dict[type[Fact], Known]:
    result = results[stage.name]
    if result.state != "ok":
        return {kind: unknown(result)}
    return _observed(kind, source, [result], **result.data)


def decode_runtime(results: Results) -> dict[type[Fact], Known]:
    """What the imported torch says of itself."""
    return _of_stage(results, RUNTIME, TorchRuntime, "torch")


def decode_first_use(results: Results) -> dict[type[Fact], Known]:
    """Whether the first matmul and convolution work on every device."""
    return _of_stage(results, FIRST_USE, TorchFirstUse, "torch")


def decode_log(results: Results) -> dict[type[Fact], Known]:
    """What the driver wrote in each stage; also in one that it ended, or in which it hangs."""
    logs = {name: result.log for name, result in results.items() if result.log is not None}
    if not logs:
        detail = "no child wrote one, or CUDA_LOG_FILE is set to another file"
        return {CudaLog: Unknown(reason=Reason.NOT_OBSERVED, detail=detail)}
    written = {name: text for name, text in logs.items() if text}
    return {CudaLog: Observed(value=CudaLog(by_stage=written), source="CUDA_LOG_FILE")}


def decode_loaded_libraries(results: Results) -> dict[type[Fact], Known]:
    """The libraries that are loaded after torch was used; every process has some."""
    result = results[LOADED_LIBRARIES.name]
    if result.state == "ok" and not result.data.get("paths"):
        detail = "`/proc/self/maps` does not list them"
        return {LoadedLibraries: Unknown(reason=Reason.NOT_OBSERVED, detail=detail)}
    return _of_stage(results, LOADED_LIBRARIES, LoadedLibraries, "/proc/self/maps")


def decode_companions(results: Results) -> dict[type[Fact], Known]:
    """What the imports of the libraries built on torch did; unknown where none could be tried."""
    stages = companion_stages("all").items()
    tried = {name: results[stage.name] for name, stage in stages if stage.name in results}
    if not tried:
        left_out = Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --companions none")
        return {CompanionImports: left_out}
    unseen = {name: result for name, result in tried.items() if result.state not in _ENDS}
    if len(unseen) == len(tried):
        return {CompanionImports: unknown(next(iter(unseen.values())))}
    items = [
        _companion(name, result)
        for name, result in tried.items()
        if name not in unseen and result.data.get("installed", True)
    ]
    return _observed(
        CompanionImports, "their imports", [*tried.values()], items=items, unseen=tuple(unseen)
    )


def _companion(name: str, result: StageResult) -> dict[str, Any]:
    data = result.data
    failed_in_use = result.state == "ok" and "exception" in data
    return {
        "name": name,
        "outcome": "exception" if failed_in_use else _ENDS[result.state],
        "operation": data.get("operation", ""),
        "version": data.get("version"),
        "file": data.get("file"),
        "exception": data.get("exception"),
        "message": data.get("message") or result.detail,
        "frames": data.get("frames", ()),
        "signal": result.signal,
        "exit_code": result.exit_code,
        "output_tail": result.output_tail,
        "seconds": result.seconds,
    }


def decode_compiling(results: Results) -> dict[type[Fact], Known]:
    """What torch.compile did, where that was asked for."""
    return _of_attempt(results, "compile", CompileAttempts)


def decode_extending(results: Results) -> dict[type[Fact], Known]:
    """What building an extension did, where that was asked for."""
    return _of_attempt(results, "extend", ExtendAttempts)


def _of_attempt(results: Results, tried: Tried, kind: type[F]) -> dict[type[Fact], Known]:
    stage = ATTEMPTS[tried]
    if stage.name not in results:
        detail = f"`envdoctor check --try {tried}` tries it"
        return {kind: Unknown(reason=Reason.SWITCHED_OFF, detail=detail)}
    return _of_stage(results, stage, kind, stage.name)


TARGET_PROBES = (
    Probe(
        name="import torch",
        where=Where.TARGET,
        provides=(TorchImport,),
        stages=(IMPORT,),
        decode=decode_import,
        cost=Cost.SLOW,
    ),
    Probe(
        name="torch runtime",
        where=Where.TARGET,
        provides=(TorchRuntime,),
        stages=(RUNTIME,),
        decode=decode_runtime,
        cost=Cost.SLOW,
    ),
    Probe(
        name="first use",
        where=Where.TARGET,
        provides=(TorchFirstUse,),
        stages=(FIRST_USE,),
        decode=decode_first_use,
        cost=Cost.SLOW,
    ),
    Probe(
        name="driver log",
        where=Where.TARGET,
        provides=(CudaLog,),
        stages=(RUNTIME, FIRST_USE),
        decode=decode_log,
    ),
    Probe(
        name="loaded libraries",
        where=Where.TARGET,
        provides=(LoadedLibraries,),
        stages=(LOADED_LIBRARIES,),
        decode=decode_loaded_libraries,
    ),
    Probe(
        name="companion imports",
        where=Where.TARGET,
        provides=(CompanionImports,),
        stages=tuple(companion_stages("light").values()),
        decode=decode_companions,
        cost=Cost.SLOW,
    ),
    Probe(
        name="torch.compile",
        where=Where.TARGET,
        provides=(CompileAttempts,),
        stages=(ATTEMPTS["compile"],),
        decode=decode_compiling,
        cost=Cost.LOAD,
    ),
    Probe(
        name="building an extension",
        where=Where.TARGET,
        provides=(ExtendAttempts,),
        stages=(ATTEMPTS["extend"],),
        decode=decode_extending,
        cost=Cost.LOAD,
    ),
)
