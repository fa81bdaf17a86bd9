"""The one way out: every document, line of progress and error line passes here, and its filter.

Colour is applied after the filter. Imports nothing heavy before there is a document.
"""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TextIO, TypeVar

from envdoctor.errors import Unwritable, described
from envdoctor.exit_codes import EXIT_INCOMPLETE, EXIT_OWN_FAULT
from envdoctor.formats import LOCATED, MACHINE, Detail, Document, Look, Page, Text, format_for
from envdoctor.output.error_documents import error_document
from envdoctor.output.printed import Printed
from envdoctor.output.status_line import StatusLine
from envdoctor.output.streams import (
    discard_the_rest,
    is_standard_output,
    takes_colour,
    width_of,
    write_all,
    write_at_once,
)
from envdoctor.watchdog import NEVER, Watchdog

if TYPE_CHECKING:
    from envdoctor.redaction import Filter

_REASONS: Mapping[int | None, str] = {
    errno.EPIPE: "who read it has closed it",
    errno.EBADF: "it is closed",
}

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable that names the file for GitHub's page of a run (GitHub Actions, "Workflow
commands")."""

OUT_OF_TIME = "time ran out before there was a report; give `--timeout` more seconds"

DEBUG = "ENVDOCTOR_DEBUG"
"""The variable that makes a fault of the doctor itself show its traceback."""

_D = TypeVar("_D")


class Destination:
    """Where a document goes, and in which format; null is standard output, and the default.
    `copies` are files in other formats beside that."""

    def __init__(
        self,
        format: str | None = None,
        file: str | None = None,
        plain: bool = False,
        *,
        colour: str = "auto",
        detail: Detail = "normal",
        copies: "Sequence[Destination]" = (),
    ) -> None:
        self.format = format
        self.file = file
        self.plain = plain
        self.colour = colour
        self.detail = detail
        self.copies = copies

    @property
    def is_chosen(self) -> bool:
        """Whether the user asked for a document in any way, and so for no full-screen view."""
        chosen = self.format is not None or self.file is not None
        return self.plain or chosen or bool(self.copies)


class Output:
    """The streams of one run of the program, and its clock. `machine` is the format in which an
    error is a document too; `began` is the moment of the monotonic clock at which the program did.
    """

    def __init__(self, *, machine: str | None = None, began: float | None = None) -> None:
        self.machine = machine
        self._began = time.monotonic() if began is None else began
        self.stdout = sys.stdout
        self.watchdog = Watchdog(self._last_words)
        self.end_children: Callable[[], object] = lambda: None
        """Ends what is below this process, where that is all the doctor's own."""
        self._begun = threading.Lock()
        self._is_in_a_file = False
        self._unfinished: list[str] = []
        """The temporary file that is being written, if any."""
        self._published = False
        self._failed = False
        self.serves_a_command = False

    @cached_property
    def _filter(self) -> "Filter":
        from envdoctor.redaction import user_filter

        return user_filter()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Meanwhile nothing but documents reaches standard output.

        What libraries and plugins print goes to standard error at the end; where there is no
        document it is one, as the help of a command is.
        """
        printed, is_document = Printed(self.stdout), False
        self.stdout = printed.stdout
        try:
            with printed:
                yield
            is_document = not self._published
        finally:
            text = printed.text()
            if text and not is_document:
                self._write_error(self._filter.text(text))
        if text and is_document:
            # Before a command begins there is only the version and help that we wrote ourselves.
            own = not self.serves_a_command
            self._print(text if own else self._filter.text(text), machine=False)

    def limit(self, timeout_s: float | None) -> float:
        """Bound the whole run, or not (null); returns the moment of the monotonic clock at which
        it is to end."""
        deadline = NEVER if timeout_s is None else self._began + timeout_s
        self.watchdog.limit(deadline)
        return deadline

    def publish(self, document: Document, to: Destination, summary: str = "") -> None:
        """Write a document and its copies; where it goes to a file, say so and the summary.
        Raises Unwritable."""
        self._published = True
        for copy in to.copies:
            name = format_for(copy.format, copy.file, document.formats)
            self._write(copy.file or "", _emitted(document, name, self._look(copy, name)), "")
        name = format_for(to.format, to.file, document.formats)
        text = _emitted(document, name, self._look(to, name))
        if to.file is None or is_standard_output(to.file):
            self._print(text, machine=name in MACHINE)
        else:
            self._write(to.file, text, summary)
            self._is_in_a_file = True
        if any(one.format == "github" for one in (to, *to.copies)):
            self._append_step_summary(document)

    def _write(self, file: str, text: str, summary: str) -> None:
        from envdoctor.output.files import write_text

        # The time is for looking: a slow disk is waited for, as who reads slowly is.
        self.watchdog.limit(NEVER)
        write_text(file, text, self._unfinished)
        self.say(f"{summary}, written to {file}" if summary else f"written to {file}")

    def _append_step_summary(self, document: Document) -> None:
        """GitHub shows that file on the page of a run. It is no reason to fail."""
        file = os.environ.get(STEP_SUMMARY)
        if not file:
            return
        from envdoctor.output.files import append_text

        try:
            append_text(file, _emitted(document, "markdown", Look()))
        except Unwritable as error:
            self.say(str(error))

    def _look(self, to: Destination, name: str) -> Look:
        if name in LOCATED:
            from envdoctor.project_lines import lines_of_project, root_of_project

            folder = os.path.realpath(os.getcwd())
            root = root_of_project(folder, os.environ)
            lines = lines_of_project(folder, root)
            return Look(detail=to.detail, lines=lines, root=root, folder=folder)
        if to.file is not None or to.plain:
            return Look(detail=to.detail)
        colour = to.colour == "always" or (to.colour == "auto" and takes_colour(self.stdout))
        width, is_terminal = width_of(self.stdout), self.stdout.isatty()
        return Look(colour=colour, width=width, terminal=is_terminal, detail=to.detail)

    def safe(self, document: _D) -> _D:
        """The document as it may be shown; the placeholders are the same for all of this run."""
        return self._filter.document(document)

    def safe_text(self, text: str) -> str:
        """The text as it may be shown."""
        return self._filter.text(text)

    def safe_line(self, text: str) -> str:
        """The same on one line."""
        return self._filter.line(text)

    def protocol(self) -> TextIO:
        """Standard output for a protocol that a command speaks there instead of writing a document;
        whatever else there is to say goes to standard error from now on."""
        self._published = True
        self._begin()
        if isinstance(self.stdout, io.TextIOWrapper):
            self.stdout.reconfigure(encoding="utf-8")
        return self.stdout

    def say(self, text: str) -> None:
        """One line on standard error; nothing where that cannot be written."""
        self.status_line().say(text)

    def status_line(self) -> "StatusLine":
        """The line on standard error that tells the progress."""
        return StatusLine(self._filter, self._write_error)

    def fail(self, message: str, code: int) -> int:
        """Say on one line why there is no result, and in a machine format as a document too;
        returns the exit code. Writes no second document and raises nothing."""
        message = self._filter.line(message)
        self.say(message)
        self._failed = True
        if self.machine and not self.has_begun:
            with contextlib.suppress(Unwritable):
                self._print(error_document(self.machine, message, code), machine=True)
        return code

    def own_fault(self, error: BaseException) -> int:
        """The same for what nobody foresaw; its traceback only where that is asked for."""
        if os.environ.get(DEBUG):
            self._show_traceback(error)
        return self.fail(
            f"failed itself: {described(error)}; please report it ({DEBUG}=1 shows where)",
            EXIT_OWN_FAULT,
        )

    def last_resort(self, message: str, code: int) -> int:
        """The same as `fail` where that failed too: fixed words, which need no filter."""
        return self._say_at_once(message, code, is_first=self._begin())

    def _say_at_once(self, message: str, code: int, *, is_first: bool) -> int:
        if not self._failed:
            write_at_once(2, f"envdoctor: {message}\n")
        if self.machine and is_first:
            with contextlib.suppress(OSError, ValueError):
                document = error_document(self.machine, message, code)
                write_at_once(self.stdout.fileno(), document)
        return code

    def ended_by(self, number: int) -> int:
        """The same as `fail` where a signal ended the program."""
        return self.fail(_in_words(number), 128 + number)

    def _last_words(self, number: int | None) -> int | None:
        """Those of the watchdog: only fixed ones, and only what a stream takes at once."""
        is_first = self._begin()
        if number is None and not is_first:
            return None
        self.end_children()
        if self._unfinished:
            from envdoctor.output.files import discard

            discard(self._unfinished)
        if number is None:
            return self._say_at_once(OUT_OF_TIME, EXIT_INCOMPLETE, is_first=True)
        return self._say_at_once(_in_words(number), 128 + number, is_first=is_first)

    def _begin(self) -> bool:
        """Whether this is the first document; there is no second one."""
        return self._begun.acquire(blocking=False)

    @property
    def has_begun(self) -> bool:
        """Whether a document was written, or is being written."""
        return self._begun.locked() or self._is_in_a_file

    def thread_failed(self, ended: threading.ExceptHookArgs) -> None:
        """What threading.excepthook is for: one line instead of a traceback."""
        if ended.exc_value is not None and not os.environ.get(DEBUG):
            self.say(f"one of its threads failed: {described(ended.exc_value)}")
        elif ended.exc_value is not None:
            self._show_traceback(ended.exc_value)

    def _show_traceback(self, error: BaseException) -> None:
        import traceback

        self._write_error(self._filter.text("".join(traceback.format_exception(error))))

    def _print(self, text: str, *, machine: bool) -> None:
        encoding = "utf-8" if machine else self.stdout.encoding or "utf-8"
        data = text.encode(encoding, "backslashreplace")
        if not self._begin():
            return
        try:
            write_all(self.stdout, data)
        except (OSError, ValueError) as error:
            discard_the_rest(self.stdout)
            number = getattr(error, "errno", None)
            reason = _REASONS.get(number) or getattr(error, "strerror", None) or error
            raise Unwritable(f"cannot write to standard output: {reason}") from error

    def _write_error(self, text: str) -> bool:
        """Whether it was written."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            discard_the_rest(sys.stderr)
            return False
        return True


def _emitted(document: Document, name: str, look: Look) -> str:
    """The document, filtered, in a format."""
    from envdoctor.redaction import user_filter

    safe = user_filter(for_programs=name in MACHINE)
    if isinstance(document, Text):
        return _laid_out(document, safe.text(document.body), look)
    from envdoctor.render.emitters import EMITTERS
    from envdoctor.report import shown_in

    return EMITTERS[name](safe.document(shown_in(document, name)), look)


def _laid_out(document: Text, body: str, look: Look) -> str:
    if not isinstance(document, Page):
        return body
    from envdoctor.render.fold import page

    return page(body, look)


def _in_words(number: int) -> str:
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
