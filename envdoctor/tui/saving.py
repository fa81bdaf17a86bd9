"""What is saved: the report that is shown, as one of three documents. Pure."""

from envdoctor.facts.documents import FactsDocument
from envdoctor.render.emitters import EMITTERS
from envdoctor.report import Report


def document_of(kind: str, report: Report) -> str:
    """A report as json, markdown or facts; its texts are redacted already."""
    return EMITTERS["json"](_facts(report)) if kind == "facts" else EMITTERS[kind](report)


def _facts(report: Report) -> FactsDocument:
    return FactsDocument(
        schema_version=report.schema_version,
        tool=report.tool,
        captured_at=report.created_at,
        facts=report.facts,
        captured_with="envdoctor tui",
    )
