"""The table of formats. An emitter is a pure function from a document to its text.

A new format is a file beside this one, a line in the table, and its name in the `formats` of the
types of documents that have it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from envdoctor.fits import Fit
from envdoctor.fits.text import render_fit
from envdoctor.knowledge.coverage import State, render_state
from envdoctor.knowledge.listing import GpuList, render_gpus
from envdoctor.loader.mapped import Libraries
from envdoctor.loader.tree import render_libraries
from envdoctor.prescribe import Prescription
from envdoctor.prescribe.text import render_prescription, render_script
from envdoctor.render.calibration import render_expected
from envdoctor.render.json import render_json
from envdoctor.render.markdown import render_markdown
from envdoctor.render.text import render_calibration_report, render_text
from envdoctor.report import CalibrationReport, Prediction, Report, ReportSet
from envdoctor.rules import Rules, render_rules


class Emitter(Protocol):
    """A document's text, ending with a line break; `colour` is for text on a terminal alone."""

    def __call__(self, document: Any, *, colour: bool = False) -> str: ...


def _prediction(prediction: Prediction) -> str:
    title = f"{prediction.gpu}: ResNet-50 training, 224x224 (prediction)"
    return f"{title}\n\n{render_expected(prediction.expected)}"


_TEXTS: Mapping[type, Callable[..., str]] = {
    Report: render_text,
    Libraries: render_libraries,
    CalibrationReport: lambda document, colour: render_calibration_report(document),
    Prediction: lambda document, colour: _prediction(document),
    Prescription: lambda document, colour: render_prescription(document),
    Fit: lambda document, colour: render_fit(document),
    State: lambda document, colour: render_state(document),
    GpuList: lambda document, colour: render_gpus(document),
    Rules: lambda document, colour: render_rules(document),
}


def _each(document: Any) -> tuple[Any, ...]:
    return document.reports if isinstance(document, ReportSet) else (document,)


def emit_text(document: Any, *, colour: bool = False) -> str:
    """For people; several reports follow one another."""
    return "\n".join(_TEXTS[type(one)](one, colour=colour) for one in _each(document))


def emit_json(document: Any, *, colour: bool = False) -> str:
    """For programs. The table of diseases is a bare list."""
    return render_json(document.codes if isinstance(document, Rules) else document)


def emit_markdown(document: Any, *, colour: bool = False) -> str:
    """For an issue or a chat."""
    return "\n".join(map(render_markdown, _each(document)))


def emit_script(document: Any, *, colour: bool = False) -> str:
    """For a shell."""
    return render_script(document)


EMITTERS: Mapping[str, Emitter] = {
    "text": emit_text,
    "json": emit_json,
    "markdown": emit_markdown,
    "script": emit_script,
}
