"""The table of formats. An emitter is a pure function from a document to its text.

A new format is a file beside this one, a line in the table, and its name in the `formats` of the
types of documents that have it.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from envdoctor.fits import Fit
from envdoctor.fits.text import render_fit
from envdoctor.formats import Look
from envdoctor.knowledge.coverage import State, render_state
from envdoctor.knowledge.listing import GpuList, render_gpus
from envdoctor.loader.mapped import Libraries
from envdoctor.loader.tree import render_libraries
from envdoctor.prescribe import Prescription
from envdoctor.prescribe.text import render_prescription, render_script
from envdoctor.render.calibration import render_expected
from envdoctor.render.fold import folded
from envdoctor.render.json import render_json
from envdoctor.render.markdown import render_markdown
from envdoctor.render.text import render_calibration_report, render_text, render_texts
from envdoctor.report import (
    CalibrationReport,
    CollectiveReport,
    Prediction,
    Report,
    ReportSet,
    reports_in,
)
from envdoctor.rules import Rules, render_rules


class Emitter(Protocol):
    """A document's text, ending with a line break; the look is for text alone."""

    def __call__(self, document: Any, look: Look) -> str: ...


def _prediction(prediction: Prediction) -> str:
    title = f"{prediction.gpu}: ResNet-50 training, 224x224 (prediction)"
    return f"{title}\n\n{render_expected(prediction.expected)}"


def _collective(report: CollectiveReport, look: Look) -> str:
    from envdoctor.render.collective import render_collective

    return render_collective(report, look)


def _columns(look: Look) -> int:
    """Of sentences; a pipe and a file have no width of their own."""
    return look.width if look.terminal else 96


_TEXTS: Mapping[type, Callable[..., str]] = {
    Report: render_text,
    ReportSet: render_texts,
    Libraries: lambda document, look: render_libraries(document, colour=look.colour),
    CalibrationReport: lambda document, look: render_calibration_report(document),
    CollectiveReport: _collective,
    Prediction: lambda document, look: folded(_prediction(document), look),
    Prescription: lambda document, look: render_prescription(document, _columns(look)),
    Fit: lambda document, look: render_fit(document, _columns(look)),
    State: lambda document, look: folded(render_state(document), look),
    GpuList: lambda document, look: folded(render_gpus(document), look),
    Rules: lambda document, look: folded(render_rules(document), look),
}


def emit_text(document: Any, look: Look) -> str:
    """For people."""
    render = _TEXTS.get(type(document)) or _rarely().render_comparison
    return render(document, look)


def _rarely() -> Any:
    """What `diff` alone writes is loaded with it: the report of `check` is waited for."""
    from envdoctor.render import comparison

    return comparison


def emit_json(document: Any, look: Look) -> str:
    """For programs. The table of diseases is a bare list."""
    return render_json(document.codes if isinstance(document, Rules) else document)


def emit_markdown(document: Any, look: Look) -> str:
    """For an issue or a chat; several reports follow one another."""
    if not isinstance(document, Report | ReportSet):
        text: str = _rarely().render_comparison_markdown(document, look)
        return text
    return "\n".join(map(render_markdown, reports_in(document)))


def emit_script(document: Any, look: Look) -> str:
    """For a shell."""
    return render_script(document)


def _in_its_file(name: str) -> Emitter:
    """A format that is rarely wanted: its file is imported when it is."""

    def emit(document: Any, look: Look) -> str:
        module = importlib.import_module(f"envdoctor.render.{name}")
        text: str = module.render(document, look)
        return text

    return emit


EMITTERS: Mapping[str, Emitter] = {
    "text": emit_text,
    "json": emit_json,
    "markdown": emit_markdown,
    "script": emit_script,
    **{
        name: _in_its_file(name)
        for name in ("github", "gitlab", "html", "jsonl", "junit", "openmetrics", "sarif", "toml")
    },
}
