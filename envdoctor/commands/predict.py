"""`envdoctor predict`: what a GPU would do, without measuring anything."""

from typing import Any

import click

from envdoctor.calibration.assess import predict_model
from envdoctor.commands.errors import BadInput
from envdoctor.commands.gpus import known_gpu
from envdoctor.facts.calibration import PRECISIONS
from envdoctor.knowledge import GpuModel, Knowledge, load
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
    envdoctor predict rtx4090
    envdoctor predict "A100-SXM4-40GB"
    envdoctor predict "RTX 4090" --precision bf16 --json
    """
    knowledge = load()
    gpu = known_gpu(options["gpu"], knowledge)
    rates = predict_model(gpu, knowledge, options["precisions"])
    if not rates:
        raise BadInput(_why_nothing(gpu, knowledge))
    if options["as_json"]:
        click.echo(render_json(Prediction(gpu=gpu.model, expected=rates)), nl=False)
    else:
        click.echo(f"{gpu.model}: ResNet-50 training, 224x224 (prediction)\n")
        click.echo(render_expected(rates), nl=False)


def _why_nothing(gpu: GpuModel, knowledge: Knowledge) -> str:
    offered = [rate.precision for rate in predict_model(gpu, knowledge)]
    if offered:
        known = ", ".join(offered)
        return f"nothing is known of the {gpu.model} in that precision; known: {known}"
    missing = [
        name
        for name, value in (
            ("memory bandwidth", gpu.memory_bandwidth_gb_s),
            ("rates", gpu.fp32_tflops or gpu.fp16_tensor_tflops),
        )
        if value is None
    ]
    lacks = " and ".join(missing) or "rates"
    return f"the {gpu.model} is known, but no source has its {lacks}: nothing can be predicted"
