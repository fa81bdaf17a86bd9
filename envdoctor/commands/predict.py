"""`envdoctor predict`: what a GPU would do, without measuring anything."""

from typing import Any

import click

from envdoctor.calibration.assess import model_precisions, predict_model
from envdoctor.commands.calibrate import known_gpu
from envdoctor.commands.errors import BadInput
from envdoctor.facts.calibration import PRECISIONS
from envdoctor.knowledge import load
from envdoctor.render.calibration import render_expected
from envdoctor.render.json import render_json
from envdoctor.report import Prediction


@click.command()
@click.argument("gpu")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Only this precision; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(**options: Any) -> None:
    """Predict the ResNet-50 training rate of a GPU from published rates and data sheets.

    \b
    envdoctor predict "A100-SXM4-40GB"
    envdoctor predict "RTX 4090" --precision bf16 --json
    """
    knowledge = load()
    gpu = known_gpu(options["gpu"], knowledge)
    rates = predict_model(gpu, knowledge, options["precisions"])
    if not rates:
        offered = ", ".join(model_precisions(gpu)) or "none"
        raise BadInput(f"nothing is known of the {gpu.model} in that precision; known: {offered}")
    if options["as_json"]:
        click.echo(render_json(Prediction(gpu=gpu.model, expected=rates)), nl=False)
    else:
        click.echo(f"{gpu.model}: ResNet-50 training, 224x224 (prediction)\n")
        click.echo(render_expected(rates), nl=False)
