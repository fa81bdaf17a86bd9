"""The formats of documents by name. Imports nothing of the project, so that options can list them.

What makes a text of a document in one of them is in the table `envdoctor.render.emitters`.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

DIAGNOSIS = ("text", "json", "markdown")
"""Those of a report; the first is the default."""

ENDINGS = {".json": "json", ".md": "markdown", ".sh": "script"}
"""The format that a file's ending asks for."""

MACHINE = frozenset({"json"})
"""Read by programs: an error is a document in them too."""


Detail = Literal["brief", "normal", "full"]
"""The verdict and what to do; the findings as well; also what was not looked at, and why."""


class Document(Protocol):
    """A record that a command writes; its type says in which formats, the default first."""

    formats: ClassVar[tuple[str, ...]]


class Text:
    """A document that is nothing but a text: a page, a schema."""

    formats: ClassVar[tuple[str, ...]] = ("text",)

    def __init__(self, body: str) -> None:
        self.body = body


class Look:
    """How a text looks: in colour or not, its width in columns, and how much it tells."""

    def __init__(self, *, colour: bool = False, width: int = 80, detail: Detail = "normal") -> None:
        self.colour = colour
        self.width = width
        self.detail = detail


def format_for(wanted: str | None, file: str | None, formats: Sequence[str]) -> str:
    """The one that was asked for, else that of the file's ending, else the default."""
    if wanted is not None:
        return wanted
    by_ending = (name for end, name in ENDINGS.items() if (file or "").endswith(end))
    return next((name for name in by_ending if name in formats), formats[0])
