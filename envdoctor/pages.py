"""The pages of the diseases: one Markdown file a code, with a short front matter."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from envdoctor.plugins import Loaded


@dataclass(frozen=True, kw_only=True)
class Page:
    """One disease's page. `meta` is its front matter, `body` the Markdown after it."""

    id: str
    meta: dict[str, str]
    body: str


class BadPage(ValueError):
    """A page whose front matter cannot be read; the message names the file."""


def read_page(path: Path) -> Page:
    """Read one page: `key: value` lines between two `---` lines, then Markdown. Raises BadPage."""
    text = path.read_text(encoding="utf-8")
    if not text.startswith("---\n") or "\n---\n" not in text[4:]:
        raise BadPage(f"`{path}` has no front matter between two `---` lines")
    head, body = text[4:].split("\n---\n", 1)
    meta = {}
    for line in head.splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            raise BadPage(f"`{path}`: `{line}` is not `key: value`")
        meta[key.strip()] = value.strip()
    return Page(id=path.stem, meta=meta, body=body.strip() + "\n")


def find_page(code_id: str, loaded: Loaded) -> Page | None:
    """The page of a code, from whichever plugin brings it."""
    for folder in _folders(loaded):
        path = folder / f"{code_id}.md"
        if path.is_file():
            return read_page(path)
    return None


def _folders(loaded: Loaded) -> Iterable[Path]:
    return (plugin.pages for plugin in loaded.plugins if plugin.pages is not None)
