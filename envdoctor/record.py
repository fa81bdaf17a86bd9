"""The base of every value that envdoctor writes to JSON or reads back."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An immutable, keyword-only value. In JSON its `type` is the name of its class."""
