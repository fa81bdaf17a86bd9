"""The live model: examines this machine, or reads a file, and tells the application."""

import os
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from envdoctor.calibration.assess import DEFAULT_WHAT_IF
from envdoctor.errors import BadInput
from envdoctor.events import ProbeEvent
from envdoctor.facts import Observed, Snapshot, Unknown
from envdoctor.facts.calibration import Calibration
from envdoctor.find_target import TargetSearch
from envdoctor.options import Options
from envdoctor.output import Output
from envdoctor.output.files import write_text
from envdoctor.pages import find_code, find_page
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from envdoctor.report import Report
from envdoctor.session import Listener as Work
from envdoctor.session import Session, can_be_measured
from envdoctor.tui.contract import (
    CalibrationEnded,
    CalibrationProgressed,
    CalibrationStarted,
    EnvironmentChanged,
    Event,
    ExaminationStarted,
    Failed,
    FilesFound,
    GpusCompared,
    Listener,
    Phase,
    ProbeChanged,
    ReadingEnded,
    ReadingStarted,
    ReportReady,
    Saved,
    TargetChanged,
    TargetsFound,
    WatchTurned,
    WorkEnded,
)
from envdoctor.tui.examined import ExaminedTarget, key_of, row_of
from envdoctor.tui.files import saved_files
from envdoctor.tui.jobs import Job, Jobs, run_aside
from envdoctor.tui.partial_reports import PartialReports
from envdoctor.tui.prediction import forecasts, prediction
from envdoctor.tui.rerun import only_for, with_calibration_of
from envdoctor.tui.saving import document_of
from envdoctor.tui.targets import targets_of_machine
from envdoctor.tui.watching import Watch, signature

SAVING_S = 1.0
"""How long the end waits for a file that is being written."""


class LiveModel:
    """Works on top of the same session as the commands, and tells what the filter of `output`
    lets through.

    `path` is a saved report or facts file to show instead of examining this machine. Without a
    `session` one is made once the application is shown. `others` are further targets, examined one
    after the other behind the first. With `options.calibrate` a calibration follows the first
    examination of all.
    """

    def __init__(
        self,
        options: Options,
        output: Output,
        *,
        path: str | None = None,
        others: Sequence[Options] = (),
        session: Session | None = None,
    ) -> None:
        self._options = options
        self._others = tuple(others)
        self._examined: dict[str, ExaminedTarget] = {}
        self._output = output
        self._path = path
        self._jobs = Jobs(WorkEnded())
        self._readings = Jobs(ReadingEnded())
        self._predictions = Jobs()
        self._comparisons = Jobs()
        self._behind = Jobs()
        self._saves: list[threading.Thread] = []
        self._session = session
        self._session_lock = threading.Lock()
        self._snapshot = Snapshot()
        self._watch: Watch | None = None

    def start(self, listener: Listener) -> None:
        self._listener = listener
        path = self._path
        for one in (self._options, *self._others) if self._others else ():
            listener(self._row("waiting", one, asked=True))
        if path is None:
            self._jobs.start("examination", self._first_examination, listener)
        else:
            self._jobs.start("reading", lambda job: self._show(job, path), listener)

    def gpus(self) -> tuple[str, ...]:
        if self._session is None:
            return ()
        names = tuple(gpu.model for gpu in self._session.knowledge.gpus)
        usual = tuple(name for name in DEFAULT_WHAT_IF if name in names)
        return (*usual, *(name for name in names if name not in usual))

    def rerun(self, checks: tuple[str, ...] | None = None) -> None:
        if self._path is not None:
            self.open(self._path)
            return
        self._readings.drop()
        self._jobs.start("examination", lambda job: self._examine(job, checks), self._listener)

    def switch_target(self, path: str) -> None:
        python = os.path.expanduser(path)
        before = self._options, self._path, self._snapshot
        self._readings.drop()
        self._jobs.drop()
        if self._path is not None or python != self._options.python:
            self._snapshot = Snapshot()
        self._path, self._options = None, replace(self._options, python=python)

        def examine(job: Job) -> None:
            try:
                self._examine(job)
            except BadInput as refusal:
                job.tell(Failed(message=str(refusal)))
                self._return_to(job, *before)

        self._jobs.start("examination", examine, self._listener)

    def _return_to(self, job: Job, options: Options, path: str | None, snapshot: Snapshot) -> None:
        """Show again what was shown before a target that is refused."""

        def change() -> None:
            self._options, self._path = options, path

        job.commit(change)
        if snapshot.items():
            self._settle(job, snapshot, path=path)
        elif path is None:
            self._examine(job)
        else:
            self._show(job, path)

    def show(self, key: str) -> None:
        kept = self._examined.get(key)
        if kept is None:
            return

        def work(job: Job) -> None:
            def change() -> None:
                self._options, self._path = kept.options, kept.path

            job.commit(change)
            job.tell(ExaminationStarted(what=self._what()))
            self._settle(job, kept.snapshot, path=kept.path)

        self._readings.drop()
        self._jobs.start("showing", work, self._listener)

    def find_targets(self) -> None:
        def work() -> None:
            here = context_of(Children(), cwd=_working_folder())
            found = targets_of_machine(here, sys.executable)
            self._listener(TargetsFound(targets=found))

        run_aside("targets", work, self._listener)

    def calibrate(self) -> None:
        if self._path is not None:
            self._listener(Failed(message="a recorded machine cannot be measured"))
        elif not can_be_measured(self._snapshot):
            self._listener(CalibrationEnded(reason="torch does not work in the target"))
        else:
            self._readings.drop()
            self._jobs.start("calibration", self._calibrate, self._listener)

    def stop(self) -> None:
        self._jobs.stop()

    def predict(self, gpu: str) -> None:
        def work(job: Job) -> None:
            knowledge = self._ready_session().knowledge
            job.tell(prediction(gpu, self._snapshot.value(Calibration), knowledge))

        self._predictions.start("prediction", work, self._listener)

    def compare(self) -> None:
        def work(job: Job) -> None:
            knowledge = self._ready_session().knowledge
            measured = self._snapshot.value(Calibration)
            job.tell(GpusCompared(gpus=forecasts(self.gpus(), measured, knowledge)))

        self._comparisons.start("comparison", work, self._listener)

    def watch(self, *, on: bool) -> None:
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        if on:
            self._watch = Watch(
                lambda: signature(self._snapshot), lambda: self._listener(EnvironmentChanged())
            )
        self._listener(WatchTurned(on=on))

    def page(self, code: str) -> str | None:
        loaded = self._session.loaded if self._session else None
        disease = find_code(code, loaded) if loaded else None
        if loaded is None or disease is None:
            return None
        try:
            return find_page(disease, loaded)
        except (OSError, UnicodeDecodeError):
            return None

    def find_files(self) -> None:
        def work() -> None:
            self._listener(FilesFound(files=saved_files(Path())))

        run_aside("files", work, self._listener)

    def open(self, path: str) -> None:
        def read(job: Job) -> None:
            job.tell(ReadingStarted(path=path))
            snapshot = self._read(path)
            show = partial(self._show, path=path, snapshot=snapshot)
            job.commit(lambda: self._jobs.start("showing", show, self._listener))

        self._readings.start("reading", read, self._listener)

    def save(self, kind: str, path: str, report: Report) -> None:
        def work() -> None:
            write_text(os.path.expanduser(path), document_of(kind, report))
            self._listener(Saved(path=path))

        self._saves = [save for save in self._saves if save.is_alive()]
        self._saves.append(run_aside("saving", work, self._listener))

    def close(self) -> None:
        if self._watch is not None:
            self._watch.end()
        jobs = (self._jobs, self._behind, self._readings, self._predictions, self._comparisons)
        for one in jobs:
            one.close()
        deadline = time.monotonic() + SAVING_S
        while self._saves:
            self._saves.pop().join(timeout=max(0.0, deadline - time.monotonic()))

    def _ready_session(self) -> Session:
        with self._session_lock:
            if self._session is None:
                self._session = Session()
            return self._session

    def _read(self, path: str) -> Snapshot:
        return self._ready_session().read(os.path.expanduser(path))

    def _show(self, job: Job, path: str, snapshot: Snapshot | None = None) -> None:
        job.tell(ExaminationStarted(what=f"reading {path}"))
        self._settle(job, self._read(path) if snapshot is None else snapshot, path=path)

    def _first_examination(self, job: Job) -> None:
        if self._others:
            job.tell(self._row("looking", self._options, is_shown=True))
        try:
            self._examine(job)
        except BadInput as refusal:
            job.tell(self._row("refused", self._options, reason=str(refusal)))
            if not self._others:
                raise
        if self._others:
            self._behind.start("other targets", self._examine_others, self._listener)
        elif self._options.calibrate:
            self._calibrate_unasked(job)

    def _calibrate_unasked(self, job: Job) -> None:
        if not self._options.static and can_be_measured(self._snapshot) and not job.stopped:
            self._calibrate(job)

    def _examine_others(self, job: Job) -> None:
        """One after the other: they share the machine, and its GPUs."""
        for options in self._others:
            if not job.stopped and key_of(options, None) not in self._examined:
                self._examine_behind(job, options)
        if self._options.calibrate and not job.stopped:
            self._jobs.start("calibration", self._calibrate_unasked, self._listener)

    def _examine_behind(self, job: Job, options: Options) -> None:
        """A target that is not shown meanwhile."""
        job.tell(self._row("looking", options))
        session = self._ready_session()
        try:
            search = TargetSearch(options, job.next_children())
            snapshot = session.observe(options, search=search)
        except BadInput as refusal:
            job.tell(self._row("refused", options, reason=str(refusal)))
            return
        if job.stopped:
            return
        report = self._output.safe(session.diagnose(snapshot, options))
        kept = ExaminedTarget(options=options, path=None, snapshot=snapshot)

        def keep() -> None:
            self._examined[kept.key] = kept

        job.commit(keep, self._row("done", options, report=report))
        if not self._snapshot.items():
            # Those before it were refused, and there must be something to see.
            self.show(kept.key)

    def _examine(self, job: Job, checks: tuple[str, ...] | None = None) -> None:
        """Look at what these checks need, and keep the other facts; at everything without any."""
        job.tell(ExaminationStarted(what=self._what()))
        session, known = self._ready_session(), self._snapshot
        whole = not checks or not known.items()
        loaded = session.loaded if whole else only_for(session.loaded, checks or ())

        def beside(found: Snapshot) -> Snapshot:
            if whole:
                return with_calibration_of(known, found)
            return known.with_facts(dict(found.items()))

        with PartialReports(
            lambda found: self._report(beside(found)),
            lambda report: job.tell(ReportReady(report=report, final=False)),
        ) as reports:
            found = session.observe(
                self._options,
                listener=Work(probe=lambda event: job.tell(self._safe_event(event))),
                search=TargetSearch(self._options, job.next_children()),
                on_snapshot=reports.take,
                loaded=loaded,
            )
        if not job.stopped:
            self._settle(job, beside(found))

    def _row(self, phase: Phase, options: Options, **told: Any) -> TargetChanged:
        return row_of(self._output.safe_line, phase, options, **told)

    def _what(self) -> str:
        return f"examining {self._options.python}" if self._options.python else "examining"

    def _settle(
        self, job: Job, snapshot: Snapshot, *before: Event, path: str | None = None
    ) -> None:
        """This is what is known now."""
        report = self._report(snapshot)

        kept = ExaminedTarget(options=self._options, path=path, snapshot=snapshot)
        row = self._row("done", self._options, report=report, path=path, is_shown=True)

        def change() -> None:
            self._snapshot, self._path = snapshot, path
            self._examined[kept.key] = kept

        ready = ReportReady(report=report, final=True, source=path or "")
        job.commit(change, *before, ready, row)

    def _report(self, snapshot: Snapshot) -> Report:
        """The report with its texts made safe, since all that is shown may be saved."""
        return self._output.safe(self._ready_session().diagnose(snapshot, self._options))

    def _safe_event(self, event: ProbeEvent) -> ProbeChanged:
        return ProbeChanged(event=replace(event, detail=self._output.safe_text(event.detail)))

    def _calibrate(self, job: Job) -> None:
        job.tell(CalibrationStarted())
        measured = self._ready_session().measure(
            self._snapshot,
            # Who asks for it wants it also where the examination executed nothing.
            replace(self._options, static=False),
            listener=Work(
                measurement=lambda progress: job.tell(CalibrationProgressed(progress=progress))
            ),
            children=job.next_children(),
        )
        if isinstance(measured, Unknown):
            stopped = "stopped before anything was measured"
            job.tell(CalibrationEnded(reason=stopped if job.stopped else measured.detail))
            return
        fact = self._kept(measured, stopped=job.stopped)
        reason = "" if fact.value.complete else fact.value.incomplete_because
        snapshot = self._snapshot.with_facts({Calibration: fact})
        self._settle(job, snapshot, CalibrationEnded(reason=reason))

    @staticmethod
    def _kept(measured: Observed[Calibration], *, stopped: bool) -> Observed[Calibration]:
        if not stopped:
            return measured
        value = msgspec.structs.replace(
            measured.value,
            complete=False,
            interrupted=True,
            incomplete_because="stopped by the user",
        )
        return msgspec.structs.replace(measured, value=value)


def _working_folder() -> str:
    """Empty if it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""
