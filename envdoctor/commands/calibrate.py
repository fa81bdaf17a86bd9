"""`envdoctor calibrate`: measure a training step, and say how fast it should be."""

import os
import re
from collections.abc import Sequence
from typing import Any

import click

from envdoctor.calibration.assess import no_reference
from envdoctor.calibration.baseline import read_baseline
from envdoctor.commands.gpus import known_gpu
from envdoctor.commands.kinds import GpuName, PathName
from envdoctor.commands.options import (
    Number,
    model_option,
    output_options,
    timeout_option,
    words_of,
)
from envdoctor.commands.progress import Progress
from envdoctor.derived import observed_types_of
from envdoctor.diagnose import diagnose_calibration
from envdoctor.errors import BadInput
from envdoctor.facts.calibration import PRECISIONS, CalibrationBaseline, Settings
from envdoctor.output import Destination, Output
from envdoctor.report import CalibrationReport
from envdoctor.session import Session

_DEVICE = re.compile(r"cpu|gpu|mps|(cuda|xpu)(:\d+)?")


def _devices(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    names = words_of(values)
    for name in names:
        if _DEVICE.fullmatch(name) is None:
            raise BadInput(f"`{name}` is no device; give cpu, gpu, cuda, cuda:0, xpu or mps")
    return names


@click.command(
    epilog="Exit codes: 0 measured, 2 bad input, 3 nothing could be measured or time ran out, 130 "
    "interrupted (what was measured until then is printed)."
)
@click.option(
    "--python",
    type=PathName(),
    metavar="PATH",
    help="Interpreter, venv folder or conda prefix to use.",
)
@model_option
@click.option(
    "--budget",
    "budget_s",
    type=Number(min=0.5),
    metavar="SECONDS",
    help="Time for the CPU in all and for each precision of a GPU.  [default: 28 and 10]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images or sequences in a step.  [measured]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Measure only this; repeatable.",
)
@click.option(
    "--devices",
    multiple=True,
    callback=_devices,
    metavar="DEVICE",
    help="cpu, gpu, cuda:0 ...; repeatable, or a list with commas.",
)
@click.option("--compile", "compile_", is_flag=True, help="Measure torch.compile as well.")
@click.option("--no-ceilings", is_flag=True, help="Leave out the limits of the hardware.")
@click.option("--no-pipeline", is_flag=True, help="Leave out the input pipeline.")
@click.option("--all-reduce", is_flag=True, help="Measure gloo between two CPU processes.")
@click.option(
    "--data", type=PathName("dir"), metavar="DIR", help="A folder of images to read and decode."
)
@click.option(
    "--training-rate",
    type=Number(min=0.0, min_open=True),
    metavar="IMAGES/S",
    help="What your own ResNet-50 training reaches here, to be compared.",
)
@click.option(
    "--what-if",
    type=GpuName(),
    multiple=True,
    metavar="GPU",
    help="Predict this GPU here; repeatable.",
)
@click.option(
    "--baseline", type=PathName(), metavar="FILE", help="An older result to compare with."
)
@timeout_option(None)
@output_options(CalibrationReport.formats)
@click.pass_context
def command(ctx: click.Context, /, output: Output, to: Destination, **options: Any) -> None:
    """Measure how fast this machine trains a network, and say how fast it should be.

    \b
    envdoctor calibrate
    envdoctor calibrate --model gpt2
    envdoctor calibrate --devices cpu --budget 10
    envdoctor calibrate --what-if "A100-SXM4-40GB" --json
    envdoctor calibrate --data /data/imagenet/train -o now.json
    envdoctor calibrate --baseline last-month.json
    """
    session = Session(options["deadline"])
    # What judges the measurement is there when it is interrupted: then there is no time for it.
    session.loaded  # noqa: B018
    settings = settings_from(session, options)
    path = options["baseline"]
    baseline = read_baseline(path, observed_types_of(session.loaded)) if path is not None else None
    with Progress(output) as progress:
        snapshot = session.measure_target(options["python"], settings, listener=progress.listener)
    if baseline is not None:
        snapshot = snapshot.with_facts({CalibrationBaseline: baseline})
    report = diagnose_calibration(snapshot, session.loaded, session.services)
    output.publish(report, to, "calibrated" if report.exit_code == 0 else "not all was measured")
    ctx.exit(report.exit_code)


def settings_from(session: Session, options: dict[str, Any]) -> Settings:
    """What the options of the command line ask for. Raises BadInput."""
    if options["data"] is not None and not os.path.isdir(options["data"]):
        raise BadInput(f"`{options['data']}` is no folder; --data takes a folder of images")
    _refuse_what_is_of_images(options)
    return Settings(
        model=options["model"],
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


_OF_IMAGES = {"data": "--data", "training_rate": "--training-rate", "what_if": "--what-if"}


def _refuse_what_is_of_images(options: dict[str, Any]) -> None:
    """Raise BadInput for what another network than ResNet-50 has not."""
    model = options["model"]
    given = next((option for name, option in _OF_IMAGES.items() if options[name]), None)
    if model == "resnet50" or given is None:
        return
    if given == "--what-if":
        raise BadInput(no_reference(model))
    raise BadInput(f"{given} is of images and --model {model} trains on tokens; give one")
