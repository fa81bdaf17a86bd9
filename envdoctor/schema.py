"""The JSON Schema of the report, made from the types whenever it is asked for."""

from collections.abc import Iterable
from typing import Any

import msgspec

from envdoctor.compare.records import Comparison
from envdoctor.facts import Fact, Observed, Unknown
from envdoctor.report import CalibrationReport, CollectiveReport, Prediction, Report, ReportSet

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def report_schema(kinds: Iterable[type[Fact]]) -> dict[str, Any]:
    """The schema of a report, a set of them, a calibration, a collective, a prediction, a
    comparison or an error, with these facts.

    Facts of other types, those of plugins, are allowed; their values must be tagged objects.
    """
    kinds = sorted(kinds, key=lambda kind: kind.__name__)
    documents: list[Any] = [
        Report,
        ReportSet,
        CalibrationReport,
        CollectiveReport,
        Prediction,
        Comparison,
    ]
    observed: list[Any] = [Observed[kind] for kind in kinds]  # type: ignore[valid-type]
    refs, definitions = msgspec.json.schema_components(
        [Unknown, *documents, *observed], ref_template="#/$defs/{name}"
    )
    unknown, fact_refs = refs[0], refs[1 + len(documents) :]
    facts = {
        kind.__name__: {"anyOf": [ref, unknown]} for kind, ref in zip(kinds, fact_refs, strict=True)
    }
    definitions["Report"]["properties"]["facts"] = {
        "type": "object",
        "properties": facts,
        "additionalProperties": {"anyOf": [_OTHER_FACT, unknown]},
    }
    return {
        "$schema": DIALECT,
        "title": "envdoctor report",
        "anyOf": [*refs[1 : 1 + len(documents)], _ERROR],
        "$defs": definitions,
    }


_ERROR = {
    "title": "error",
    "description": "Why there is no result, in a machine format; see envdoctor.output.",
    "type": "object",
    "properties": {
        "type": {"const": "error"},
        "exit_code": {"type": "integer"},
        "message": {"type": "string"},
    },
    "required": ["type", "exit_code", "message"],
    "additionalProperties": False,
}
_OTHER_FACT = {
    "type": "object",
    "properties": {
        "type": {"const": "Observed"},
        "value": {"type": "object", "required": ["type"]},
        "source": {"type": "string"},
        "seconds": {"type": "number"},
    },
    "required": ["type", "value", "source"],
}


def schema_text(kinds: Iterable[type[Fact]]) -> str:
    """The schema as an indented JSON document with a final line break."""
    return msgspec.json.format(msgspec.json.encode(report_schema(kinds)), indent=1).decode() + "\n"
