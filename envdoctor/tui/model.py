"""The live model: examines this machine, or reads a file, and tells the application."""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from envdoctor.calibration.assess import DEFAULT_WHAT_IF, assess, predict_model
from envdoctor.calibration.results import Calibration, Conditions, Settings
from envdoctor.calibration.runner import calibrate
from envdoctor.collect import ProbeEvent, collect
from envdoctor.commands.reports import options_for, report_on
from envdoctor.commands.session import Session, user_redactor
from envdoctor.core_facts import Interpreter, TorchRuntime
from envdoctor.documents import facts_document, write_text
from envdoctor.facts import Observed, Snapshot, Unknown
from envdoctor.pages import BadPage, find_page
from envdoctor.redact import redact_values, without_controls
from envdoctor.render.json import render_json
from envdoctor.render.markdown import render_markdown
from envdoctor.report import Report
from envdoctor.tui.contract import (
    CalibrationEnded,
    CalibrationProgressed,
    CalibrationStarted,
    ExaminationStarted,
    Failed,
    Listener,
    Predicted,
    ProbeChanged,
    ReportReady,
    Saved,
    TargetsFound,
)
from envdoctor.tui.jobs import Job, Jobs, run_aside
from envdoctor.tui.partial import PartialReports
from envdoctor.tui.rerun import only_for
from envdoctor.tui.targets import targets_of_machine


class LiveModel:
    """Works on top of the same session as the commands; `options` are those of `envdoctor`.

    `path` is a saved report or facts file to show instead of examining this machine. Without a
    `session` one is made once the application is shown. With `measure_first` a calibration
    follows the first examination.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        path: str | None = None,
        session: Session | None = None,
        measure_first: bool = False,
    ) -> None:
        self._given = dict(options)
        self._options = options_for(next(iter(options["pythons"]), None), self._given)
        self._path = path
        self._measure_first = measure_first
        self._jobs = Jobs()
        self._session = session
        self._session_lock = threading.Lock()
        self._snapshot = Snapshot()
        self._redact = user_redactor()

    def start(self, listener: Listener) -> None:
        self._listener = listener
        if self._path is not None:
            self.open(self._path)
        else:
            self._jobs.start("examination", self._first_examination, listener)

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
        self._jobs.start("examination", lambda job: self._examine(job, checks), self._listener)

    def switch_target(self, path: str) -> None:
        self._path = None
        self._options = replace(self._options, python=os.path.expanduser(path))
        self._jobs.start("examination", self._examine, self._listener)

    def find_targets(self) -> None:
        def work() -> None:
            found = targets_of_machine(self._options.env, os.getcwd(), sys.executable)
            self._listener(TargetsFound(targets=found))

        run_aside("targets", work, self._listener)

    def calibrate(self) -> None:
        if self._path is not None:
            self._listener(Failed(message="a recorded machine cannot be measured"))
            return
        self._jobs.start("calibration", self._calibrate, self._listener)

    def stop(self) -> None:
        self._jobs.stop()

    def predict(self, gpu: str) -> None:
        def work() -> None:
            self._listener(self._prediction(gpu))

        run_aside("prediction", work, self._listener)

    def page(self, code: str) -> str | None:
        if self._session is None:
            return None
        try:
            page = find_page(code, self._session.loaded)
        except (BadPage, OSError):
            return None
        return None if page is None else page.body

    def open(self, path: str) -> None:
        def work(job: Job) -> None:
            job.tell(ExaminationStarted(what=f"reading {path}"))
            self._snapshot = self._ready_session().read(os.path.expanduser(path))
            self._path = path
            self._publish(job, self._snapshot, final=True)

        self._jobs.start("reading", work, self._listener)

    def save(self, kind: str, path: str) -> None:
        def work() -> None:
            write_text(os.path.expanduser(path), self._document(kind))
            self._listener(Saved(path=path))

        run_aside("saving", work, self._listener)

    def close(self) -> None:
        self._jobs.close()

    def _ready_session(self) -> Session:
        with self._session_lock:
            if self._session is None:
                self._session = Session()
            return self._session

    def _first_examination(self, job: Job) -> None:
        self._examine(job)
        if self._measure_first and not self._options.static and self._measurable() is not None:
            self._calibrate(job)

    def _measurable(self) -> str | None:
        """The interpreter whose torch can be measured; None where torch does not work."""
        interpreter = self._snapshot.value(Interpreter)
        works = interpreter is not None and self._snapshot.value(TorchRuntime) is not None
        return interpreter.executable if interpreter is not None and works else None

    def _examine(self, job: Job, checks: tuple[str, ...] | None = None) -> None:
        job.tell(ExaminationStarted(what=self._what()))
        session = self._ready_session()
        before = self._snapshot if checks is not None else Snapshot()
        loaded = session.loaded if checks is None else only_for(session.loaded, checks)
        with PartialReports(
            lambda known: self._publish(job, before.with_facts(dict(known.items())), final=False)
        ) as partial:
            snapshot = collect(
                self._options,
                loaded,
                children=job.children,
                services=session.services,
                on_event=lambda event: job.tell(self._safe_event(event)),
                on_snapshot=partial.take,
            )
        kept = before.with_facts(dict(snapshot.items()))
        if not job.stopped:
            self._snapshot = kept
            self._publish(job, kept, final=True)

    def _what(self) -> str:
        return f"examining {self._options.python}" if self._options.python else "examining"

    def _publish(self, job: Job, snapshot: Snapshot, *, final: bool) -> None:
        source = self._path or ""
        job.tell(ReportReady(report=self._report(snapshot), final=final, source=source))

    def _report(self, snapshot: Snapshot) -> Report:
        """The report with its texts made safe, since all that is shown may be saved."""
        report = report_on(snapshot, self._ready_session(), self._given)
        return msgspec.convert(redact_values(msgspec.to_builtins(report), self._safe), Report)

    def _safe(self, text: str) -> str:
        """A text of the patient's as it may be shown on a terminal."""
        return self._redact(without_controls(text))

    def _safe_event(self, event: ProbeEvent) -> ProbeChanged:
        return ProbeChanged(event=replace(event, detail=self._safe(event.detail)))

    def _calibrate(self, job: Job) -> None:
        python = self._measurable()
        if python is None:
            job.tell(CalibrationEnded(reason="torch does not work in the target"))
            return
        job.tell(CalibrationStarted())
        measured = calibrate(
            python,
            Settings(budget_s=self._given.get("budget_s")),
            children=job.children,
            on_progress=lambda progress: job.tell(CalibrationProgressed(progress=progress)),
            knowledge=self._ready_session().knowledge,
        )
        if isinstance(measured, Unknown):
            stopped = "stopped before anything was measured"
            job.tell(CalibrationEnded(reason=stopped if job.stopped else measured.detail))
            return
        fact = self._kept(measured, stopped=job.stopped)
        snapshot = self._snapshot.with_facts({Calibration: fact})
        report = self._report(snapshot)
        self._snapshot = snapshot
        job.tell(
            CalibrationEnded(reason="" if fact.value.complete else fact.value.incomplete_because)
        )
        job.tell(ReportReady(report=report, final=True))

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

    def _prediction(self, gpu: str) -> Predicted:
        knowledge = self._ready_session().knowledge
        model = knowledge.gpu(gpu)
        if model is None:
            return Predicted(gpu=gpu, calibration=None, reason=f"`{gpu}` is not known")
        measured = self._snapshot.value(Calibration)
        if measured is None:
            empty = Calibration(
                runs=(), settings=Settings(), conditions=Conditions(started_at=""), complete=False
            )
            rates = predict_model(model, knowledge)
            predicted = msgspec.structs.replace(empty, expected=rates)
            reason = "measure first (`m`) to see the speedup against this machine"
            return Predicted(gpu=gpu, calibration=predicted, reason=reason)
        settings = msgspec.structs.replace(measured.settings, what_if=(gpu,))
        asked = msgspec.structs.replace(measured, settings=settings)
        return Predicted(gpu=gpu, calibration=assess(asked, knowledge))

    def _document(self, kind: str) -> str:
        if kind == "facts":
            return render_json(facts_document(self._snapshot), self._redact)
        report = self._report(self._snapshot)
        makers: dict[str, Callable[[Report], str]] = {
            "json": render_json,
            "markdown": render_markdown,
        }
        return makers[kind](report)
