"""Pages of the site that are made of what the program itself says: a hook of mkdocs."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from envdoctor.cli import COMMANDS, cli
from envdoctor.derived import fact_types_of
from envdoctor.findings import TOPICS, Code
from envdoctor.pages import codes_of, find_page, find_topic_page
from envdoctor.plugin_loading import load_plugins
from envdoctor.schema import schema_text

README = Path(__file__).parents[1] / "README.md"
LOADED = load_plugins()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file holds."""
    for name, content in pages():
        files.append(File.generated(config, name, content=content))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """The path of a page below `docs`, and its Markdown."""
    yield "index.md", re.sub(r"\bdocs/(?=[\w/.-]+\))", "", README.read_text(encoding="utf-8"))
    yield "commands.md", commands()
    yield "reports.md", reports()
    yield "rules/index.md", diseases()
    for code in codes_of(LOADED):
        yield f"rules/{code.id}.md", find_page(code, LOADED) or ""
    for topic in TOPICS:
        page = find_topic_page(topic, LOADED)
        if page is not None:
            yield f"rules/{topic}.md", re.sub(r"\bED\d{3}\b", r"[\g<0>](\g<0>.md)", page)
    yield "schema.json", schema_text(fact_types_of(LOADED))


# --- commands ---


def commands() -> str:
    """The help of every command."""
    parts = ["# Commands", _help(cli, "envdoctor")]
    for name, short in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        parts += [f"## envdoctor {name}", short[0].upper() + short[1:] + ".", _help(command, name)]
    return "\n\n".join(parts) + "\n"


def _help(command: click.Command, name: str) -> str:
    parent = None if name == "envdoctor" else click.Context(cli, info_name="envdoctor")
    context = click.Context(command, info_name=name, parent=parent, max_content_width=80)
    return f"```text\n{command.get_help(context)}\n```"


# --- diseases ---


def diseases() -> str:
    """All diseases by topic, each with its page."""
    parts = ["# Diseases", "What envdoctor finds, each with how it is recognised and repaired."]
    for topic, words in TOPICS.items():
        codes = [code for code in codes_of(LOADED) if code.topic == topic]
        if codes:
            parts += [f"## {words[0].upper()}{words[1:]}", _table(codes)]
    return "\n\n".join(parts) + "\n"


def _table(codes: Iterable[Code]) -> str:
    rows = [
        f"| [{code.id}]({code.id}.md) | {code.severity.value} | {code.message} |" for code in codes
    ]
    return "\n".join(["| code | severity | what |", "|---|---|---|", *rows])


# --- JSON ---


def reports() -> str:
    """The fields of the documents, as their JSON Schema has them."""
    schema = json.loads(schema_text(fact_types_of(LOADED)))
    parts = [
        "# Reports and their JSON",
        "Every command with `--json` writes one document; `type` says which. A file of an older "
        "version can be read by every newer one. The whole is a JSON Schema: "
        "[schema.json](schema.json), as `envdoctor schema` prints it.",
    ]
    for name, one in sorted(schema["$defs"].items()):
        fields = [field for field in one.get("properties", {}) if field != "type"]
        if fields:
            about = one.get("description", "").replace("\n", " ")
            listed = ", ".join(f"`{field}`" for field in fields)
            parts += [f"## {name}", *filter(None, [about]), f"Fields: {listed}."]
    return "\n\n".join(parts) + "\n"
