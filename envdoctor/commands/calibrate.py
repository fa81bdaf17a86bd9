"""`envdoctor calibrate`: measure a ResNet-50 training step, and say how fast it should be."""

import os
import sys
from typing import Any

import click

from envdoctor.calibration.baseline import read_baseline
from envdoctor.calibration.runner import calibrate
from envdoctor.commands.errors import BadInput
from envdoctor.commands.gpus import known_gpu
from envdoctor.derived import observed_types_of
from envdoctor.diagnose import diagnose_calibration
from envdoctor.facts import Fact, Known, Observed, Snapshot
from envdoctor.facts.calibration import (
    PRECISIONS,
    Calibration,
    CalibrationBaseline,
    Settings,
)
from envdoctor.facts.documents import BadFacts
from envdoctor.facts.python import Target
from envdoctor.probes.choose import UnusableTarget, choose_target
from envdoctor.probes.context import context_of
from envdoctor.probes.machine import observe_before_measuring
from envdoctor.probes.run import Children
from envdoctor.progress import MeasurementProgress
from envdoctor.render.json import render_json
from envdoctor.render.text import render_calibration_report
from envdoctor.session import Session, emit, user_redactor


@click.command(
    epilog="Exit codes: 0 measured, 2 bad input, 3 nothing could be measured, 130 interrupted "
    "(what was measured until then is printed)."
)
@click.option("--python", metavar="PATH", help="Interpreter, venv folder or conda prefix to use.")
@click.option(
    "--budget",
    "budget_s",
    type=click.FloatRange(min=0.5),
    metavar="SECONDS",
    help="Time for the CPU in all and for each precision of a GPU.  [default: 20 and 10]",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), metavar="N", help="Images in a step.  [measured]"
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Measure only this; repeatable.",
)
@click.option(
    "--devices", multiple=True, metavar="DEVICE", help="cpu, gpu, cuda:0 ...; repeatable."
)
@click.option("--compile", "compile_", is_flag=True, help="Measure torch.compile as well.")
@click.option("--no-ceilings", is_flag=True, help="Leave out the limits of the hardware.")
@click.option("--no-pipeline", is_flag=True, help="Leave out the input pipeline.")
@click.option("--all-reduce", is_flag=True, help="Measure gloo between two CPU processes.")
@click.option("--data", metavar="DIR", help="A folder of images to read and decode.")
@click.option(
    "--training-rate",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="IMAGES/S",
    help="What your own ResNet-50 training reaches here, to be compared.",
)
@click.option("--what-if", multiple=True, metavar="GPU", help="Predict this GPU here; repeatable.")
@click.option("--baseline", metavar="FILE", help="An older result to compare with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--plain", is_flag=True, help="Print text without colour.")
@click.option("-o", "--output", metavar="FILE", help="Write the result to a file (.json: as JSON).")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Measure how fast this machine trains ResNet-50, and say how fast it should be.

    \b
    envdoctor calibrate
    envdoctor calibrate --devices cpu --budget 10
    envdoctor calibrate --what-if "A100-SXM4-40GB" --json
    envdoctor calibrate --data /data/imagenet/train -o now.json
    envdoctor calibrate --baseline last-month.json
    """
    session = Session()
    settings = settings_from(session, options)
    baseline = _baseline(session, options["baseline"])
    facts = measured_facts(session, options["python"], settings)
    if baseline is not None:
        facts[CalibrationBaseline] = baseline
    report = diagnose_calibration(Snapshot(facts), session.loaded, session.services)
    as_json = options["as_json"] or (options["output"] or "").endswith(".json")
    redact = user_redactor()
    text = render_json(report, redact) if as_json else redact(render_calibration_report(report))
    emit(text, options["output"], "calibrated" if report.exit_code == 0 else "not all was measured")
    ctx.exit(report.exit_code)


def settings_from(session: Session, options: dict[str, Any]) -> Settings:
    """What the options of the command line ask for. Raises BadInput."""
    if options["data"] is not None and not os.path.isdir(options["data"]):
        raise BadInput(f"`{options['data']}` is no folder; --data takes a folder of images")
    return Settings(
        devices=options["devices"],
        precisions=options["precisions"],
        batch_size=options["batch_size"],
        compile=options["compile_"],
        budget_s=options["budget_s"],
        ceilings=not options["no_ceilings"],
        pipeline=not options["no_pipeline"],
        all_reduce=options["all_reduce"],
        what_if=tuple(known_gpu(name, session.knowledge).model for name in options["what_if"]),
        data=options["data"],
        training_rate=options["training_rate"],
    )


def _baseline(session: Session, path: str | None) -> Observed[CalibrationBaseline] | None:
    if path is None:
        return None
    try:
        return read_baseline(path, observed_types_of(session.loaded))
    except BadFacts as error:
        raise BadInput(str(error)) from error


def measured_facts(
    session: Session, python: str | None, settings: Settings
) -> dict[type[Fact], Known]:
    """Choose the target as `check` does and measure it; with the facts that explain its speed.

    Raises BadInput for a target that the user named and that cannot be used.
    """
    children = Children()
    try:
        with MeasurementProgress(sys.stderr) as progress:
            context = context_of(children)
            try:
                facts = choose_target(python, context=context, doctor=sys.executable).facts
            except UnusableTarget as error:
                raise BadInput(str(error)) from error
            target = facts[Target]
            assert isinstance(target, Observed)
            if target.value.problem is not None and python is not None:
                raise BadInput(f"`{python}` cannot be used: {target.value.detail}")
            # Before anything of ours is on the GPUs.
            machine = observe_before_measuring(context)
            measured = calibrate(
                target.value.path,
                settings,
                children=children,
                on_progress=progress.event,
            )
    finally:
        children.kill_all()
    return {**facts, **machine, Calibration: measured}
