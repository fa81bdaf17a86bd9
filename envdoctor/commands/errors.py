"""Bad input: one clear line on standard error, and with --json a valid document as well."""

import sys
from collections.abc import Iterable

import click


class BadInput(ValueError):
    """Something given by the user cannot be used; the message names it and the remedy."""


def report_error(message: str, hint: str = "") -> int:
    """Say what is wrong with the input; returns the exit code for it."""
    text = message[:1].lower() + message[1:].rstrip(".")
    click.echo(f"envdoctor: {text}" + (f"; {hint}" if hint else ""), err=True)
    if "--json" in sys.argv:
        from envdoctor.render.json import render_json

        click.echo(render_json({"type": "error", "exit_code": 2, "message": text}), nl=False)
    return 2


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean ...` with the known words that are most like it; empty if none is."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=3)
    return f"did you mean {' or '.join(f'`{name}`' for name in near)}" if near else ""
