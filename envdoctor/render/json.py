"""The document as one JSON document."""

from typing import Any

import msgspec


def render_json(document: Any) -> str:
    """Any record as indented JSON with a final line break."""
    data = msgspec.to_builtins(document)
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"
