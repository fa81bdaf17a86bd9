"""The bases of envdoctor's values: what is written to JSON or read back, and what is passed on.

msgspec makes such a class in a fortieth of the time that `dataclasses` takes, which counts in a
program that has hundreds and shall answer in a third of a second.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """What type checkers know from PEP 681; it does nothing at run time."""
        return lambda cls: cls


class _KeywordOnly(msgspec.StructMeta):
    """Makes the fields of every subclass keyword-only; msgspec's own option is not inherited."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> Any:
        return super().__new__(mcs, name, bases, namespace, **{"kw_only": True, **options})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, tag=True, metaclass=_KeywordOnly):
    """An immutable, keyword-only value. In JSON its `type` is the name of its class.

    `volatile` names the fields that differ from one look to the next although nobody changed the
    machine: free memory, temperatures, what was timed. To compare two looks, leave them out.
    """

    volatile: ClassVar[frozenset[str]] = frozenset()


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(msgspec.field,))
class Mutable(msgspec.Struct, eq=False, metaclass=_KeywordOnly):
    """A value that grows while work goes on; equal to itself alone."""


_R = TypeVar("_R")


def from_json(text: str, kind: type[_R]) -> _R | None:
    """A value of JSON that somebody else wrote; null for what is none, or is nested too deeply."""
    try:
        return msgspec.json.decode(text.encode("utf-8", "replace"), type=kind)
    except (msgspec.MsgspecError, RecursionError):
        return None


def stable(value: Any) -> Any:
    """The value as plain JSON values, without the volatile fields of any record in it."""
    if isinstance(value, Record):
        kept = (name for name in value.__struct_fields__ if name not in value.volatile)
        return {
            "type": value.__struct_config__.tag,
            **{name: stable(getattr(value, name)) for name in kept},
        }
    if isinstance(value, Mapping):
        return {key: stable(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [stable(item) for item in value]
    return msgspec.to_builtins(value)
