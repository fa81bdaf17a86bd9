"""A prescription as text, and as a shell script to be reviewed."""

import textwrap

from envdoctor.prescribe.records import Build, Prescription

_SHOWN = 3
_WIDTH = 96
_UNCHECKED = (
    "PyTorch's own index was not asked: that these wheels exist is known from its documents"
)


def render_prescription(prescription: Prescription) -> str:
    """The best builds with their commands; the others by name."""
    if not prescription.builds:
        return "\n".join(_wrapped(prescription.none_because or "no build works here", "")) + "\n"
    lines: list[str] = []
    for place, build in enumerate(prescription.builds[:_SHOWN], start=1):
        lines += _build(place, build)
    rest = prescription.builds[_SHOWN:]
    if rest:
        names = ", ".join(f"{build.torch}+{build.variant}" for build in rest[:8])
        more = f" and {len(rest) - 8} more (--json lists all)" if len(rest) > 8 else ""
        lines += _wrapped(f"also: {names}{more}", "")
    lines += ["", f"knowledge of {prescription.knowledge_of}"]
    return "\n".join(lines) + "\n"


def _build(place: int, build: Build) -> list[str]:
    lines = [f"{place}. torch {build.torch}, {build.variant}"]
    lines += _wrapped(build.why, "   ")
    if build.commands:
        lines += ["", *(f"     {command}" for command in build.commands), ""]
    else:
        lines.append("   it is what is installed: nothing to do")
    lines += [f"   changes  {change}" for change in build.changes]
    if build.pairs_with:
        pairs = ", ".join(f"{name} {version}" for name, version in build.pairs_with.items())
        lines.append(f"   pairs with {pairs}")
    if any("download.pytorch.org" in command for command in build.commands):
        lines.append(f"   note     {_UNCHECKED}")
    return [*lines, ""]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


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
