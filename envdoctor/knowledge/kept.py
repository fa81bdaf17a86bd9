"""How the JSON files of the knowledge are written: one record a line, so that a review sees what
changed."""

import json
from typing import Any


def as_kept(document: dict[str, Any]) -> str:
    """A document as text: lists of records one record a line, file lists one release a line."""
    parts = [f" {_json(key)}: {_value(value)}" for key, value in document.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _value(value: Any) -> str:
    if not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return _json(value)
    rows = ",\n".join(_record(one) for one in value)
    return f"[\n{rows}\n ]"


def _record(record: dict[str, Any]) -> str:
    if not isinstance(record.get("releases"), dict):
        return f"  {_json(record)}"
    head = ", ".join(
        f"{_json(key)}: {_json(value)}" for key, value in record.items() if key != "releases"
    )
    rows = ",\n".join(f"   {_json(key)}: {_json(one)}" for key, one in record["releases"].items())
    return f'  {{{head}, "releases": {{\n{rows}\n  }}}}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
