"""What nodes and ranks tell each other, in torch's store."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

_KEY, _THERE = "envdoctor", "there"


class Board:
    """Texts by a subject and the number of who wrote it. That one is there is a counter beside it:
    stores of torch before 2.2 cannot be asked for a key without waiting for it."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def put(self, subject: str, number: int, text: str = "") -> None:
        """Write a text, or write it anew."""
        self._store.set(f"{_KEY}/{subject}/{number}", text)
        self._store.add(f"{_KEY}/{_THERE}/{subject}/{number}", 1)

    def has(self, subject: str, number: int) -> bool:
        """Whether there is one."""
        return int(self._store.add(f"{_KEY}/{_THERE}/{subject}/{number}", 0)) > 0

    def get(self, subject: str, number: int) -> str:
        """The text that is there."""
        return bytes(self._store.get(f"{_KEY}/{subject}/{number}")).decode()

    def without(self, subject: str, numbers: Iterable[int]) -> list[int]:
        """Those of the numbers that have written none."""
        return [one for one in numbers if not self.has(subject, one)]

    def all_of(self, subject: str, numbers: Iterable[int]) -> dict[int, str]:
        """The texts that are there, by number."""
        return {one: self.get(subject, one) for one in numbers if self.has(subject, one)}

    def limit(self, seconds: float) -> None:
        """How long an answer is waited for."""
        self._store.set_timeout(datetime.timedelta(seconds=seconds))
