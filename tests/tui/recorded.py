"""A model that plays recorded reports, and remembers what was asked of it."""

from dataclasses import dataclass, field

from envdoctor.events import ProbeEvent
from envdoctor.facts.python import Candidate
from envdoctor.report import Report
from envdoctor.tui.contract import (
    CalibrationEnded,
    CalibrationStarted,
    ExaminationStarted,
    FilesFound,
    GpuForecast,
    GpusCompared,
    Listener,
    Predicted,
    ProbeChanged,
    ReportReady,
    Saved,
    TargetsFound,
    WatchTurned,
)
from tests.tui.machines import spread

PAGE = """## What it means

The page of a disease, with `code` and

- a list

## Fix

    pip install something
"""


@dataclass
class RecordedModel:
    """Shows `report` at once; every wish is kept in `asked`."""

    report: Report | None
    after_rerun: Report | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)
    closed: bool = False
    known_gpus: tuple[str, ...] = ("A100-SXM4-80GB", "H100-SXM5", "L4")
    predicted: Predicted | None = None
    forecasts: tuple[GpuForecast, ...] = (
        GpuForecast(
            gpu="A100-SXM4-80GB", memory_gb=80, precision="fp16", images_per_s=spread(2500.0)
        ),
        GpuForecast(
            gpu="H100-SXM5", memory_gb=80, precision="bf16", images_per_s=spread(4700.0), ratio=2.3
        ),
        GpuForecast(gpu="L4", memory_gb=24),
    )
    files: tuple[str, ...] = ("facts.json", "report.json")
    targets: tuple[Candidate, ...] = (
        Candidate(path="~/train/.venv/bin/python", origin="VIRTUAL_ENV", torch_on_disk=True),
        Candidate(path="/usr/bin/python3", origin="`python3` on PATH", torch_on_disk=False),
    )

    def start(self, listener: Listener) -> None:
        self.tell = listener
        listener(ExaminationStarted(what="~/train/.venv/bin/python"))
        for name in ("driver", "import torch"):
            listener(ProbeChanged(event=ProbeEvent(probe=name, state="started")))
        if self.report is not None:
            for name in ("driver", "import torch"):
                event = ProbeEvent(probe=name, state="finished", seconds=0.5)
                listener(ProbeChanged(event=event))
            listener(ReportReady(report=self.report, final=True))

    def gpus(self) -> tuple[str, ...]:
        return self.known_gpus

    def rerun(self, checks: tuple[str, ...] | None = None) -> None:
        self.asked.append(("rerun", checks))
        if self.after_rerun is not None:
            self.tell(ReportReady(report=self.after_rerun, final=True))

    def switch_target(self, path: str) -> None:
        self.asked.append(("switch_target", path))

    def show(self, key: str) -> None:
        self.asked.append(("show", key))

    def find_targets(self) -> None:
        self.asked.append(("find_targets",))
        self.tell(TargetsFound(targets=self.targets))

    def calibrate(self) -> None:
        self.asked.append(("calibrate",))
        self.tell(CalibrationStarted())

    def stop(self) -> None:
        self.asked.append(("stop",))
        self.tell(CalibrationEnded(reason="stopped"))

    def predict(self, gpu: str) -> None:
        self.asked.append(("predict", gpu))
        reason = "measure first (`m`) to see the speedup against this machine"
        self.tell(self.predicted or Predicted(gpu=gpu, assessment=None, reason=reason))

    def compare(self) -> None:
        self.tell(GpusCompared(gpus=self.forecasts))

    def watch(self, *, on: bool) -> None:
        self.asked.append(("watch", on))
        self.tell(WatchTurned(on=on))

    def page(self, code: str) -> str | None:
        self.asked.append(("page", code))
        return f"# {code}\n\n{PAGE}"

    def find_files(self) -> None:
        self.asked.append(("find_files",))
        self.tell(FilesFound(files=self.files))

    def open(self, path: str) -> None:
        self.asked.append(("open", path))

    def save(self, kind: str, path: str, report: Report) -> None:
        self.asked.append(("save", kind, path))
        self.tell(Saved(path=path))

    def close(self) -> None:
        self.closed = True
