"""The filter of everything that is written: what identifies a person, and what a terminal obeys.

Values only, never keys. One filter serves one document, so that its placeholders are stable there.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar

from envdoctor.controls import escaped, without_controls, without_sequences
from envdoctor.redaction.identity import (
    Person,
    Placeholders,
    identity_rules,
    this_person,
    variables_of,
)
from envdoctor.redaction.secrets import LONG_WORDS, SECRETS, Rule
from envdoctor.shell import pasteable

_D = TypeVar("_D")

_SHORTLY = 16
"""Characters from a hint to what has to follow it: of `passphrase" : `, behind `pass`, 10."""

COMMANDS = "commands"
"""The name of all fields whose texts are made to be pasted."""


class Filter:
    """Makes texts fit to be written: for people, or such that a program can read back each
    character of what names nobody and is no secret (see `envdoctor.controls.escaped`)."""

    def __init__(self, person: Person, *, for_programs: bool = False) -> None:
        self._for_programs = for_programs
        self._rules = (*SECRETS, *identity_rules(person, Placeholders()))
        self._variables = variables_of(person)

    def text(self, text: str) -> str:
        """The text without what identifies a person, and with nothing that a terminal obeys."""
        return self._filtered([text])[0]

    def line(self, text: str) -> str:
        """The same on one line."""
        return " ".join(self.text(text).splitlines())

    def values(self, value: Any) -> Any:
        """A JSON value with every text in it filtered; in keys only what cannot be written is
        escaped. Commands are for a shell, which knows no such escapes."""
        texts: dict[bool, dict[str, None]] = {False: {}, True: {}}
        _collect(value, texts)
        safe = {
            pasted: dict(zip(of_kind, self._filtered([*of_kind], pasted=pasted), strict=True))
            for pasted, of_kind in texts.items()
        }
        return self._replaced(value, safe)

    def document(self, document: _D) -> _D:
        """A record with every text in it filtered."""
        import msgspec

        return msgspec.convert(self.values(msgspec.to_builtins(document)), type(document))

    def _filtered(self, texts: Sequence[str], *, pasted: bool = False) -> list[str]:
        """The same texts, fit to be written; each different one once is quicker.

        Colours could hide a key from the rules. Where nothing stands that has to go they stay, for
        programs; rules see all other characters as they are, and none of them is part of a word.
        """
        bare = [without_sequences(text) for text in texts]
        redacted = self._redacted(bare)
        if not self._for_programs or pasted:
            return self._shown(redacted)
        coloured = [
            number for number, text in enumerate(texts) if text != bare[number] == redacted[number]
        ]
        whole = self._redacted([texts[number] for number in coloured])
        for number, text in zip(coloured, whole, strict=True):
            redacted[number] = text
        return [escaped(text) for text in redacted]

    def _shown(self, redacted: Sequence[str]) -> list[str]:
        """The texts for people. What a control parted, to a rule's eye, its � may join."""
        shown = [without_controls(text) for text in redacted]
        changed = [number for number, text in enumerate(shown) if text != redacted[number]]
        if changed:
            again = self._redacted([shown[number] for number in changed])
            for number, text in zip(changed, again, strict=True):
                shown[number] = text
        return shown

    def _redacted(self, texts: Sequence[str]) -> list[str]:
        """The texts without what identifies a person and without secrets."""
        clean = [*texts]
        search = _Search(clean)
        for rule in self._rules:
            for number in search.texts_with(rule):
                clean[number] = re.sub(
                    rule.pattern, rule.replacement, clean[number], flags=re.DOTALL
                )
        return clean

    def _replaced(
        self, value: Any, safe: Mapping[bool, Mapping[str, str]], *, pasted: bool = False
    ) -> Any:
        """The same value with other texts; those below the key `commands` are pasted."""
        if isinstance(value, str):
            text = safe[pasted][value]
            return pasteable(text, self._variables) if pasted and "<" in text else text
        if isinstance(value, dict):
            return {
                escaped(key) if isinstance(key, str) else key: self._replaced(
                    item, safe, pasted=key == COMMANDS
                )
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._replaced(item, safe, pasted=pasted) for item in value]
        return value


def user_filter(*, for_programs: bool = False) -> Filter:
    """The filter for all that this user writes."""
    return Filter(this_person(), for_programs=for_programs)


def _collect(value: Any, texts: Mapping[bool, dict[str, None]], *, pasted: bool = False) -> None:
    """Every text in a value, in their order, apart from those that are pasted."""
    if isinstance(value, str):
        texts[pasted][value] = None
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect(item, texts, pasted=key == COMMANDS)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect(item, texts, pasted=pasted)


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
