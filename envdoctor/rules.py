"""The table of all diseases."""

from typing import ClassVar

from envdoctor.findings import TOPICS, Code
from envdoctor.pages import codes_of
from envdoctor.plugins import Loaded
from envdoctor.record import Record


class Rules(Record):
    """Every disease that this installation knows, by its id."""

    formats: ClassVar[tuple[str, ...]] = ("text", "json")

    codes: tuple[Code, ...]


def rules_of(loaded: Loaded) -> Rules:
    """Those of the core and of every plugin."""
    return Rules(codes=codes_of(loaded))


def render_rules(rules: Rules) -> str:
    """The diseases by topic, a line each: its id, its severity, its name and what it says."""
    width = max(len(code.name) for code in rules.codes)
    topics: dict[str, list[str]] = {}
    for code in rules.codes:
        line = f"  {code.id}  {code.severity.value:<7}  {code.name.ljust(width)}  {code.message}\n"
        topics.setdefault(TOPICS[code.topic], []).append(line)
    return "\n".join(f"{title}\n{''.join(lines)}" for title, lines in topics.items())
