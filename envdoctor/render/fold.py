"""Texts laid out for the width of a terminal: tables, and the pages of diseases.

A pipe and a file get them as they are, for `grep` and for programs. Rich's Markdown would break the
commands of a page at the edge of the terminal, and they could not be pasted any more.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator

from envdoctor.formats import Look

_BOLD, _END = "\x1b[1m", "\x1b[0m"
_GAP = re.compile(r"\S {2,}(?=\S)")
_ITEM = re.compile(r"(?:[-*]|\d+\.) ")
_WIDEST_PAGE = 100
"""Columns of running text: beyond, an eye loses the line."""


def folded(text: str, look: Look) -> str:
    """Lines that are too long for a terminal, broken at blanks and continued below their last
    column; a path or a command is never broken."""
    if not look.terminal:
        return text
    return "\n".join(_folded(line, look.width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    columns = [match.end() for match in _GAP.finditer(line)]
    last = max((one for one in columns if one <= width * 2 // 3), default=0)
    indent = last or len(line) - len(line.lstrip()) + 2
    return _filled(line, width, indent)


def _filled(line: str, width: int, indent: int) -> str:
    return textwrap.fill(
        line,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def page(markdown: str, look: Look) -> str:
    """A page in Markdown as a person reads it: paragraphs wrapped, titles bold, and what is to be
    typed on one line."""
    if not look.terminal:
        return markdown
    width = min(look.width, _WIDEST_PAGE)
    return "\n".join(_block(block, width, look) for block in _blocks(markdown.splitlines())) + "\n"


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lines that belong together: a paragraph, an item of a list; else each line by itself."""
    block: list[str] = []
    for line in lines:
        begins = _ITEM.match(line.lstrip()) is not None
        alone = not line.strip() or line.startswith(("#", "|", "```")) or _is_code(line, block)
        if block and (alone or begins):
            yield block
            block = []
        if alone:
            yield [line]
        else:
            block.append(line)
    if block:
        yield block


def _is_code(line: str, block: list[str]) -> bool:
    """Four blanks begin code, but not in a paragraph or an item that goes on."""
    return line.startswith("    ") and not block


def _block(lines: list[str], width: int, look: Look) -> str:
    first = lines[0]
    if first.startswith("#"):
        title = first.lstrip("#").strip()
        return f"{_BOLD}{title}{_END}" if look.colour else first
    if len(lines) == 1 and (not first.strip() or first.startswith(("|", "```", "    "))):
        return first
    margin = len(first) - len(first.lstrip())
    item = _ITEM.match(first.lstrip())
    text = " " * margin + " ".join(line.strip() for line in lines)
    return _filled(text, width, margin + (len(item[0]) if item else 0))
