"""The variables by which ROCm and HIP choose among AMD's GPUs, and those that leave none."""

from collections.abc import Mapping

from envdoctor.api import Record, parse_number

OF_RUNTIME = "ROCR_VISIBLE_DEVICES"
_OF_HIP = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
CHOOSING = (OF_RUNTIME, *_OF_HIP)
"""What HIP and ROCm's runtime choose devices by (ROCm, "GPU isolation techniques")."""


class Hiding(Record):
    """A variable that leaves no GPU, and why."""

    variable: str
    words: str


def hidden_by(variables: Mapping[str, str], devices: int) -> list[Hiding]:
    """The variables that begin with the number of no GPU: what follows it is hidden as well.

    HIP counts those GPUs that the variable of the runtime below it has left, from 0 on (Parsl
    issue 3858, SwarmUI issue 566).
    """
    found = [_of_none(name, variables, devices, "") for name in (OF_RUNTIME, *_OF_HIP)]
    left = _left(variables.get(OF_RUNTIME, ""), devices)
    if left and not any(found):
        among = f" of the {left} that {OF_RUNTIME}={variables[OF_RUNTIME]} leaves"
        found = [_of_none(name, variables, left, among) for name in _OF_HIP]
    return [one for one in found if one]


def _of_none(name: str, variables: Mapping[str, str], devices: int, among: str) -> Hiding | None:
    value = variables.get(name, "")
    first = value.partition(",")[0].strip()
    number = parse_number(first)
    if first != "-1" and (number is None or number < devices):
        return None
    which = among or f" of the {devices}"
    return Hiding(variable=name, words=f"{name} is `{value}`, which names none{which}")


def _left(value: str, devices: int) -> int:
    """How many GPUs the list leaves: the entries before the first that names none."""
    count = 0
    for entry in value.split(",") if value.strip() else ():
        number = parse_number(entry.strip())
        if number is None and not entry.strip().startswith("GPU-"):
            break
        if number is not None and number >= devices:
            break
        count += 1
    return count
