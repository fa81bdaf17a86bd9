"""The program that is started for each page: this one, with the same options."""

import sys
from collections.abc import Sequence

from envdoctor.shell import command

SERVE = "--serve"
"""The option that a page is not started with."""

IN_BROWSER = "--in-browser"
"""The hidden option that a page is started with instead."""


def line_for_a_page(words: Sequence[str]) -> str:
    """The command line of a page's program for a POSIX shell, from the words that this one was
    called with.

    It imports what this process does, from wherever that lies, and nothing of the current folder.
    The shell makes way for it, so that a signal ends the program itself.
    """
    start = f"import sys; sys.path[:] = {sys.path!r}; from envdoctor.__main__ import main; main()"
    return "exec " + command(sys.executable, "-I", "-c", start, *words_for_a_page(words))


def words_for_a_page(words: Sequence[str]) -> tuple[str, ...]:
    """Those words without `--serve` and its port, which is the next word unless that is an option
    (so click reads an option whose value may be left out)."""
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == SERVE and rest and not rest[0].startswith("-"):
            rest.pop(0)
        elif word != SERVE and not word.startswith(f"{SERVE}="):
            kept.append(word)
    return (*kept, IN_BROWSER)
