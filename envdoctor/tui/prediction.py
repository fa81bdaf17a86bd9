"""What another GPU would bring here. Pure."""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from envdoctor.calibration.assess import assess, model_precisions, no_reference, predict_model
from envdoctor.calibration.correction import Yardstick, yardsticks
from envdoctor.calibration.expectation import Expectations
from envdoctor.calibration.reference import SERIES_OF_PRECISION
from envdoctor.calibration.runs import main_runs
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Calibration
from envdoctor.knowledge import GpuModel, Knowledge
from envdoctor.tui.contract import GpuForecast, Predicted


def prediction(gpu: str, measured: Calibration | None, knowledge: Knowledge) -> Predicted:
    """The rates of a GPU by its name, and its speedups where this machine was measured."""
    model = knowledge.gpu(gpu)
    if model is None:
        return Predicted(gpu=gpu, assessment=None, reason=f"`{gpu}` is not known")
    if measured is None:
        predicted = Assessment(expected=predict_model(model, knowledge))
        reason = "measure first (`m`) to see the speedup against this machine"
        return Predicted(gpu=gpu, assessment=predicted, reason=reason)
    settings = msgspec.structs.replace(measured.settings, what_if=(gpu,))
    asked = msgspec.structs.replace(measured, settings=settings)
    reason = no_reference(measured.settings.model)
    return Predicted(gpu=gpu, assessment=assess(asked, knowledge), reason=reason)


def forecasts(
    gpus: Iterable[str], measured: Calibration | None, knowledge: Knowledge
) -> tuple[GpuForecast, ...]:
    """A row for each GPU, in the same order."""
    expectations = Expectations(knowledge)
    runs = measured.runs if measured else ()
    here = max((run.images_per_s.median for run in runs if run.images_per_s), default=0.0)
    expected = assess(measured, knowledge).expected if measured else ()
    known = yardsticks(main_runs(measured.figures), expected) if measured else {}
    models = {model.model: model for model in knowledge.gpus}
    return tuple(_forecast(models[gpu], expectations, here, known) for gpu in gpus if gpu in models)


def _forecast(
    model: GpuModel, expectations: Expectations, here: float, known: Mapping[str, Yardstick]
) -> GpuForecast:
    """`known` is what GPUs that were measured here say of others."""
    rates = []
    for precision in model_precisions(model):
        expected = expectations.of_model(model, precision, device=model.model)
        yardstick = known.get(SERIES_OF_PRECISION[precision])
        if expected is not None:
            expected = yardstick.corrected(expected) if yardstick else expected
            rates.append((expected.images_per_s.median, precision, expected.images_per_s))
    unknown = GpuForecast(gpu=model.model, memory_gb=model.memory_gb)
    if not rates:
        return unknown
    median, precision, rate = max(rates, key=lambda one: one[0])
    if model.has_tensor_cores and precision not in _HALF:
        # Its data sheet says nothing of half precision: beside the others it would look slow.
        return unknown
    return replace(
        unknown, precision=precision, images_per_s=rate, ratio=median / here if here else None
    )


_HALF = ("fp16", "bf16")
