"""What a function needs, read from its signature, and how to give it that.

Checks, derivations and host probes name the facts that they need as the types of their parameters.
`T` must be observed for the function to run; `T | None` is given as None where it is unknown.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from envdoctor.facts import Fact, Observed, Snapshot, Unknown
from envdoctor.record import Record


class Need(Record):
    """One parameter of a function; `service` marks what is not a fact (the knowledge, say)."""

    parameter: str
    kind: Any
    optional: bool
    service: bool


def needs_of(function: Callable[..., Any]) -> tuple[Need, ...]:
    """The needs of a function. Raises TypeError for a parameter without a usable type."""
    hints = inspect.get_annotations(function)
    if any(isinstance(hint, str) for hint in hints.values()):
        hints = typing.get_type_hints(function)
    return tuple(
        _need(function, name, hints.get(name)) for name in inspect.signature(function).parameters
    )


def _need(function: Callable[..., Any], name: str, hint: Any) -> Need:
    arms = typing.get_args(hint)
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    optional = is_union and type(None) in arms and len(arms) == 2
    kind = next(arm for arm in arms if arm is not type(None)) if optional else hint
    if not isinstance(kind, type):
        raise TypeError(
            f"parameter `{name}` of `{function.__qualname__}` needs one class as its type"
        )
    return Need(parameter=name, kind=kind, optional=optional, service=not issubclass(kind, Fact))


class Missing(Record):
    """A fact that a function needs and that is not known."""

    kind: str
    unknown: Unknown


def arguments_for(
    needs: tuple[Need, ...], snapshot: Snapshot, services: Mapping[type, object]
) -> dict[str, Any] | Missing:
    """The keyword arguments for a function, or the first need that is not met.

    Raises LookupError for a service that is not offered.
    """
    arguments: dict[str, Any] = {}
    for need in needs:
        if need.service:
            if need.kind not in services:
                raise LookupError(f"this envdoctor offers no {need.kind.__name__}")
            arguments[need.parameter] = services[need.kind]
            continue
        fact = snapshot.get(need.kind)
        if isinstance(fact, Observed):
            arguments[need.parameter] = fact.value
        elif need.optional:
            arguments[need.parameter] = None
        else:
            return Missing(kind=need.kind.__name__, unknown=fact)
    return arguments
