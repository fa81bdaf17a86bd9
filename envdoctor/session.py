"""What every command that diagnoses has in common: plugins, knowledge, children, output."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property

import click

from envdoctor.collect import collect
from envdoctor.commands.errors import BadInput, nearest
from envdoctor.derived import observed_types_of
from envdoctor.facts import Snapshot
from envdoctor.facts.documents import BadFacts, Unwritable, read_snapshot, write_text
from envdoctor.find_target import TargetSearch
from envdoctor.knowledge import Knowledge, load
from envdoctor.options import Options
from envdoctor.plugins import Check, Loaded, load_plugins
from envdoctor.probes.choose import UnusableTarget
from envdoctor.progress import Progress
from envdoctor.redact import redactor


class Session:
    """The plugins and the knowledge of one run of the program, loaded when they are needed."""

    @cached_property
    def loaded(self) -> Loaded:
        """The plugins of this installation."""
        return load_plugins()

    @cached_property
    def knowledge(self) -> Knowledge:
        """What vendors publish."""
        return load()

    @property
    def services(self) -> dict[type, object]:
        """What checks and probes may ask for beside facts."""
        return {Knowledge: self.knowledge}

    def observe(self, options: Options, search: TargetSearch | None = None) -> Snapshot:
        """Examine the machine, with progress on standard error and no child left behind.

        `search` is that for the target, where it was begun before. Raises BadInput for a target
        that the user named and that is no Python.
        """
        search = search or TargetSearch(options)
        try:
            with Progress(sys.stderr) as progress:
                search.listen(progress.event)
                loaded = self.loaded
                return collect(
                    options,
                    loaded,
                    children=search.children,
                    context=search.context,
                    services=self.services,
                    on_event=progress.event,
                    target=search.choice(),
                )
        except UnusableTarget as error:
            raise BadInput(str(error)) from error
        finally:
            search.children.kill_all()

    def read(self, path: str) -> Snapshot:
        """The snapshot in a facts file or report. Raises BadInput."""
        try:
            return read_snapshot(path, observed_types_of(self.loaded))
        except BadFacts as error:
            raise BadInput(str(error)) from error

    def selection(self, only: Sequence[str], skip: Sequence[str]) -> Callable[[Check], bool]:
        """Which checks are wanted, by code, name or topic. Raises BadInput for an unknown one."""
        if not only and not skip:
            return lambda check: True
        known = {label for check in self.loaded.checks for label in labels_of(check)}
        for label in (*only, *skip):
            if label not in known:
                offer = nearest(label, known) or "`envdoctor rules` lists them"
                raise BadInput(f"`{label}` is no code, name or topic of a check; {offer}")
        return lambda check: (
            (not only or not labels_of(check).isdisjoint(only))
            and labels_of(check).isdisjoint(skip)
        )


def labels_of(check: Check) -> frozenset[str]:
    """All that a check can be called by: its name, its topic, its codes and their names."""
    codes = {label for code in check.codes for label in (code.id, code.name)}
    return frozenset({check.name, check.topic, *codes})


def user_redactor() -> Callable[[str], str]:
    """The redaction for everything that this user writes."""
    return redactor(os.path.expanduser("~"))


def emit(text: str, output: str | None, summary: str) -> None:
    """Print a document, or write it to a file and say so on standard error. Raises BadInput."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_text(output, text)
    except Unwritable as error:
        raise BadInput(f"{error}; name another with -o") from error
    click.echo(f"envdoctor: {summary}, written to {output}", err=True)


def use_colour() -> bool:
    """Whether standard output takes colour: a terminal, and neither NO_COLOR nor TERM=dumb."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()
