"""The GPUs that the knowledge holds, as a list to read."""

from typing import ClassVar

from envdoctor.knowledge.hardware import GpuModel
from envdoctor.record import Record


class GpuList(Record):
    """The GPU models that a name may mean, or all."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    gpus: tuple[GpuModel, ...]


def render_gpus(listed: GpuList) -> str:
    """One line a GPU: its name, compute capability, architecture, memory, and other names."""
    rows = [_HEAD, *map(_row, listed.gpus)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD) - 1)]
    return "".join(f"{_line(row, widths)}\n" for row in rows)


_HEAD = ("GPU", "capability", "architecture", "memory", "other names")
_VENDOR = "NVIDIA "


def _row(model: GpuModel) -> tuple[str, ...]:
    memory = f"{model.memory_gb:g} GB" if model.memory_gb else "?"
    others = (one for one in model.match if one.removeprefix(_VENDOR) != model.model)
    capability, architecture = model.compute_capability or "?", model.architecture or "?"
    return model.model, capability, architecture, memory, ", ".join(others)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    name, capability, architecture, memory = widths
    return (
        f"{row[0]:<{name}}  {row[1]:>{capability}}  {row[2]:<{architecture}}  "
        f"{row[3]:>{memory}}  {row[4]}"
    ).rstrip()
