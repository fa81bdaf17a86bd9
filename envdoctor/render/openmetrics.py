"""OpenMetrics for a textfile collector. All are gauges, which the older format has as well: the
collector of node-exporter reads that one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from envdoctor.facts.calibration import CalibrationRun
from envdoctor.findings import Severity, Verdict
from envdoctor.formats import Look
from envdoctor.record import Record
from envdoctor.report import Report, ReportSet, Stack, reports_in

Labels = dict[str, str]
Sample = tuple[Labels, float]


class Metric(Record):
    """A metric and its samples: labels and a value."""

    name: str
    help: str
    samples: tuple[Sample, ...]


def render(document: Report | ReportSet, look: Look) -> str:
    """The exposition, which ends with `# EOF`. A sample bears the path of its target."""
    reports = reports_in(document)
    merged: dict[str, Metric] = {}
    for report in reports:
        for metric in _metrics(report):
            before = merged.get(metric.name)
            samples = (*(before.samples if before else ()), *_of_target(metric.samples, report))
            merged[metric.name] = Metric(name=metric.name, help=metric.help, samples=samples)
    run = Metric(
        name="exit_code",
        help="The exit code of the last run that wrote this.",
        samples=(({}, document.exit_code),),
    )
    lines = [line for metric in (run, *merged.values()) for line in _exposed(metric)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _of_target(samples: Iterable[Sample], report: Report) -> Iterator[Sample]:
    target = report.target.path if report.target else ""
    for labels, value in samples:
        yield {"target": target, **labels}, value


def _exposed(metric: Metric) -> Iterator[str]:
    samples = dict.fromkeys((tuple(labels.items()), value) for labels, value in metric.samples)
    if not samples:
        return
    name = f"envdoctor_{metric.name}"
    yield f"# HELP {name} {metric.help}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        given = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        yield f"{name}{{{given}}} {value:.17g}" if given else f"{name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _metrics(report: Report) -> Iterator[Metric]:
    yield from _of_the_diagnosis(report)
    yield Metric(
        name="stack_info",
        help="Versions of what torch runs on.",
        samples=((_versions(report.stack), 1),),
    )
    yield Metric(
        name="gpu_memory_bytes",
        help="The memory of a GPU.",
        samples=tuple(
            ({"gpu": str(number), "name": gpu.name}, gpu.memory_bytes)
            for number, gpu in report.stack.numbered
            if gpu.memory_bytes
        ),
    )
    yield from _of_the_machine(report)
    yield from _of_the_calibration(report)


def _of_the_diagnosis(report: Report) -> Iterator[Metric]:
    counts = Counter(one.severity for one in report.findings)
    yield Metric(
        name="verdict",
        help="1 for the verdict that was given.",
        samples=tuple(({"verdict": one.value}, one is report.verdict) for one in Verdict),
    )
    yield Metric(
        name="fault",
        help="1 for where the cause lies.",
        samples=tuple(
            ({"fault": one}, report.fault in (one, "both")) for one in ("machine", "environment")
        ),
    )
    yield Metric(
        name="findings",
        help="How many findings there are.",
        samples=tuple(({"severity": one.value}, counts[one]) for one in Severity),
    )
    yield Metric(
        name="finding",
        help="1 for each finding.",
        samples=tuple(
            (
                {
                    "id": one.id,
                    "code": one.code,
                    "name": one.name,
                    "severity": one.severity.value,
                    "fault": one.fault,
                },
                1,
            )
            for one in report.findings
        ),
    )
    yield Metric(
        name="outcome_works",
        help="1 for what was seen to work, 0 for what fails; none for what was not seen.",
        samples=tuple(
            ({"outcome": one.id, "wanted": one.wanted}, one.state == "works")
            for one in report.outcomes
            if one.state != "unseen"
        ),
    )
    yield Metric(
        name="last_run_timestamp_seconds",
        help="When this was looked at.",
        samples=(({}, _seconds(report.created_at)),),
    )


def _seconds(moment: str) -> float:
    try:
        return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def _versions(stack: Stack) -> Labels:
    return {name: value or "" for name, value in stack.versions.items()}


def _of_the_machine(report: Report) -> Iterator[Metric]:
    """Sizes and states that are facts of the report."""
    host, limits = _fact(report, "Host"), _fact(report, "Limits")
    for name, help_, value in (
        ("memory_bytes", "The memory of the machine.", host.get("memory_bytes")),
        ("memory_available_bytes", "What of it is free.", host.get("memory_available_bytes")),
        ("shm_free_bytes", "What is free in /dev/shm.", limits.get("shm_free_bytes")),
    ):
        if value is not None:
            yield Metric(name=name, help=help_, samples=(({}, value),))
    gpus = _fact(report, "Gpus").get("devices", ())
    yield Metric(
        name="gpu_memory_used_bytes",
        help="The memory of a GPU that is in use.",
        samples=tuple(
            ({"gpu": str(one["index"])}, one["memory_used_bytes"])
            for one in gpus
            if one.get("memory_used_bytes") is not None
        ),
    )
    yield Metric(
        name="gpu_throttled",
        help="1 for a reason for which a GPU lowers its clocks now.",
        samples=tuple(
            ({"gpu": str(one["index"]), "reason": reason}, 1)
            for one in gpus
            for reason in one.get("throttle_reasons", ())
        ),
    )


def _fact(report: Report, name: str) -> dict[str, Any]:
    """What was observed; nothing where it is not known."""
    value = report.facts.get(name, {}).get("value", {})
    return value if isinstance(value, dict) else {}


def _labels(run: CalibrationRun) -> Labels:
    """What distinguishes a run from the others."""
    shape = (
        {"memory_format": run.memory_format}
        if run.memory_format
        else {"sequence_length": str(run.sequence_length)}
    )
    return {
        "device": run.device,
        "precision": run.precision,
        **shape,
        "compiled": str(run.compiled).lower(),
        "batch_size": str(run.batch_size),
    }


def _of_the_calibration(report: Report) -> Iterator[Metric]:
    runs = report.calibration.figures if report.calibration else ()
    labelled = [(_labels(one), one) for one in runs]
    yield Metric(
        name="training_images_per_second",
        help="ResNet-50 training, 224x224, the median.",
        samples=tuple(
            (labels, one.rate.median) for labels, one in labelled if one.unit == "images/s"
        ),
    )
    yield Metric(
        name="training_tokens_per_second",
        help="GPT-2 124M training, the median.",
        samples=tuple(
            (labels, one.rate.median) for labels, one in labelled if one.unit == "tokens/s"
        ),
    )
    yield Metric(
        name="training_peak_memory_bytes",
        help="The most memory that this took.",
        samples=tuple(
            (labels, one.peak_memory_bytes)
            for labels, one in labelled
            if one.peak_memory_bytes is not None
        ),
    )
    yield Metric(
        name="training_throttled_ratio",
        help="The share of the time in which a GPU lowered its clocks for a reason.",
        samples=tuple(
            ({**labels, "reason": reason}, share)
            for labels, one in labelled
            if one.telemetry is not None
            for reason, share in one.telemetry.throttle_shares.items()
        ),
    )
