"""The base of every value that envdoctor writes to JSON or reads back."""

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """What type checkers know from PEP 681; it does nothing at run time."""
        return lambda cls: cls


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An immutable, keyword-only value. In JSON its `type` is the name of its class."""
