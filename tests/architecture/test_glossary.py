"""One term for one thing: what the glossary retired is in no text that a user reads."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
SOURCES = ("checks/envdoctor_checks", "envdoctor")
PAGES = ("checks/envdoctor_checks/pages/*.md", "docs/*.md", "docs/man/*.1", "README.md")
NEVER_READ = ("envdoctor/knowledge/", "envdoctor/probes/target/", "envdoctor/redaction/secrets.py")


def retired() -> list[str]:
    """The words of the first column of the table of retired ones."""
    _, _, table = GLOSSARY.read_text(encoding="utf-8").partition("## Retired")
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    words = [word.strip() for row in rows[1:] for word in row.split(",")]
    return [re.sub(r" \(.*\)", "", word) for word in words]


def texts_of(file: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module that are no docstrings, with their lines."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and node not in docstrings
            and isinstance(node.value, str)
        ):
            yield node.lineno, node.value


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """All that a user may read, with the place where it stands."""
    found: list[tuple[str, str]] = []
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            if not name.startswith(NEVER_READ):
                found += [(f"{name}:{line}", text) for line, text in texts_of(file)]
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            if page != GLOSSARY:
                found.append((page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")))
    return tuple(found)


@pytest.mark.parametrize("word", retired())
def test_a_retired_word_is_in_no_text(word: str) -> None:
    wanted = re.compile(rf"\b{re.escape(word)}\b")
    assert [place for place, text in texts() if wanted.search(text)] == []


def test_the_glossary_has_words_to_retire() -> None:
    assert {"anew", "eats", "knowledge base"} <= set(retired())
