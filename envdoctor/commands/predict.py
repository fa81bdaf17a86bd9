"""`envdoctor predict`: what a GPU would do, without measuring anything."""

from typing import get_args

import click

from envdoctor.calibration.assess import no_reference, predict_model
from envdoctor.calibration.expectation import CHANNELS_LAST
from envdoctor.commands.gpus import known_gpu
from envdoctor.commands.kinds import GpuName
from envdoctor.commands.options import Number, model_option, output_options
from envdoctor.errors import BadInput
from envdoctor.facts.calibration import PRECISIONS, MemoryFormat, Model, Precision
from envdoctor.knowledge import GpuModel, Knowledge, load
from envdoctor.output import Destination, Output
from envdoctor.report import Prediction


@click.command()
@click.argument("gpu", type=GpuName())
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Only this precision; repeatable.",
)
@click.option(
    "--memory-format",
    type=click.Choice(get_args(MemoryFormat)),
    default=CHANNELS_LAST,
    show_default=True,
    help="How images lie in memory; mixed precision is faster in channels_last.",
)
@click.option(
    "--power-limit",
    "power_limit_w",
    type=Number(min=1.0),
    metavar="WATTS",
    help="The power that the GPU of a laptop may draw; its clock follows from it.",
)
@model_option
@output_options(Prediction.formats)
def command(
    output: Output,
    to: Destination,
    gpu: str,
    precisions: tuple[Precision, ...],
    memory_format: MemoryFormat,
    power_limit_w: float | None,
    model: Model,
) -> None:
    """Predict the ResNet-50 training rate of a GPU from published rates and data sheets.

    \b
    envdoctor predict rtx4090
    envdoctor predict "A100-SXM4-40GB"
    envdoctor predict "RTX 4090" --precision bf16 --json
    envdoctor predict t4 --memory-format contiguous
    envdoctor predict "RTX 4080 Laptop" --power-limit 100
    """
    knowledge = load()
    known = known_gpu(gpu, knowledge)
    if no_reference(model):
        raise BadInput(no_reference(model))
    if power_limit_w is not None and knowledge.laptop(known.model) is None:
        raise BadInput(f"what a power limit makes of the {known.model} is not known")
    rates = predict_model(known, knowledge, precisions, memory_format, power_limit_w)
    if not rates:
        raise BadInput(_why_nothing(known, knowledge))
    output.publish(Prediction(gpu=known.model, expected=rates), to, "predicted")


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
