"""What the driver's own libraries say, each asked in a child of its own."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import CudaInit, Gpu, Gpus, Nvml
from envdoctor.probes.channel import anonymous_file, read_all
from envdoctor.probes.run import Children, run_child

LIMIT_S = 20.0
"""A driver whose GPU has fallen off the bus can block for ever."""

_HERE = Path(__file__).parent


def ask(
    script: str,
    children: Children,
    *,
    limit_s: float = LIMIT_S,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any] | Unknown:
    """The JSON object that a child script writes, or why there is none."""
    with anonymous_file() as fd:
        child = run_child(
            [sys.executable, "-I", "-B", str(_HERE / script), str(fd)],
            children=children,
            timeout_s=limit_s,
            env=env,
            pass_fds=(fd,),
        )
        written = read_all(fd)
    if child.timed_out:
        return Unknown(reason=Reason.TIMED_OUT, detail=f"no answer within {limit_s:.0f} s")
    if child.signal:
        return Unknown(
            reason=Reason.CRASHED, detail=f"the library ended the probe by {child.signal}"
        )
    try:
        return msgspec.json.decode(written, type=dict[str, Any])
    except msgspec.DecodeError:
        last = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.exit_code}"]
        return Unknown(reason=Reason.CRASHED, detail=last[0])


def decode_nvml(children: Children) -> dict[type[Fact], Known]:
    """NVML's status, and the GPUs that it shows."""
    answer = ask("nvml_child.py", children)
    if isinstance(answer, Unknown):
        return {Nvml: answer, Gpus: answer}
    gpus = answer.pop("gpus", [])
    nvml = Observed(value=msgspec.convert({**answer, "type": "Nvml"}, Nvml), source="NVML")
    if answer["status"] != "ok":
        absent = Unknown(reason=Reason.NOT_APPLICABLE, detail=f"NVML: {answer['status']}")
        return {Nvml: nvml, Gpus: absent}
    devices = tuple(msgspec.convert({**gpu, "type": "Gpu"}, Gpu) for gpu in gpus)
    return {Nvml: nvml, Gpus: Observed(value=Gpus(devices=devices), source="NVML")}


def decode_cuda_init(children: Children) -> dict[type[Fact], Known]:
    """What cuInit does without torch."""
    answer = ask("cuda_child.py", children)
    if isinstance(answer, Unknown):
        return {CudaInit: answer}
    value = msgspec.convert({**answer, "type": "CudaInit"}, CudaInit)
    return {CudaInit: Observed(value=value, source="cuInit")}
