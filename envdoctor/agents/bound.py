"""Makes a JSON value small enough for a context window, and says what it left out. Pure."""

import json
from collections.abc import Mapping
from typing import Any

MOST_CHARACTERS = 16_000
"""Of one answer: about 4,000 tokens of English or JSON, at four characters each."""

_STEPS = (
    (40, 2000),
    (20, 1000),
    (10, 500),
    (6, 300),
    (4, 200),
    (2, 120),
    (1, 80),
)
"""The most members of each list or object of names, and characters of each text, step by step."""

_NEVER_CUT = "commands"
"""A command that is cut does something else; one that is too long is left out whole."""

_LONGEST_COMMAND = 2000
LEFT_OUT = "left_out"
"""The key that says how many members of each list were left out."""


def in_bounds(value: Mapping[str, Any], most: int = MOST_CHARACTERS) -> dict[str, Any]:
    """The value, with lists and texts no longer than they may be for its text to fit. The first
    members of a list are kept."""
    whole = dict(value)
    if len(compact(whole)) <= most:
        return whole
    for members, characters in _STEPS:
        cut = _Cut(members, characters)
        shorter: dict[str, Any] = {name: cut.of(item, name) for name, item in whole.items()}
        if cut.left_out:
            shorter[LEFT_OUT] = cut.left_out
        if len(compact(shorter)) <= most:
            return shorter
    return {LEFT_OUT: dict.fromkeys(list(whole)[: _STEPS[0][0]], 1)}


def compact(value: Any) -> str:
    """The value as JSON, without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Cut:
    """One step: how much of each list and text is kept, and what was left out by name."""

    def __init__(self, members: int, characters: int) -> None:
        self._members = members
        self._characters = characters
        self.left_out: dict[str, int] = {}

    def of(self, value: Any, name: str) -> Any:
        """The value below a name, no larger than this step allows."""
        if isinstance(value, str):
            return value if len(value) <= self._characters else value[: self._characters - 1] + "…"
        if isinstance(value, list):
            return [self.of(one, name) for one in self._first(value, name)]
        if isinstance(value, dict):
            return {key: self._below(item, key) for key, item in value.items()}
        return value

    def _below(self, value: Any, name: str) -> Any:
        if name == _NEVER_CUT and isinstance(value, list):
            short = [one for one in value if len(str(one)) <= _LONGEST_COMMAND]
            # Of commands that follow one another, some alone would be another repair.
            return value if len(short) == len(value) else self._none_of(value, name)
        return self.of(value, name)

    def _first(self, members: list[Any], name: str) -> list[Any]:
        kept = members[: self._members]
        if len(kept) < len(members):
            self.left_out[name] = self.left_out.get(name, 0) + len(members) - len(kept)
        return kept

    def _none_of(self, members: list[Any], name: str) -> list[Any]:
        self.left_out[name] = self.left_out.get(name, 0) + len(members)
        return []
