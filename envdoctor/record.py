"""The base of every value that envdoctor writes to JSON or reads back."""

from typing import TYPE_CHECKING, Any

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
    """An immutable, keyword-only value. In JSON its `type` is the name of its class."""
