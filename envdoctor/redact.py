"""The filter of everything that is written: what identifies a person, and what a terminal obeys.

Values only, never keys. One filter serves one document, so that its placeholders are stable there.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar

from envdoctor.controls import safe_key, without_controls
from envdoctor.identity import Person, Placeholders, identity_rules, this_person, variables_of
from envdoctor.secrets import LONG_WORDS, SECRETS, Rule
from envdoctor.shell import pasteable

_D = TypeVar("_D")

_SHORTLY = 16
"""Characters from a hint to what has to follow it: of `passphrase" : `, behind `pass`, 10."""

COMMANDS = "commands"
"""The name of all fields whose texts are made to be pasted."""


class Filter:
    """Makes texts fit to be written."""

    def __init__(self, person: Person) -> None:
        self._rules = (*SECRETS, *identity_rules(person, Placeholders()))
        self._variables = variables_of(person)

    def text(self, text: str) -> str:
        """The text without what identifies a person, and with nothing that a terminal obeys."""
        return self._filtered([text])[0]

    def line(self, text: str) -> str:
        """The same on one line."""
        return " ".join(self.text(text).splitlines())

    def values(self, value: Any) -> Any:
        """A JSON value with every text in it filtered; keys only lose what cannot be written."""
        texts: dict[str, None] = {}
        _collect(value, texts)
        return self._replaced(value, dict(zip(texts, self._filtered([*texts]), strict=True)))

    def document(self, document: _D) -> _D:
        """A record with every text in it filtered."""
        import msgspec

        return msgspec.convert(self.values(msgspec.to_builtins(document)), type(document))

    def _filtered(self, texts: Sequence[str]) -> list[str]:
        """The same texts, fit to be written; each different one once is quicker."""
        clean = [without_controls(text) for text in texts]
        search = _Search(clean)
        for rule in self._rules:
            for number in search.texts_with(rule):
                clean[number] = re.sub(
                    rule.pattern, rule.replacement, clean[number], flags=re.DOTALL
                )
        return clean

    def _replaced(self, value: Any, texts: Mapping[str, str], *, pasted: bool = False) -> Any:
        """The same value with other texts; those below the key `commands` are pasted."""
        if isinstance(value, str):
            text = texts[value]
            return pasteable(text, self._variables) if pasted and "<" in text else text
        if isinstance(value, dict):
            return {
                safe_key(key) if isinstance(key, str) else key: self._replaced(
                    item, texts, pasted=key == COMMANDS
                )
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._replaced(item, texts, pasted=pasted) for item in value]
        return value


def user_filter() -> Filter:
    """The filter for all that this user writes."""
    return Filter(this_person())


def _collect(value: Any, texts: dict[str, None]) -> None:
    """Every text in a value, in their order."""
    if isinstance(value, str):
        texts[value] = None
    elif isinstance(value, dict):
        for item in value.values():
            _collect(item, texts)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect(item, texts)


class _Search:
    """Many texts that are looked through at once for what rules may find something in.

    Of some hundred rules hardly one applies. What a text of 40 kB takes is 20 microseconds for a
    hint; a pattern takes a millisecond, and as much to be compiled.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._joined = "\n".join(texts)
        self._lowered = _lowered(self._joined)
        self._long_words = "\n".join(set(LONG_WORDS.findall(self._lowered)))
        self._begins = [0, *accumulate(len(text) + 1 for text in texts[:-1])]

    def texts_with(self, rule: Rule) -> Sequence[int]:
        """The numbers of the texts in which the rule may find something."""
        return sorted({bisect_right(self._begins, place) - 1 for place in self._places(rule)})

    def _places(self, rule: Rule) -> Iterator[int]:
        for hint in rule.hints:
            if not rule.long or hint in self._long_words:
                yield from self._places_of(hint, rule.followed)
        for shape in rule.shapes:
            yield from (found.start() for found in re.finditer(shape, self._joined))

    def _places_of(self, hint: str, followed: str) -> Iterator[int]:
        text = self._lowered
        place = text.find(hint)
        while place >= 0:
            end = place + len(hint)
            if not followed or any(one in text[end : end + _SHORTLY] for one in followed):
                yield place
            place = text.find(hint, end)


def _lowered(text: str) -> str:
    """In lower case, each character in its place: `İ` would become two."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(one.lower() if len(one.lower()) == 1 else one for one in text)
