"""The formats of documents by name. Imports nothing of the project, so that options can list them.

What makes a text of a document in one of them is in the table `envdoctor.render.emitters`.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

DIAGNOSIS = (
    *("text", "json", "markdown", "html"),
    *("jsonl", "junit", "sarif", "github", "gitlab", "openmetrics"),
)
"""Those of a report; the first is the default."""

OTHERS = ("script", "toml")
"""Those of other documents."""

ENDINGS = {
    ".sarif": "sarif",
    ".sarif.json": "sarif",
    ".json": "json",
    ".html": "html",
    ".jsonl": "jsonl",
    ".md": "markdown",
    ".prom": "openmetrics",
    ".sh": "script",
    ".toml": "toml",
    ".xml": "junit",
}
"""The format that a file's ending asks for."""

MACHINE = frozenset({"json", "jsonl", "junit", "sarif", "github", "gitlab", "openmetrics"})
"""Read by programs: an error is a document in them too (see `envdoctor.output.error_documents`)."""

WITH_FACTS = frozenset({"json", "jsonl", "openmetrics"})
"""Those that show the facts of a report."""

LOCATED = frozenset({"sarif", "github", "gitlab"})
"""Those in which each finding names the line of a file of the project."""


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


class Page(Text):
    """A page in Markdown, for a person at a terminal or for a program."""


class Line:
    """A line of a file of the project, from 1; the path is relative to the root of the project."""

    def __init__(self, path: str, number: int, text: str) -> None:
        self.path = path
        self.number = number
        self.text = text


class Look:
    """How a text looks: in colour or not, its width in columns, whether that is a terminal's, and
    how much it tells; and the
    lines of the project's files that findings can be about, the root of the project, and the
    folder that names of files are relative to."""

    def __init__(
        self,
        *,
        colour: bool = False,
        width: int = 80,
        terminal: bool = False,
        detail: Detail = "normal",
        lines: "Sequence[Line]" = (),
        root: str = "",
        folder: str = "",
    ) -> None:
        self.colour = colour
        self.width = width
        self.terminal = terminal
        self.detail = detail
        self.lines = lines
        self.root = root
        self.folder = folder


def format_for(wanted: str | None, file: str | None, formats: Sequence[str]) -> str:
    """The one that was asked for, else that of the file's ending, else the default."""
    if wanted is not None:
        return wanted
    by_ending = (name for end, name in ENDINGS.items() if (file or "").endswith(end))
    return next((name for name in by_ending if name in formats), formats[0])
