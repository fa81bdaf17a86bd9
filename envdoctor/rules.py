"""The table of all diseases."""

from typing import ClassVar

from envdoctor.findings import Code
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
    """One line a disease: its id, its name and its severity."""
    width = max(len(code.name) for code in rules.codes)
    return "".join(
        f"{code.id}  {code.name.ljust(width)}  {code.severity.value}\n" for code in rules.codes
    )
