"""Between the application and whatever does the work: requests down, events up."""

from collections.abc import Callable
from typing import Literal, Protocol

from envdoctor.calibration.progress import CalibrationProgress
from envdoctor.events import ProbeEvent
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Spread
from envdoctor.facts.python import Candidate
from envdoctor.record import Record
from envdoctor.report import Report


class ExaminationStarted(Record):
    """An examination begins, in place of all other work. `what` is said to the user, and is the
    same as long as the same is examined: "examining ~/venv/bin/python"."""

    what: str


class ProbeChanged(Record):
    """One probe began or ended."""

    event: ProbeEvent


class ReportReady(Record):
    """A report; `final` is false while facts are still missing. `source` is the file it was read
    from, empty for this machine."""

    report: Report
    final: bool
    source: str = ""


class CalibrationStarted(Record):
    """A calibration begins."""


class CalibrationProgressed(Record):
    """What is measured now."""

    progress: CalibrationProgress


class CalibrationEnded(Record):
    """The calibration is over; the report that holds it follows. `reason` where it has none."""

    reason: str = ""


class WorkEnded(Record):
    """The examination or calibration is over, whatever came of it: nothing goes on any more."""


class ReadingStarted(Record):
    """A file is read; what is shown stays until that has succeeded."""

    path: str


class ReadingEnded(Record):
    """The file was read, or could not be."""


class FilesFound(Record):
    """The names of files in the working folder that may be reports or facts, the newest first."""

    files: tuple[str, ...]


class TargetsFound(Record):
    """The interpreters of this machine, in the order in which they are considered."""

    targets: tuple[Candidate, ...]


Phase = Literal["waiting", "looking", "done", "refused"]


class TargetState(Record):
    """One target of this session, or one recorded machine.

    `key` is its own for the whole session; `name` what the user called it; `asked` whether the
    command line named it. It is `waiting`, `looking`, `done` with a report, or `refused` with a
    reason.
    """

    key: str
    name: str
    phase: Phase
    report: Report | None = None
    reason: str = ""
    asked: bool = False

    @property
    def place(self) -> str | None:
        """The interpreter that it turned out to be, of a live target that was examined."""
        live = self.report is not None and self.key.startswith("target ")
        return self.report.target.path if live and self.report and self.report.target else None


class TargetChanged(Record):
    """What is known of a target now; `is_shown` where it is the one that all tabs show."""

    target: TargetState
    is_shown: bool = False


class Predicted(Record):
    """What another GPU would bring here; null where nothing can be predicted, then `reason` says
    why."""

    gpu: str
    assessment: Assessment | None
    reason: str = ""


class GpuForecast(Record):
    """What a GPU should reach in its fastest precision, in images/s; `ratio` is how many times as
    fast as the fastest run measured here that is, null where nothing was measured."""

    gpu: str
    memory_gb: float | None = None
    precision: str = ""
    images_per_s: Spread | None = None
    ratio: float | None = None


class GpusCompared(Record):
    """Every GPU that can be predicted, the usual ones first."""

    gpus: tuple[GpuForecast, ...]


class WatchTurned(Record):
    """From now on a change of the environment is told, or is not told any more."""

    on: bool


class EnvironmentChanged(Record):
    """Packages, the interpreter or the driver are not what they were a moment ago."""


class Saved(Record):
    """A file was written."""

    path: str


class Failed(Record):
    """Something asked for could not be done; the message names it and the remedy."""

    message: str


Event = (
    ExaminationStarted
    | ProbeChanged
    | ReportReady
    | CalibrationStarted
    | CalibrationProgressed
    | CalibrationEnded
    | WorkEnded
    | ReadingStarted
    | ReadingEnded
    | FilesFound
    | TargetsFound
    | TargetChanged
    | Predicted
    | GpusCompared
    | WatchTurned
    | EnvironmentChanged
    | Saved
    | Failed
)
Listener = Callable[[Event], None]


class Model(Protocol):
    """Does the work. No method blocks or raises: what comes of it is told to the listener,
    from any thread."""

    def start(self, listener: Listener) -> None:
        """Begin the first examination."""

    def gpus(self) -> tuple[str, ...]:
        """The GPUs that can be predicted, the usual ones first; none until they are known."""

    def rerun(self, checks: tuple[str, ...] | None = None) -> None:
        """Look again: at everything, or at what these checks need."""

    def switch_target(self, path: str) -> None:
        """Examine another interpreter, venv folder or conda prefix."""

    def show(self, key: str) -> None:
        """Show a target again that was examined in this session, as it was then."""

    def find_targets(self) -> None:
        """List the interpreters of this machine."""

    def calibrate(self) -> None:
        """Measure the training speed of the present target."""

    def stop(self) -> None:
        """End the calibration; what it has is kept."""

    def predict(self, gpu: str) -> None:
        """Predict what a GPU would bring here."""

    def compare(self) -> None:
        """Predict all GPUs, for the table."""

    def watch(self, *, on: bool) -> None:
        """Tell when the environment changes, or stop telling it."""

    def page(self, code: str) -> str | None:
        """The page of a disease in Markdown; null if there is none."""

    def find_files(self) -> None:
        """List the files that may be saved reports."""

    def open(self, path: str) -> None:
        """Show a saved report or facts file, once it is read."""

    def save(self, kind: str, path: str, report: Report) -> None:
        """Write a report: `kind` is json, markdown or facts."""

    def close(self) -> None:
        """End every child, for good. A file that is being written gets a second to be whole."""
