"""What is saved: the report that is shown, as one of three documents. Pure."""

from collections.abc import Callable

from envdoctor.facts.documents import FactsDocument
from envdoctor.render.json import render_json
from envdoctor.render.markdown import render_markdown
from envdoctor.report import Report


def document_of(kind: str, report: Report) -> str:
    """A report as json, markdown or facts; its texts are redacted already."""
    return _MAKERS[kind](report)


def _facts(report: Report) -> str:
    document = FactsDocument(
        schema_version=report.schema_version,
        tool=report.tool,
        captured_at=report.created_at,
        facts=report.facts,
        captured_with="envdoctor tui",
    )
    return render_json(document)


_MAKERS: dict[str, Callable[[Report], str]] = {
    "json": render_json,
    "markdown": render_markdown,
    "facts": _facts,
}
