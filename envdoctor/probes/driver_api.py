"""What the driver's own libraries say, each asked in a child of its own."""

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import CudaInit, Gpu, Gpus, Nvml, UnansweredGpu
from envdoctor.probes.channel import anonymous_file, read_all
from envdoctor.probes.context import Context
from envdoctor.probes.live import only_live

LIMIT_S = 20.0
"""A driver whose GPU has fallen off the bus can block for ever."""

_HERE = Path(__file__).parent
_NVML = "libnvidia-ml.so.1"


def ask(script: str, context: Context, *, limit_s: float = LIMIT_S) -> dict[str, Any] | Unknown:
    """The JSON object that a child script writes, or why there is none."""
    if not context.is_live:
        return only_live(context, "a driver can only be asked where it runs")
    with anonymous_file() as fd:
        child = context.run(
            [sys.executable, "-I", "-B", str(_HERE / script), str(fd), str(os.getpid())],
            timeout_s=limit_s,
            pass_fds=(fd,),
        )
        written = read_all(fd)
    if child.timed_out:
        return Unknown(
            reason=Reason.TIMED_OUT,
            detail=f"no answer within {limit_s:.0f} s",
            waited_s=limit_s,
        )
    if child.signal:
        return Unknown(
            reason=Reason.CRASHED, detail=f"the library ended the probe by {child.signal}"
        )
    try:
        return msgspec.json.decode(written, type=dict[str, Any])
    except msgspec.DecodeError:
        last = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.exit_code}"]
        return Unknown(reason=Reason.CRASHED, detail=last[0])


def observe_nvml(context: Context) -> dict[type[Fact], Known]:
    """NVML's status, and the GPUs that it shows."""
    answer = ask("nvml_child.py", context)
    if isinstance(answer, Unknown):
        return {Nvml: answer, Gpus: answer}
    nvml = Observed(value=_nvml(answer, context), source="NVML")
    if answer["status"] != "ok":
        absent = Unknown(reason=Reason.NOT_APPLICABLE, detail=f"NVML: {answer['status']}")
        return {Nvml: nvml, Gpus: absent}
    devices = tuple(msgspec.convert({**gpu, "type": "Gpu"}, Gpu) for gpu in answer["gpus"])
    return {Nvml: nvml, Gpus: Observed(value=Gpus(devices=devices), source="NVML")}


def _nvml(answer: dict[str, Any], context: Context) -> Nvml:
    refusal = answer["refusal"]
    unloadable = _refused_file(refusal, context)
    why = refusal.removeprefix(f"{unloadable}: ")
    message = f"found at {unloadable} but cannot be loaded: {why}" if unloadable else ""
    return Nvml(
        status=answer["status"],
        message=message or answer["message"],
        driver_release=answer["driver_release"],
        driver_cuda=answer["driver_cuda"],
        library=answer["library"],
        device_count=answer["device_count"],
        unanswered=tuple(UnansweredGpu(**one) for one in answer["unanswered"]),
        unloadable=unloadable,
    )


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
    answer = ask("cuda_child.py", context)
    if isinstance(answer, Unknown):
        return {CudaInit: answer}
    value = msgspec.convert({**answer, "type": "CudaInit"}, CudaInit)
    return {CudaInit: Observed(value=value, source="cuInit")}
