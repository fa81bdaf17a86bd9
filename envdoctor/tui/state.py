"""All that the application shows, as one immutable value, and how events change it. Pure."""

import time

from msgspec.structs import replace

from envdoctor.calibration.progress import CalibrationProgress, Sample
from envdoctor.events import ProbeEvent
from envdoctor.facts.calibration import Unit
from envdoctor.facts.python import Candidate
from envdoctor.record import Record
from envdoctor.report import Report
from envdoctor.tui.contract import (
    CalibrationEnded,
    CalibrationProgressed,
    CalibrationStarted,
    Event,
    ExaminationStarted,
    FilesFound,
    GpuForecast,
    GpusCompared,
    Predicted,
    ProbeChanged,
    ReadingEnded,
    ReadingStarted,
    ReportReady,
    TargetChanged,
    TargetsFound,
    TargetState,
    WatchTurned,
    WorkEnded,
)

KEPT_RATES = 240
"""How many rates of a device and precision a sparkline remembers."""


class ProbeState(Record):
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


class Track(Record):
    """The rates of one device and precision as they settle, in `unit`."""

    device: str
    precision: str
    unit: Unit = "images/s"
    rates: tuple[float, ...] = ()


class GpuTrack(Record):
    """How a GPU is over time, the newest last. Values that the driver does not say are left out.

    `at` is when the newest sample was taken, on the monotonic clock.
    """

    index: int
    at: float = float("-inf")
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

    def with_sample(self, sample: Sample) -> "GpuTrack":
        """The track with one more sample; the same if that is no newer than the last one."""
        if sample.at <= self.at:
            return self
        gpu = sample.gpu
        return GpuTrack(
            index=self.index,
            at=sample.at,
            sm_clock_mhz=_longer(self.sm_clock_mhz, gpu.sm_clock_mhz),
            power_w=_longer(self.power_w, gpu.power_w),
            temperature_c=_longer(self.temperature_c, gpu.temperature_c),
        )


class Measuring(Record):
    """The calibration that is going on: what is measured and how long, the last news, the rates of
    all that was timed, and how the GPUs are. `since` is on the monotonic clock; `planned_s` is what
    the worker expects to take, in seconds, once it has said so."""

    since: float = 0.0
    plan: str = ""
    planned_s: float = 0.0
    now: CalibrationProgress | None = None
    tracks: tuple[Track, ...] = ()
    gpus: tuple[GpuTrack, ...] = ()


class State(Record):
    """What is shown. `examining`, `measuring` and `reading` are null while nothing of the kind
    goes on; `examined` is what was examined last, and `settled` the last final report on it.
    `beside` are all targets of this session, and `shown_target` the key of the one that is shown.
    """

    examining: str | None = "starting"
    examined: str = ""
    report: Report | None = None
    final: bool = False
    source: str = ""
    settled: ReportReady | None = None
    probes: tuple[ProbeState, ...] = ()
    measuring: Measuring | None = None
    calibration_note: str = ""
    reading: str | None = None
    targets: tuple[Candidate, ...] | None = None
    files: tuple[str, ...] | None = None
    predicted: Predicted | None = None
    forecasts: tuple[GpuForecast, ...] = ()
    watching: bool = False
    beside: tuple[TargetState, ...] = ()
    shown_target: str = ""

    @property
    def running(self) -> tuple[ProbeState, ...]:
        """The probes that have not ended, the oldest first."""
        return tuple(probe for probe in self.probes if probe.running)

    @property
    def shown(self) -> ReportReady | None:
        """The report that is shown, with what is known about it."""
        if self.report is None:
            return None
        return ReportReady(report=self.report, final=self.final, source=self.source)

    @property
    def busy(self) -> bool:
        """Whether anything goes on that will change what is shown."""
        at_rest = self.examining is None and self.measuring is None and self.reading is None
        return not at_rest or bool(self.unfinished)

    @property
    def unfinished(self) -> tuple[TargetState, ...]:
        """The targets whose examination has not ended."""
        return tuple(one for one in self.beside if one.phase in ("waiting", "looking"))


def after(state: State, event: Event) -> State:
    """The state after an event; the same object where the event shows nothing."""
    if isinstance(event, ExaminationStarted):
        return _examining(state, event.what)
    if isinstance(event, ProbeChanged):
        # One that was given up may still stir after the end.
        over = state.examining is None
        return state if over else replace(state, probes=_with_probe(state.probes, event.event))
    if isinstance(event, ReportReady):
        return _with_report(state, event)
    if isinstance(event, CalibrationStarted):
        started = Measuring(since=time.monotonic())
        return replace(state, examining=None, reading=None, measuring=started, calibration_note="")
    if isinstance(event, CalibrationProgressed):
        before = state.measuring or Measuring()
        return replace(state, measuring=_with_progress(before, event.progress))
    if isinstance(event, CalibrationEnded):
        return replace(state, measuring=None, calibration_note=event.reason)
    if isinstance(event, WorkEnded):
        return _at_rest(state)
    if isinstance(event, ReadingStarted):
        return replace(state, reading=event.path)
    if isinstance(event, ReadingEnded):
        return replace(state, reading=None)
    return _with_answer(state, event)


def _with_answer(state: State, event: Event) -> State:
    """The state with what the user has asked for."""
    if isinstance(event, FilesFound):
        return replace(state, files=event.files)
    if isinstance(event, TargetsFound):
        return replace(state, targets=event.targets)
    if isinstance(event, TargetChanged):
        return _with_target(state, event)
    if isinstance(event, GpusCompared):
        return replace(state, forecasts=event.gpus)
    if isinstance(event, WatchTurned):
        return replace(state, watching=event.on)
    if isinstance(event, Predicted):
        return replace(state, predicted=event)
    return state


def _examining(state: State, what: str) -> State:
    """What was found in another target or file does not hold for this one."""
    if what != state.examined:
        state = State(
            examined=what,
            targets=state.targets,
            files=state.files,
            forecasts=state.forecasts,
            watching=state.watching,
            beside=state.beside,
            shown_target=state.shown_target,
        )
    return replace(state, examining=what, measuring=None, reading=None, probes=(), final=False)


def _with_target(state: State, event: TargetChanged) -> State:
    """The row of a target in its place, or as the last one."""
    now = event.target
    same = [one for one in state.beside if _is_same(one, now)]
    is_shown = event.is_shown or any(one.key == state.shown_target for one in same)
    shown = now.key if is_shown else state.shown_target
    now = replace(now, asked=now.asked or any(one.asked for one in same))
    if not same:
        return replace(state, beside=(*state.beside, now), shown_target=shown)
    rows = (now if one is same[0] else one for one in state.beside if one not in same[1:])
    return replace(state, beside=tuple(rows), shown_target=shown)


def _is_same(one: TargetState, other: TargetState) -> bool:
    """Whether two rows are one target: the default one may be chosen by its path as well."""
    return one.key == other.key or (one.place is not None and one.place == other.place)


def _with_report(state: State, event: ReportReady) -> State:
    shown = replace(state, report=event.report, final=event.final, source=event.source)
    if not event.final:
        return shown
    return replace(shown, settled=event, examining=None, probes=_ended(state.probes))


def _at_rest(state: State) -> State:
    """Nothing goes on; what was found last as a whole stands again."""
    still = replace(state, examining=None, measuring=None, probes=_ended(state.probes))
    return still if state.settled is None else _with_report(still, state.settled)


def _ended(probes: tuple[ProbeState, ...]) -> tuple[ProbeState, ...]:
    """The probes when nobody waits for them any more."""
    if not any(probe.running for probe in probes):
        return probes
    now = time.monotonic()
    return tuple(
        replace(probe, state="unknown", seconds=now - probe.since, detail="no answer")
        if probe.running
        else probe
        for probe in probes
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


def _with_progress(before: Measuring, now: CalibrationProgress) -> Measuring:
    tracks = before.tracks
    if now.rate is not None:
        tracks = _with_rate(tracks, now, now.rate)
    known = {track.index: track for track in before.gpus}
    for sample in now.gpus:
        index = sample.gpu.index
        known[index] = known.get(index, GpuTrack(index=index)).with_sample(sample)
    gpus = tuple(known.values())
    plan, planned_s = now.plan or before.plan, now.planned_s or before.planned_s
    return replace(before, now=now, plan=plan, planned_s=planned_s, tracks=tracks, gpus=gpus)


def _longer(figures: tuple[float, ...], newest: float | None) -> tuple[float, ...]:
    return figures if newest is None else (*figures, newest)[-KEPT_RATES:]


def _with_rate(
    tracks: tuple[Track, ...], now: CalibrationProgress, rate: float
) -> tuple[Track, ...]:
    wanted = now.device, now.precision
    present = next((one for one in tracks if (one.device, one.precision) == wanted), None)
    if present is None:
        track = Track(device=now.device, precision=now.precision, unit=now.unit, rates=(rate,))
        return (*tracks, track)
    longer = replace(present, rates=(*present.rates, rate)[-KEPT_RATES:])
    return tuple(longer if track is present else track for track in tracks)
