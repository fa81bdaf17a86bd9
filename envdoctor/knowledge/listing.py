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
    return "".join(f"{_line(one)}\n" for one in listed.gpus)


def _line(model: GpuModel) -> str:
    memory = f"{model.memory_gb:g} GB" if model.memory_gb else "?"
    printed = ", ".join(one for one in model.match if one != model.model)
    return (
        f"{model.model:<36} {model.compute_capability or '?':>5}  {model.architecture or '?':<16} "
        f"{memory:>8}  {printed}"
    ).rstrip()
