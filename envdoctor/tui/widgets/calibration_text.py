"""A calibration as tables: bars, what should be reached, speedups in three forms, epochs."""

from collections.abc import Iterable, Iterator

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from envdoctor.calibration.runs import extra, label, main_runs
from envdoctor.calibration.speedup import TOO_LARGE, figure, in_digits, is_unclear
from envdoctor.facts.assessment import Assessment, Epoch, ExpectedRate, FeedRate, Speedup
from envdoctor.facts.calibration import (
    NAMES,
    Calibration,
    CalibrationRun,
    InputPipeline,
    Spread,
    Telemetry,
)
from envdoctor.render.calibration import VERDICTS, first_steps
from envdoctor.tui.words import moment, rich_style


def sections(
    calibration: Calibration, assessment: Assessment
) -> Iterator[tuple[str, RenderableType]]:
    """The parts that have something to say, each with its title."""
    if calibration.runs:
        title = f"{NAMES[calibration.settings.model]} training"
        yield title, _rates_of(calibration, assessment)
    if first := list(first_steps(calibration.runs)):
        yield "first steps", Text("\n".join(f"{name}: {said}" for name, said in first))
    if assessment.speedups:
        yield "speedups", speedup_table(assessment.speedups)
    if assessment.epochs:
        yield "ImageNet-1k epoch", epochs_text(assessment.epochs)
    if calibration.pipeline is not None:
        pipeline = pipeline_table(calibration.pipeline, calibration.runs, assessment.feeds)
        yield "input pipeline", pipeline
    gpus = [run for run in calibration.runs if run.telemetry is not None]
    if gpus:
        yield "GPUs while they were measured", telemetry_table(gpus)
    if calibration.left_out:
        yield "left out", _left_out(calibration)


def _rates_of(calibration: Calibration, assessment: Assessment) -> RenderableType:
    table = rates_table(calibration.runs, assessment.expected)
    return Group(table, assessment.no_reference) if assessment.no_reference else table


def heading(calibration: Calibration) -> str:
    """When, with what, and whether it is whole."""
    conditions = calibration.conditions
    torch = f"torch {conditions.torch_version}" if conditions.torch_version else ""
    parts = [text for text in (moment(conditions.started_at), torch) if text]
    if not calibration.complete:
        parts.append(f"PARTIAL: {calibration.incomplete_because}")
    return " · ".join(parts)


def rates_table(runs: Iterable[CalibrationRun], rates: Iterable[ExpectedRate]) -> Table:
    """One line for each run, with a bar; below it what the device should reach."""
    runs = tuple(runs)
    main = main_runs(runs)
    expected = {
        (rate.device, rate.precision): rate
        for rate in rates
        if rate.measured_over_expected is not None
    }
    shown = [*(run.rate for run in runs), *(one.images_per_s for one in expected.values())]
    highest = max(rate.high for rate in shown)
    table = _grid(5)
    titles = ("device", "", runs[0].unit, "range", "")
    table.add_row(*(Text(title, "italic") for title in titles))
    for run in runs:
        rate = run.rate
        should = expected.get((run.device, run.precision)) if run in main else None
        table.add_row(
            Text(run.device, "bold"),
            run.precision + extra(run, runs),
            Text(figure(rate.median), "bold"),
            " ".join(filter(None, (_interval(run), _reached(should), _steadiness(run)))),
            _bar(rate.median, highest, _STATE.get(should.verdict if should else "", "$success")),
        )
        if should is not None:
            table.add_row(
                "",
                Text("expected", "italic"),
                in_digits(should.images_per_s.median, should.images_per_s),
                f"{vaguely(should.images_per_s)} {VERDICTS[should.verdict]}",
                _bar(should.images_per_s.median, highest, "$primary"),
            )
    return table


_STATE = {"slower": "$warning", "faster": "$success"}
"""The colour of a bar by what is thought of its rate."""


def _bar(value: float, highest: float, style: str) -> Bar:
    """A bar in a colour of the theme, on its background."""
    return Bar(
        highest,
        0,
        value,
        color=rich_style(style).color or "default",
        bgcolor=rich_style("$background").color or "default",
    )


def _reached(expected: ExpectedRate | None) -> str:
    if expected is None or expected.measured_over_expected is None:
        return ""
    return f"{100 * expected.measured_over_expected:.0f} % of expected"


def _interval(run: CalibrationRun) -> str:
    return "at least" if run.at_least else _range(run.rate)


def _steadiness(run: CalibrationRun) -> str:
    return "" if run.stable or run.at_least else "unstable"


def speedup_table(speedups: Iterable[Speedup]) -> Table:
    """Each speedup as ratio, time saved and throughput gain, which say the same; a large one, and
    one that is no clear difference, as its ratio alone."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row("", *(Text(form, "bold") for form in _FORMS), "")
    for one in speedups:
        ratio = one.ratio
        as_ratio = ratio.median >= TOO_LARGE or is_unclear(ratio)
        table.add_row(
            f"{one.of}\n  against {one.against}",
            Text.assemble((f"{in_digits(ratio.median, ratio)}×", "bold"), f" {vaguely(ratio)}"),
            "" if as_ratio else f"{one.time_saved_pct:.1f} %",
            "" if as_ratio else f"{one.throughput_gain_pct:+,.0f} %",
            Text("prediction", "italic") if one.kind == "predicted" else "",
        )
    return table


_FORMS = ("times as fast", "less time", "throughput")


def epochs_text(epochs: Iterable[Epoch]) -> Text:
    """One line for each device and precision."""
    lines = []
    for epoch in epochs:
        mark = " (prediction)" if epoch.kind == "predicted" else ""
        lines.append(f"{epoch.device} {epoch.precision}{mark}: {epoch.sentence}")
    return Text("\n".join(lines))


def pipeline_table(
    pipeline: InputPipeline, runs: Iterable[CalibrationRun], feeds: Iterable[FeedRate]
) -> Group:
    """What the workers feed, against what each device eats."""
    table = _grid(4)
    feeders = {_feed(rate.workers) for rate in pipeline.rates}
    fed = [(_feed(rate.workers), rate.images_per_s) for rate in pipeline.rates]
    eaten = [(f"{run.device} {run.precision} uses", run.rate) for run in runs]
    highest = max((rate.high for _, rate in (*fed, *eaten)), default=1.0)
    for name, rate in (*fed, *eaten) if fed else ():
        table.add_row(
            name,
            Text(figure(rate.median), "bold"),
            _range(rate),
            _bar(rate.median, highest, "$success" if name in feeders else "$primary"),
        )
    slow = rich_style("bold $text-warning")
    lines = [
        Text(f"{feed.device} {feed.precision}: {feed.sentence}", slow if feed.waits else "")
        for feed in feeds
    ]
    if pipeline.decoder is None:
        lines.append(Text(pipeline.missing))
    return Group(table, *lines)


def _feed(workers: int) -> str:
    return "1 worker feeds" if workers == 1 else f"{workers} workers feed"


def telemetry_table(runs: Iterable[CalibrationRun]) -> Table:
    """Clock, power, temperature and what held the GPU back, run by run."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row("", *(Text(title, "italic") for title in _TELEMETRY))
    runs = tuple(runs)
    for run in runs:
        telemetry = run.telemetry
        if telemetry is not None:
            table.add_row(Text(label(run) + extra(run, runs), "bold"), *_telemetry(telemetry))
    return table


_TELEMETRY = ("clock", "power", "temperature", "held back by")


def _telemetry(telemetry: Telemetry) -> tuple[str, ...]:
    clock = f"{telemetry.sm_clock_mhz.median:.0f} MHz" if telemetry.sm_clock_mhz else ""
    power = f"{telemetry.power_w.median:.0f} W" if telemetry.power_w else ""
    if power and telemetry.power_limit_w:
        power += f" of {telemetry.power_limit_w:.0f} W"
    heat = f"{telemetry.temperature_c} °C" if telemetry.temperature_c is not None else ""
    held = ", ".join(
        f"{name} {100 * part:.0f} %" for name, part in telemetry.throttle_shares.items()
    )
    return clock, power, heat, held


def _left_out(calibration: Calibration) -> Text:
    return Text("\n".join(f"{one.device} {one.what}: {one.reason}" for one in calibration.left_out))


def _grid(columns: int) -> Table:
    """A table whose third last column holds figures, and whose last one holds bars."""
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    for number in range(columns):
        last = number == columns - 1
        figures = number == columns - 3
        table.add_column(justify="right" if figures else "left", ratio=1 if last else None)
    return table


def vaguely(rate: Spread) -> str:
    """The interval of a figure that is not measured, in as many digits as it allows."""
    return f"({in_digits(rate.low, rate)} – {in_digits(rate.high, rate)})"


def _range(rate: Spread) -> str:
    return f"({figure(rate.low)} – {figure(rate.high)})"
