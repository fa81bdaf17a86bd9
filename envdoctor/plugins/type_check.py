"""Whether a value is what its type says: what a plugin gives may be anything."""

import math
from typing import Any

import msgspec

MAX_DEPTH = 32
MAX_VALUES = 200_000
"""In one fact or finding; more than the largest fact of a real machine, its libraries, has."""

MAX_TEXT = 1 << 20
_LARGEST = 2**63


class WrongType(ValueError):
    """A value that no document could hold or give back; the message says what is wrong."""


def require_type(value: object, kind: Any) -> None:
    """Raise WrongType unless a document that holds the value would give it back as that type."""
    try:
        plain = msgspec.to_builtins(value)
        _require_plain(plain)
        msgspec.convert(plain, kind)
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongType(str(error)) from error


def _require_plain(value: Any) -> None:
    """The same of JSON values, without the types."""
    left, level, depth = MAX_VALUES, [value], 0
    while level:
        left, depth = left - len(level), depth + 1
        if left < 0:
            raise WrongType(f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise WrongType(f"it is nested deeper than {MAX_DEPTH} levels")
        level = [inner for one in level for inner in _inside(one)]


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise WrongType(f"a text of {len(value)} characters")
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise WrongType("a number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise WrongType(f"{value} is no number of JSON")
    return []
