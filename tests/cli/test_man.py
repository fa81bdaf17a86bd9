"""The man pages are those of the help, and are installed; `--write-goldens` writes them anew."""

import copy
import re
from pathlib import Path

import click
import pytest
from click_man.core import generate_man_page

from envdoctor.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "man"
ABOUT = "find out why PyTorch and CUDA do not work, and how fast they train"


def page(name: str) -> str:
    """The page of a command; of the program itself for an empty name. It bears no version and no
    date, which would change it with nothing to read."""
    root = manual(cli, ABOUT)
    root.commands = {one: manual(found(one), help_) for one, help_ in COMMANDS.items()}
    context = click.Context(root, info_name="envdoctor")
    if name:
        context = click.Context(root.commands[name], info_name=name, parent=context)
    status = re.sub(r"\s+", " ", context.command.epilog or "")
    end = f".SH EXIT STATUS\n{status.removeprefix('Exit codes: ')}\n" if status else ""
    return generate_man_page(context, version="", date=" ") + end


def found(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def manual(command: click.Command, short: str) -> click.Command:
    """The command with its help as troff: examples keep their lines."""
    copied = copy.copy(command)
    copied.short_help = short
    paragraphs = re.split(r"\n\s*\n", command.help or "")
    copied.help = "\n\n".join(
        re.sub(r"^\s*\x08\n(.*)", r".nf\n\1\n.fi", one, flags=re.DOTALL) for one in paragraphs
    )
    return copied


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_page_is_that_of_the_help(name: str, request: pytest.FixtureRequest) -> None:
    file = PAGES / f"{'-'.join(filter(None, ('envdoctor', name)))}.1"
    if request.config.getoption("--write-goldens"):
        file.write_text(page(name), encoding="utf-8")
    assert page(name) == file.read_text(encoding="utf-8")


def test_all_pages_are_installed() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'shared-data = { "docs/man" = "share/man/man1" }' in project
    assert len(list(PAGES.iterdir())) == len(COMMANDS) + 1


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_help_fits_a_terminal_of_80_columns(name: str) -> None:
    command = found(name) if name else cli
    text = command.get_help(click.Context(command, info_name=name, terminal_width=80))
    # The choices of an option are one word.
    long = [line for line in text.splitlines() if len(line) > 80 and "[" not in line]
    assert not long
