"""Kinds of words on the command line, and what a shell offers for them when Tab is pressed.

Nothing is checked here that a command checks: a word is passed on as it was given. What is offered
is looked up when it is asked for, and not imported before.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from envdoctor.knowledge import GpuModel, Knowledge

    Word = click.ParamType[str]
else:
    # Generic in newer releases of click alone.
    Word = click.ParamType


class PathName(Word):
    """A file or a folder; the shell itself completes it."""

    name = "path"

    def __init__(self, kind: Literal["file", "dir"] = "file") -> None:
        self._kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """That the shell is to complete it."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=self._kind)]


class OneOf(Word):
    """One of a few words; of a list with commas the last."""

    name = "word"

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple(words)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """The words."""
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + one) for one in _begun_with(last, self._words)]


class CodeName(Word):
    """A code, the name of a disease or a topic; of a list with commas the last."""

    name = "code"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """The codes with their names, the names, and the topics."""
        from click.shell_completion import CompletionItem

        from envdoctor.pages import codes_of
        from envdoctor.plugin_loading import load_plugins

        before, comma, last = incomplete.rpartition(",")
        codes = codes_of(load_plugins())
        offers = {one.id: one.name for one in codes}
        offers.update((one.name, one.message) for one in codes)
        offers.update((one.topic, "a topic") for one in codes)
        begun = _begun_with(last, offers)
        return [CompletionItem(before + comma + one, help=offers[one]) for one in begun]


class GpuName(Word):
    """A GPU as the knowledge names it, in one word: `rtx-4090`, `a100-sxm4-80gb`."""

    name = "gpu"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """The GPUs by their names in one word."""
        from click.shell_completion import CompletionItem

        from envdoctor.knowledge import load

        knowledge = load()
        offers = {one_word(one, knowledge): one.model for one in knowledge.gpus}
        return [
            CompletionItem(one, help=offers[one])
            for one in _begun_with(incomplete.lower(), sorted(offers))
        ]


def one_word(gpu: "GpuModel", knowledge: "Knowledge") -> str:
    """A GPU's name without spaces, which needs no quotes in a shell; without `geforce` where that
    is understood."""
    whole = "-".join(gpu.model.lower().replace("/", " ").split())
    short = whole.removeprefix("geforce-")
    return short if knowledge.named(short).model == gpu else whole


def _begun_with(start: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(start)]
