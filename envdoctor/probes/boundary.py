"""What children of the doctor write becomes values here: JSON with limits, records with types."""

import json
from typing import Any, Literal, TypeVar

import msgspec

MAX_LINE_BYTES = 4 << 20
"""Of one record. The longest of a real target, the names of some thousand libraries, has 0.5 MB."""

MAX_DEPTH = 32
_LARGEST = 2**63
_MAX_DIGITS = 20

T = TypeVar("T")


class Undecodable(ValueError):
    """What was read is not what it should be; the message says what is wrong."""


class StageRecord(msgspec.Struct, frozen=True):
    """A line of probes/target/run_stages.py; `logged` is how many bytes the driver has written."""

    stage: str
    event: Literal["begin", "end", "raised", "unable"]
    seconds: float = 0.0
    data: dict[str, Any] = {}
    logged: int = -1


def json_object(text: bytes, limit_bytes: int = MAX_LINE_BYTES) -> dict[str, Any]:
    """The JSON object in a text. Raises Undecodable.

    Bytes of names that are no UTF-8 stay what Python makes of them (PEP 383), so that such a name
    works as a path; msgspec would refuse the text.
    """
    if len(text) > limit_bytes:
        raise Undecodable(f"{len(text)} bytes, and {limit_bytes} are allowed")
    try:
        value = json.loads(text, parse_int=_integer, parse_constant=_refused)
    except RecursionError as error:
        raise Undecodable("it is nested too deeply") from error
    except ValueError as error:
        raise Undecodable(str(error)) from error
    if not isinstance(value, dict):
        raise Undecodable(f"a {type(value).__name__} instead of an object")
    if _is_deeper(value, MAX_DEPTH):
        raise Undecodable("it is nested too deeply")
    return value


def stage_record(line: bytes) -> StageRecord:
    """The record in a line. Raises Undecodable."""
    return typed({"data": {}, **json_object(line)}, StageRecord)


def typed(data: dict[str, Any], kind: type[T]) -> T:
    """A record of the doctor made of what a child said. Raises Undecodable."""
    tag = kind.__struct_config__.tag  # type: ignore[attr-defined]
    try:
        return msgspec.convert(data if tag is None else {**data, "type": tag}, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        # The latter where a name that is no UTF-8 stands in the place of a number or a word.
        raise Undecodable(str(error)) from error


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or not -_LARGEST <= (value := int(digits)) < _LARGEST:
        raise ValueError(f"a number of {len(digits)} digits")
    return value


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _is_deeper(value: Any, left: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return left == 0 or any(_is_deeper(item, left - 1) for item in items)
