"""The pages of the diseases: one Markdown file a code; its head is what the code itself says."""

from collections.abc import Iterable
from pathlib import Path

from envdoctor.findings import TOPICS, Code
from envdoctor.plugins import Loaded
from envdoctor.symptoms.codes import CORE_CODES


def codes_of(loaded: Loaded) -> tuple[Code, ...]:
    """Every disease that the core and the plugins know, by id."""
    return tuple(sorted((*CORE_CODES, *loaded.codes), key=lambda code: code.id))


def find_code(word: str, loaded: Loaded) -> Code | None:
    """The disease of that id or name, in any case."""
    wanted = word.lower()
    return next((one for one in codes_of(loaded) if wanted in (one.id.lower(), one.name)), None)


def find_page(code: Code, loaded: Loaded) -> str | None:
    """The page of a code, from whichever plugin brings it; None where none does.

    Raises OSError or UnicodeDecodeError where its file cannot be read.
    """
    for folder in _folders(loaded):
        path = folder / f"{code.id}.md"
        if path.is_file():
            more = _see_also(code.topic) if find_topic_page(code.topic, loaded) else ""
            return f"{_head(code)}\n\n{path.read_text(encoding='utf-8').strip()}\n{more}"
    return None


def find_topic_page(topic: str, loaded: Loaded) -> str | None:
    """The page of a topic, which leads from one of its diseases to the next; None where there is
    none.

    Raises OSError or UnicodeDecodeError where its file cannot be read.
    """
    for folder in _folders(loaded) if topic in TOPICS else ():
        path = folder / "topics" / f"{topic}.md"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None


def _see_also(topic: str) -> str:
    return f"\n## See also\n\n    envdoctor rule {topic}\n"


def _head(code: Code) -> str:
    family = f", family {code.family}" if code.family != code.name else ""
    breaks = f"; it breaks {code.breaks}" if code.breaks else ""
    return (
        f"# {code.id} {code.name}\n\n{code.severity.value}: {code.message}\n\n"
        f"topic {code.topic}{family}; the cause lies in the {code.fault}{breaks}"
    )


def _folders(loaded: Loaded) -> Iterable[Path]:
    return (plugin.pages for plugin in loaded.plugins if plugin.pages is not None)
