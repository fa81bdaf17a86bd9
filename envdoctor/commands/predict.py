"""`envdoctor predict`: what a GPU would do, without measuring anything."""

import click

from envdoctor.calibration.assess import model_precisions, predict_model
from envdoctor.calibration.document import Prediction
from envdoctor.commands.calibrate import PRECISIONS, known_gpu
from envdoctor.commands.options import output_options
from envdoctor.errors import BadInput
from envdoctor.knowledge import load
from envdoctor.output import Destination, Output


@click.command()
@click.argument("gpu")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Only this precision; repeatable.",
)
@output_options(Prediction.formats)
def command(output: Output, to: Destination, gpu: str, precisions: tuple[str, ...]) -> None:
    """Predict the ResNet-50 training rate of a GPU from published rates and data sheets.

    \b
    envdoctor predict "A100-SXM4-40GB"
    envdoctor predict "RTX 4090" --precision bf16 --json
    """
    knowledge = load()
    model = known_gpu(gpu, knowledge)
    rates = predict_model(model, knowledge, precisions)
    if not rates:
        offered = ", ".join(model_precisions(model)) or "none"
        raise BadInput(f"nothing is known of the {model.model} in that precision; known: {offered}")
    output.publish(Prediction(gpu=model.model, expected=rates), to, "predicted")
