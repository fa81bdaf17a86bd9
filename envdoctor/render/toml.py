"""A policy as TOML that people read and change."""

import datetime
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from envdoctor.formats import Look
from envdoctor.policy.records import Policy

_WORDS = {
    "versions": "ranges of versions, as pip has them; `driver` is that of the NVIDIA driver",
    "packages": "what must be, or must not be, installed beside torch",
    "gpus": "how many GPUs, and what each of them has to be",
    "machine": "memory and room, in GiB (2**30 bytes)",
    "speed": "the least images/s of ResNet-50 training: of the CPU, of each GPU in a precision",
    "severity": "rules with another severity",
    "ignore": "rules that do not count, why, and until when",
}


def render(policy: Policy, look: Look) -> str:
    """The policy, with a final line break; what it does not ask for is left out."""
    return "\n".join(_lines(policy)) + "\n"


def _lines(policy: Policy) -> Iterator[str]:
    yield "# What `envdoctor check --policy FILE` holds a machine to."
    if policy.outcomes:
        yield f"outcomes = {_value(policy.outcomes)}"
    for table in ("versions", "packages", "gpus", "machine", "speed"):
        yield from _table(table, _fields(getattr(policy, table)))
    yield from _table("severity", policy.severity)
    for ignored in policy.ignore:
        yield from ("", "[[ignore]]")
        yield from (f"{key} = {_value(value)}" for key, value in _fields(ignored).items())


def _fields(record: msgspec.Struct) -> dict[str, Any]:
    """What is asked for, by the names that it has in TOML."""
    fields = msgspec.structs.fields(record)
    values = {field.encode_name: getattr(record, field.name) for field in fields}
    return {key: value for key, value in values.items() if value not in (None, ())}


def _table(name: str, values: dict[str, Any]) -> Iterator[str]:
    if not values:
        return
    yield from ("", f"# {_WORDS[name]}", f"[{name}]")
    yield from (f"{key} = {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    """Strings of JSON are such of TOML but for DEL, which no filter leaves."""
    if isinstance(value, tuple):
        items = [_value(item) for item in value]
        together = f"[{', '.join(items)}]"
        return (
            together
            if len(together) < 80
            else "[\n" + "".join(f"    {one},\n" for one in items) + "]"
        )
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return f"{value:g}" if isinstance(value, float) and value < 10**6 else str(value)
