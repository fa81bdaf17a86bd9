"""What another GPU would bring here. Pure."""

import msgspec

from envdoctor.calibration.assess import assess, predict_model
from envdoctor.facts.assessment import Assessment
from envdoctor.facts.calibration import Calibration
from envdoctor.knowledge import Knowledge
from envdoctor.tui.contract import Predicted


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
    return Predicted(gpu=gpu, assessment=assess(asked, knowledge))
