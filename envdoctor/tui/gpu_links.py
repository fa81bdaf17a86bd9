"""The GPUs of the chain: one row for each, with what findings and outcomes call it. Pure."""

from collections.abc import Mapping

import msgspec

from envdoctor.facts.derived import GpuTrace, TracedGpu
from envdoctor.record import Record
from envdoctor.report import Report, StackGpu

MOST_ROWS = 4
"""Up to so many GPUs each have a row of their own; of more, those that are the same share one."""


class GpuRow(Record):
    """One GPU. `subject` is its name in findings and outcomes (`gpu:0`), `slow` how far it stays
    behind what it should reach, empty where it does not or was not measured."""

    subject: str
    value: str
    slow: str = ""

    @property
    def number(self) -> str:
        """`0`, or the address of a GPU that no layer counts."""
        return self.subject.removeprefix("gpu:")


def gpu_rows(report: Report) -> tuple[GpuRow, ...]:
    """Every GPU that a layer shows, in the order of the bus or of NVML."""
    traced = traced_gpus(report)
    listed = dict(report.stack.numbered)
    slow = _slow(report)
    if not traced:
        return tuple(
            GpuRow(subject=f"gpu:{number}", value=described(gpu), slow=slow.get(number, ""))
            for number, gpu in listed.items()
        )
    return tuple(
        GpuRow(subject=one.subject, value=_value(one, listed), slow=slow.get(one.torch_index, ""))
        for one in traced
    )


def traced_gpus(report: Report) -> tuple[TracedGpu, ...]:
    """The GPUs as they were followed from the bus to torch; none where nobody could."""
    fact = report.facts.get("GpuTrace", {})
    if fact.get("type") != "Observed":
        return ()
    return msgspec.convert(fact["value"], GpuTrace).gpus


def described(gpu: StackGpu) -> str:
    """`NVIDIA L4, sm_89, 23 GiB`."""
    capability = f", sm_{gpu.compute_capability.replace('.', '')}" if gpu.compute_capability else ""
    memory = f", {gpu.memory_bytes / 2**30:.0f} GiB" if gpu.memory_bytes else ""
    return f"{gpu.name}{capability}{memory}"


def _value(gpu: TracedGpu, listed: Mapping[int, StackGpu]) -> str:
    shown = None if gpu.nvml_index is None else listed.get(gpu.nvml_index)
    return gpu.described if shown is None else described(shown)


def _slow(report: Report) -> dict[int | None, str]:
    """What is said of each GPU, by torch's number, that stays behind in any precision."""
    expected = report.assessment.expected if report.assessment else ()
    parts = [
        (int(rate.device.removeprefix("cuda:")), rate.measured_over_expected)
        for rate in expected
        if rate.verdict == "slower" and rate.device.startswith("cuda:")
    ]
    worst: dict[int | None, float] = {}
    for number, part in parts:
        worst[number] = min(part or 0.0, worst.get(number, 1.0))
    return {number: f"{100 * part:.0f} % of expected speed" for number, part in worst.items()}
