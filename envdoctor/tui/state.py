"""All that the application shows, as one immutable value, and how events change it. Pure."""

import time
from dataclasses import dataclass, replace

from envdoctor.calibration.results import Calibration
from envdoctor.calibration.runner import Progress
from envdoctor.collect import ProbeEvent
from envdoctor.core_facts import Candidate, Gpu
from envdoctor.report import Report
from envdoctor.tui.contract import (
    CalibrationEnded,
    CalibrationProgressed,
    CalibrationStarted,
    Event,
    ExaminationStarted,
    Predicted,
    ProbeChanged,
    ReportReady,
    TargetsFound,
)

KEPT_RATES = 240
"""How many rates of a device and precision a sparkline remembers."""


@dataclass(frozen=True, kw_only=True)
class ProbeState:
    """One probe. `state`: started, finished, unknown. `since` is on the monotonic clock."""

    name: str
    state: str
    since: float
    seconds: float = 0.0
    detail: str = ""
    slow_because: str = ""

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.state == "started"


@dataclass(frozen=True, kw_only=True)
class Track:
    """The rates of one device and precision as they settle, in images per second."""

    device: str
    precision: str
    rates: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GpuTrack:
    """How a GPU is over time, the newest last. Values that the driver does not say are left out."""

    index: int
    sm_clock_mhz: tuple[float, ...] = ()
    power_w: tuple[float, ...] = ()
    temperature_c: tuple[float, ...] = ()

    @property
    def curves(self) -> tuple[tuple[str, str, tuple[float, ...]], ...]:
        """Name, unit and figures of each curve that has any."""
        all_curves = (
            ("clock", "MHz", self.sm_clock_mhz),
            ("power", "W", self.power_w),
            ("temperature", "°C", self.temperature_c),
        )
        return tuple(curve for curve in all_curves if curve[2])

    def with_sample(self, gpu: Gpu) -> "GpuTrack":
        """The track with one more sample."""
        return GpuTrack(
            index=self.index,
            sm_clock_mhz=_longer(self.sm_clock_mhz, gpu.sm_clock_mhz),
            power_w=_longer(self.power_w, gpu.power_w),
            temperature_c=_longer(self.temperature_c, gpu.temperature_c),
        )


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """The calibration that is going on: the last news, the rates of all that was timed, and how
    the GPUs are."""

    now: Progress | None = None
    tracks: tuple[Track, ...] = ()
    gpus: tuple[GpuTrack, ...] = ()


@dataclass(frozen=True, kw_only=True)
class State:
    """What is shown. `examining` and `measuring` are null while nothing of the kind goes on."""

    examining: str | None = None
    report: Report | None = None
    final: bool = False
    source: str = ""
    probes: tuple[ProbeState, ...] = ()
    measuring: Measuring | None = None
    calibration_note: str = ""
    targets: tuple[Candidate, ...] | None = None
    predicted: Predicted | None = None

    @property
    def running(self) -> tuple[ProbeState, ...]:
        """The probes that have not ended, the oldest first."""
        return tuple(probe for probe in self.probes if probe.running)


def after(state: State, event: Event) -> State:
    """The state after an event; the same object where the event shows nothing."""
    if isinstance(event, ExaminationStarted):
        return replace(state, examining=event.what, probes=(), final=False)
    if isinstance(event, ProbeChanged):
        return replace(state, probes=_with_probe(state.probes, event.event))
    if isinstance(event, ReportReady):
        return _with_report(state, event)
    if isinstance(event, CalibrationStarted):
        return replace(state, measuring=Measuring(), calibration_note="")
    if isinstance(event, CalibrationProgressed):
        before = state.measuring or Measuring()
        return replace(state, measuring=_with_progress(before, event.progress))
    if isinstance(event, CalibrationEnded):
        return replace(state, measuring=None, calibration_note=event.reason)
    if isinstance(event, TargetsFound):
        return replace(state, targets=event.targets)
    if isinstance(event, Predicted):
        return replace(state, predicted=event)
    return state


def calibration_of(report: Report | None) -> Calibration | None:
    """The calibration that the report holds, if any and if this version can read it."""
    if report is None or report.calibration is None:
        return None
    import msgspec

    try:
        return msgspec.convert(report.calibration, Calibration)
    except msgspec.ValidationError:
        return None


def _with_report(state: State, event: ReportReady) -> State:
    done = tuple(probe for probe in state.probes if not probe.running)
    return replace(
        state,
        report=event.report,
        final=event.final,
        source=event.source,
        examining=None if event.final else state.examining,
        probes=done if event.final else state.probes,
    )


def _with_probe(probes: tuple[ProbeState, ...], event: ProbeEvent) -> tuple[ProbeState, ...]:
    now = time.monotonic()
    before = next((probe for probe in probes if probe.name == event.probe), None)
    since = before.since if before is not None and before.running else now
    changed = ProbeState(
        name=event.probe,
        state=event.state,
        since=since,
        seconds=event.seconds or (0.0 if event.state == "started" else now - since),
        detail=event.detail,
        slow_because=event.slow_because or (before.slow_because if before else ""),
    )
    if before is None:
        return (*probes, changed)
    return tuple(changed if probe is before else probe for probe in probes)


def _with_progress(before: Measuring, now: Progress) -> Measuring:
    tracks = before.tracks
    if now.images_per_s is not None:
        tracks = _with_rate(tracks, now.device, now.precision, now.images_per_s)
    known = {track.index: track for track in before.gpus}
    for gpu in now.gpus:
        known[gpu.index] = known.get(gpu.index, GpuTrack(index=gpu.index)).with_sample(gpu)
    return Measuring(now=now, tracks=tracks, gpus=tuple(known.values()))


def _longer(figures: tuple[float, ...], newest: float | None) -> tuple[float, ...]:
    return figures if newest is None else (*figures, newest)[-KEPT_RATES:]


def _with_rate(
    tracks: tuple[Track, ...], device: str, precision: str, rate: float
) -> tuple[Track, ...]:
    present = next(
        (one for one in tracks if (one.device, one.precision) == (device, precision)), None
    )
    if present is None:
        return (*tracks, Track(device=device, precision=precision, rates=(rate,)))
    longer = replace(present, rates=(*present.rates, rate)[-KEPT_RATES:])
    return tuple(longer if track is present else track for track in tracks)
