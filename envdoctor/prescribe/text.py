"""A prescription as text, and as a shell script to be reviewed."""

import textwrap
from collections.abc import Sequence

from envdoctor.prescribe.records import Build, Prescription

_SHOWN = 3
_WIDTH = 96


def render_prescription(prescription: Prescription, width: int = _WIDTH) -> str:
    """The best builds with their commands, and why where that is not what was just said; the others
    by name."""
    if not prescription.builds:
        none = prescription.none_because or "no build works here"
        return "\n".join(_wrapped(none, "", width)) + "\n"
    lines: list[str] = []
    shown, why = prescription.builds[:_SHOWN], ""
    for place, build in enumerate(shown, start=1):
        lines += _build(place, build, width, is_told=build.why == why)
        why = build.why
    rest = prescription.builds[_SHOWN:]
    if rest:
        names = ", ".join(f"{build.torch}+{build.variant}" for build in rest[:8])
        more = f" and {len(rest) - 8} more (--json lists all)" if len(rest) > 8 else ""
        lines += _wrapped(f"also: {names}{more}", "", width)
    lines += ["", *_wrapped(_data(prescription, shown), "", width)]
    return "\n".join(lines) + "\n"


def _data(prescription: Prescription, shown: Sequence[Build]) -> str:
    """How old what is known is; PyTorch's index is one that no mirror of PyPI stands for."""
    data = f"data of {prescription.knowledge_of}"
    commands = (command for build in shown for command in build.commands)
    if any("download.pytorch.org" in command for command in commands):
        data += "; no package index was asked whether these wheels are still there"
    return data


def _build(place: int, build: Build, width: int, *, is_told: bool) -> list[str]:
    lines = [f"{place}. torch {build.torch}, {build.variant}"]
    lines += [] if is_told else _wrapped(build.why, "   ", width)
    if build.commands:
        lines += ["", *(f"     {command}" for command in build.commands), ""]
    else:
        lines.append("   it is installed already; `envdoctor check` tells whether it works")
    for change in build.changes:
        lines += _wrapped(f"changes  {change}", "   ", width)
    if build.pairs_with:
        pairs = ", ".join(f"{name} {version}" for name, version in build.pairs_with.items())
        lines += _wrapped(f"pairs with {pairs}", "   ", width)
    return [*lines, ""]


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def render_script(prescription: Prescription) -> str:
    """The commands of the best build as a POSIX shell script that stops at the first error, its
    head says what it will change; or a script that says why nothing is prescribed, and fails."""
    build = prescription.best
    if build is None:
        reason = prescription.none_because or "no build works here"
        return "\n".join(["#!/bin/sh", *_comments(reason), "exit 1"]) + "\n"
    head = [
        f"torch {build.torch} ({build.variant}), prescribed by envdoctor from its knowledge of "
        f"{prescription.knowledge_of}",
        build.why,
        *(f"changes: {change}" for change in build.changes),
        "Review before running: it changes the environment that the commands name",
    ]
    comments = [line for part in head for line in _comments(part)]
    return "\n".join(["#!/bin/sh", *comments, "set -eu", "", *build.commands]) + "\n"


def _comments(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]
