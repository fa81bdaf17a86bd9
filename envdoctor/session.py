"""What every command that diagnoses has in common: plugins, knowledge, children, output."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial

import click

from envdoctor.collect import collect
from envdoctor.commands.errors import BadInput, nearest
from envdoctor.derived import observed_types_of
from envdoctor.events import OnEvent
from envdoctor.facts import Snapshot
from envdoctor.facts.documents import BadFacts, Unwritable, read_snapshot, write_text
from envdoctor.find_target import find_target
from envdoctor.knowledge import Knowledge, load
from envdoctor.options import Options
from envdoctor.plugins import Check, Loaded, load_plugins
from envdoctor.probes.choose import Choice, UnusableTarget
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.run import Children
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

    def observe(self, options: Options) -> Snapshot:
        """Examine the machine, with progress on standard error and no child left behind.

        Raises BadInput for a target that the user named and that is no Python.
        """
        children = Children()
        context = context_of(children)
        try:
            with Progress(sys.stderr) as progress:
                target = _Finding(options, context, progress.event)
                loaded = self.loaded
                return collect(
                    options,
                    loaded,
                    children=children,
                    context=context,
                    services=self.services,
                    on_event=progress.event,
                    target=target.choice(),
                )
        except UnusableTarget as error:
            raise BadInput(str(error)) from error
        finally:
            children.kill_all()

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


class _Finding:
    """The target being found, in a thread of its own, while the plugins are loaded."""

    def __init__(self, options: Options, context: Context, on_event: OnEvent) -> None:
        self._look = partial(find_target, options, context, on_event)
        self._choice: Choice | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._find, name="find target", daemon=True)
        self._thread.start()

    def _find(self) -> None:
        try:
            self._choice = self._look()
        except Exception as error:
            self._error = error

    def choice(self) -> Choice:
        """The target, once it is found. Raises what the search raised."""
        self._thread.join()
        if self._choice is None:
            raise self._error or RuntimeError("the search for the target was ended")
        return self._choice


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
