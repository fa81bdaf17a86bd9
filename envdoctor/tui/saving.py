"""What is saved: the report that is shown, as one of three documents. Pure."""

from envdoctor.facts.documents import FactsDocument
from envdoctor.formats import Look
from envdoctor.render.emitters import EMITTERS
from envdoctor.report import Report


def document_of(kind: str, report: Report) -> str:
    """A report as json, markdown or facts; its texts are redacted already."""
    if kind == "facts":
        return EMITTERS["json"](_facts(report), Look())
    return EMITTERS[kind](report, Look())


def _facts(report: Report) -> FactsDocument:
    return FactsDocument(
        schema_version=report.schema_version,
        tool=report.tool,
        captured_at=report.created_at,
        facts=report.facts,
        captured_with="envdoctor tui",
    )
