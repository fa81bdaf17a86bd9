"""The report as one JSON document."""

from collections.abc import Callable
from typing import Any

import msgspec

from envdoctor.redact import redact_values


def render_json(document: Any, redact: Callable[[str], str] = str) -> str:
    """Any record as indented JSON with a final line break, its texts redacted."""
    data = redact_values(msgspec.to_builtins(document), redact)
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"
