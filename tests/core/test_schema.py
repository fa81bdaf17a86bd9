"""The schema of the report is that of the types, and holds the facts of the plugins."""

import json

import jsonschema

from envdoctor.derived import fact_types_of
from envdoctor.schema import schema_text
from tests.support.diagnosis import loaded
from tests.support.doctor import envdoctor


def test_it_is_a_schema_and_names_every_fact() -> None:
    kinds = fact_types_of(loaded())
    schema = json.loads(schema_text(kinds))
    jsonschema.Draft202012Validator.check_schema(schema)
    facts = schema["$defs"]["Report"]["properties"]["facts"]["properties"]
    assert set(facts) == {kind.__name__ for kind in kinds}


def test_it_is_printed() -> None:
    assert envdoctor("schema").stdout == schema_text(fact_types_of(loaded()))
