"""What NVML says while a GPU is measured, from a child of its own: samples, then a summary."""

import sys
import threading
from collections.abc import Sequence
from statistics import median

from envdoctor.calibration.progress import Sample
from envdoctor.facts.calibration import Spread, Telemetry
from envdoctor.facts.machine import Gpu
from envdoctor.probes.boundary import Undecodable, json_object, typed
from envdoctor.probes.channel import Incoming
from envdoctor.probes.run import Children, Stopping, run_child

LIMIT_S = 3600.0
_MOST_BYTES, _MOST_LINES = 1 << 30, 1 << 20
"""16 GPUs give 1 kB each four times a second: 236 MB in an hour."""


class Sampler:
    """Samples every GPU from `start` to `stop`; without NVML there are no samples."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._samples: list[Sample] = []
        self._newest: dict[int, Sample] = {}

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=5.0)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples so far, oldest first; complete after the end."""
        return tuple(self._samples)

    @property
    def newest(self) -> tuple[Sample, ...]:
        """The last sample of every GPU."""
        return tuple(self._newest.values())

    def take_line(self, line: bytes) -> None:
        """Take in a sample. What is none was written by a library that NVML brings."""
        try:
            sample = decode_sample(line)
        except Undecodable:
            return
        self._samples.append(sample)
        # Replaced and not changed, because another thread may read it.
        self._newest = {**self._newest, sample.gpu.index: sample}

    def _run(self) -> None:
        with Incoming(self.take_line, most_bytes=_MOST_BYTES, most_lines=_MOST_LINES) as channel:
            fd = channel.for_child
            module = "envdoctor.calibration.telemetry_child"
            command = [sys.executable, "-I", "-m", module, str(fd)]
            try:
                run_child(
                    command,
                    children=self._children,
                    timeout_s=LIMIT_S,
                    pass_fds=(fd,),
                    ports=(channel,),
                    still_allowed=lambda: not self._stopping.is_set(),
                )
                channel.drain()
            except (OSError, Stopping):
                # Without telemetry the figures are still good.
                return


def decode_sample(line: bytes) -> Sample:
    """A line that a telemetry child wrote. Raises Undecodable."""
    return typed(json_object(line), Sample)


def summarise(
    samples: Sequence[Sample], window: tuple[float, float], bus_id: str | None
) -> Telemetry | None:
    """What the samples say of one GPU between two moments; None if none was taken then.

    `bus_id` is the GPU's PCI address; without one, the GPU is known if it is the only one.
    """
    own = [sample for sample in samples if _is(sample.gpu, bus_id)]
    if bus_id is None and len({sample.gpu.index for sample in own}) != 1:
        return None
    during = [sample.gpu for sample in own if window[0] <= sample.at <= window[1]]
    if not during:
        return None
    first, last = own[0].gpu, during[-1]
    others = 0 if first.mig_mode else len(first.process_pids)
    return Telemetry(
        samples=len(during),
        sm_clock_mhz=_spread([gpu.sm_clock_mhz for gpu in during]),
        max_sm_clock_mhz=last.max_sm_clock_mhz,
        power_w=_spread([gpu.power_w for gpu in during]),
        power_limit_w=last.power_limit_w,
        power_default_limit_w=last.power_default_limit_w,
        temperature_c=max((g.temperature_c for g in during if g.temperature_c), default=None),
        throttle_shares=_shares(during),
        pcie_generation=max((g.pcie_generation for g in during if g.pcie_generation), default=None),
        pcie_max_generation=last.pcie_max_generation,
        pcie_width=max((g.pcie_width for g in during if g.pcie_width), default=None),
        pcie_max_width=last.pcie_max_width,
        other_process_bytes=first.memory_used_bytes if others else None,
        other_processes=None if first.mig_mode else others,
        busy_before_pct=first.utilization_pct if others else None,
        utilization_pct=_middle([gpu.utilization_pct for gpu in during]),
        ecc_mode=last.ecc_mode,
        mig_mode=last.mig_mode,
    )


def _is(gpu: Gpu, bus_id: str | None) -> bool:
    return bus_id is None or (gpu.pci_address or "").lower() == bus_id.lower()


def _shares(gpus: Sequence[Gpu]) -> dict[str, float]:
    reasons = sorted({reason for gpu in gpus for reason in gpu.throttle_reasons})
    return {
        reason: sum(reason in gpu.throttle_reasons for gpu in gpus) / len(gpus)
        for reason in reasons
    }


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(median=median(known), low=min(known), high=max(known))


def _middle(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(median(known)) if known else None
