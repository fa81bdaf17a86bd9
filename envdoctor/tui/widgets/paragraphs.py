"""Paragraphs that wrap with a hanging indent, and that may be cut to a number of lines."""

import re
from collections.abc import Iterable

from textual.content import Content
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

from envdoctor.record import Record

_BEFORE_A_UNIT = re.compile(r"(?<=\d) (?=(?:%|°C|[KMGT]?i?B|[MG]Hz|m?s|W|V|images/s|tokens/s)\b|%)")
_BOUND = "\ue000"
"""Stands for a blank at which no line ends; wrapping knows none."""


class Paragraph(Record):
    """A text. `first` stands before its first line, `hang` blanks before the others; it is cut to
    `most` lines."""

    text: Content
    first: str = ""
    hang: int = 0
    most: int | None = None

    def lines(self, width: int) -> list[Content]:
        """The lines at that width in cells; the last one says by `…` that some are left out."""
        wrapped = [_loosed(line) for line in self._wrapped(width)]
        if self.most is not None and len(wrapped) > self.most:
            last = Content.assemble(wrapped[self.most - 1].rstrip(), " …")
            room = max(width - self.hang, 1)
            wrapped = [*wrapped[: self.most - 1], last.truncate(room, ellipsis=True)]
        before = (self.first, *(" " * self.hang for _ in wrapped[1:]))
        return [Content.assemble(*pair) for pair in zip(before, wrapped, strict=True)]

    def _wrapped(self, width: int) -> list[Content]:
        """The first line has another width than the others."""
        text, room = _bound(self.text), max(width - self.hang, 1)
        wrapped = text.wrap(max(width - len(self.first), 1))
        if len(wrapped) == 1:
            return wrapped
        rest = text[len(wrapped[0]) :]
        return [wrapped[0], *rest[len(rest) - len(rest.plain.lstrip()) :].wrap(room)]


def _bound(text: Content) -> Content:
    """The text with each figure bound to its unit."""
    return Content(_BEFORE_A_UNIT.sub(_BOUND, text.plain), spans=list(text.spans))


def _loosed(text: Content) -> Content:
    return Content(text.plain.replace(_BOUND, " "), spans=list(text.spans))


class Paragraphs(Visual):
    """Paragraphs one below the other."""

    def __init__(self, paragraphs: Iterable[Paragraph | Content]) -> None:
        self._paragraphs = tuple(
            one if isinstance(one, Paragraph) else Paragraph(text=one) for one in paragraphs
        )

    def at(self, width: int) -> Content:
        """The whole text, wrapped at that width in cells."""
        return Content("\n").join(line for one in self._paragraphs for line in one.lines(width))

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return max((one.text.cell_length for one in self._paragraphs), default=0)

    def get_height(self, rules: RulesMap, width: int) -> int:
        return len(self.at(width).plain.split("\n")) if width > 0 else 0

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        return self.at(width).render_strips(width, height, style, options) if width > 0 else []
