"""What the driver's own libraries say, each asked in a child of its own."""

import os
import sys
from typing import Any

from msgspec.structs import replace

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import CudaInit, Gpus, Nvml
from envdoctor.probes.boundary import Undecodable, typed
from envdoctor.probes.context import Context
from envdoctor.probes.driver_log import DriverLog
from envdoctor.probes.live import only_live
from envdoctor.probes.own_child import ask

LIMIT_S = 20.0
"""A driver whose GPU has fallen off the bus can block for ever."""

_NVML = "libnvidia-ml.so.1"
_WHERE_IT_RUNS = "a driver can only be asked where it runs"


def observe_nvml(context: Context) -> dict[type[Fact], Known]:
    """NVML's status, and the GPUs that it shows."""
    if not context.is_live:
        unasked = only_live(context, _WHERE_IT_RUNS)
        return {Nvml: unasked, Gpus: unasked}
    answer = ask("nvml_child.py", context, limit_s=LIMIT_S)
    if isinstance(answer, Unknown):
        return {Nvml: answer, Gpus: answer}
    return facts_of_nvml(answer, context)


def facts_of_nvml(answer: dict[str, Any], context: Context) -> dict[type[Fact], Known]:
    """The facts in what the child of NVML wrote; undecodable where a value has not its type."""
    try:
        nvml = _nvml(answer, context)
        known: dict[type[Fact], Known] = {Nvml: Observed(value=nvml, source="NVML")}
        if nvml.status != "ok":
            absent = Unknown(reason=Reason.NOT_APPLICABLE, detail=f"NVML: {nvml.status}")
            return {**known, Gpus: absent}
        gpus = typed({"devices": answer.get("gpus")}, Gpus)
        return {**known, Gpus: Observed(value=gpus, source="NVML")}
    except Undecodable as error:
        unclear = Unknown(reason=Reason.UNDECODABLE, detail=f"NVML: {error}")
        return {Nvml: unclear, Gpus: unclear}


def _nvml(answer: dict[str, Any], context: Context) -> Nvml:
    refusal = str(answer.get("refusal") or "")
    unloadable = _refused_file(refusal, context)
    message = answer.get("message", "NVML Shared Library Not Found")
    if unloadable:
        why = refusal.removeprefix(f"{unloadable}: ")
        message = f"found at {unloadable} but cannot be loaded: {why}"
    names = ("status", "driver_release", "driver_cuda", "library", "device_count", "unanswered")
    said = {name: answer[name] for name in names if name in answer}
    return typed({**said, "message": message, "unloadable": unloadable}, Nvml)


def _refused_file(refusal: str, context: Context) -> str | None:
    """The libnvidia-ml that the loader found and refused, by its words; None if it found none."""
    if not refusal or refusal.endswith(f"{_NVML}: {_NOT_FOUND}"):
        return None
    said = refusal.partition(": ")[0]
    if said.startswith("/") and os.path.basename(said) == _NVML:
        return said
    # It names what the library lacks, or passed a file of another kind over.
    from envdoctor.probes.loader import files_named

    return next(files_named(_NVML, sys.executable, context), None)


_NOT_FOUND = "cannot open shared object file: No such file or directory"
"""As glibc says it (elf/dl-load.c)."""


def observe_cuda_init(context: Context) -> dict[type[Fact], Known]:
    """What cuInit does without torch."""
    if not context.is_live:
        return {CudaInit: only_live(context, _WHERE_IT_RUNS)}
    with DriverLog() as log:
        env = log.variables(context.env)
        answer = ask("cuda_child.py", context, limit_s=LIMIT_S, env=env)
        written = log.text()
    if isinstance(answer, Unknown):
        return {CudaInit: _with_log(answer, written)}
    try:
        value = typed({**answer, "log": written if answer.get("code") else ""}, CudaInit)
    except Undecodable as error:
        return {CudaInit: Unknown(reason=Reason.UNDECODABLE, detail=f"cuInit: {error}")}
    return {CudaInit: Observed(value=value, source="cuInit")}


def _with_log(unknown: Unknown, written: str) -> Unknown:
    """Why nobody knows, with what the driver wrote first before it died or hung."""
    first = written.partition("\n")[0]
    return replace(unknown, detail=f"{unknown.detail}: {first}") if first else unknown
