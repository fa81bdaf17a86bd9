"""The two sides of a comparison: read, imported or examined now, diagnosed, and compared.

Prints nothing. What cannot be used is raised as BadInput.
"""

import codecs
import os
import re
import shutil
import stat
import time
from functools import cached_property

import msgspec

from envdoctor.compare.pair import Examined
from envdoctor.compare.places import Places
from envdoctor.compare.python import ON_SYS_PATH
from envdoctor.compare.records import Comparison, Difference, SourceKind
from envdoctor.compare.sides import compare
from envdoctor.derived import observed_types_of
from envdoctor.diagnose import judge
from envdoctor.errors import BadInput
from envdoctor.facts import Fact, Snapshot
from envdoctor.facts.documents import (
    as_it_was,
    facts_from_builtins,
    facts_to_builtins,
    read_bytes,
    snapshot_in,
)
from envdoctor.findings import Finding, Severity
from envdoctor.importers.collect_env import is_collect_env, snapshot_of
from envdoctor.options import Options
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.environment import NOT_SHOWN
from envdoctor.probes.run import Children
from envdoctor.probes.trials import Effect, Try, effect
from envdoctor.redaction import user_filter
from envdoctor.session import SILENT, Listener, Session
from envdoctor.watchdog import NEVER

THIS_MACHINE = "this machine now"
"""What a live side is called whose interpreter is not known."""


def examined(
    session: Session, named: str | None, options: Options, listener: Listener = SILENT
) -> Examined:
    """One side: this machine now (None), an interpreter that is examined, or what a file holds.

    Raises BadInput.
    """
    if named is None or is_interpreter(named):
        asked = msgspec.structs.replace(options, python=named or options.python)
        snapshot = session.observe(asked, listener=listener)
        report = session.diagnose(snapshot, asked)
        label = report.target.path if report.target else THIS_MACHINE
        as_written = _as_written(snapshot, observed_types_of(session.loaded))
        return Examined(label=label, kind="live", snapshot=as_written, report=report)
    data = read_bytes(named)
    text = _decoded(data)
    if is_collect_env(text):
        return _side(session, named, "collect_env", snapshot_of(text), options)
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        raise BadInput(
            f"`{named}` is neither a facts file or report (`envdoctor collect` makes one) nor the "
            "text of `python -m torch.utils.collect_env` nor an interpreter"
        )
    snapshot = snapshot_in(named, data, observed_types_of(session.loaded))
    return _side(session, named, "document", snapshot, options)


def _decoded(data: bytes) -> str:
    """A text as it was redirected into a file: PowerShell writes UTF-16, with its mark first."""
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if marked else "utf-8", "replace")


def _side(
    session: Session, named: str, kind: SourceKind, snapshot: Snapshot, options: Options
) -> Examined:
    report = session.diagnose(snapshot, options)
    label = "standard input" if named == "-" else named
    return Examined(label=label, kind=kind, snapshot=snapshot, report=report)


def _as_written(snapshot: Snapshot, kinds: tuple[type[Fact], ...]) -> Snapshot:
    """The snapshot as a facts file of it would be read: homes, names and secrets are in it as they
    are in the other side's."""
    written = user_filter(for_programs=True).values(facts_to_builtins(snapshot))
    return facts_from_builtins(as_it_was(written), kinds)


_ELF = b"\x7fELF"
_SCRIPT = b"#!"


def is_interpreter(named: str) -> bool:
    """Whether it is to be run: a folder, a program, or the name of a command."""
    path = os.path.expanduser(named)
    if os.path.isdir(path):
        return True
    if not os.path.exists(path):
        # A link whose end is gone, as in a venv whose Python was removed.
        return os.path.islink(path) or (os.sep not in named and shutil.which(named) is not None)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        return os.read(descriptor, len(_ELF)).startswith((_ELF, _SCRIPT))
    finally:
        os.close(descriptor)


def compared(session: Session, first: Examined, second: Examined) -> Comparison:
    """The differences of two sides, and which explain what one side alone has."""
    loaded, services = session.loaded, session.services

    def ask(snapshot: Snapshot, codes: frozenset[str]) -> tuple[Finding, ...]:
        found = judge(
            snapshot,
            loaded,
            services,
            wanted=lambda check: any(code.id in codes for code in check.codes),
        ).findings
        return tuple(one for one in found if one.severity is not Severity.INFO)

    return compare(first, second, session.knowledge, ask)


# --- the proof ---


def proved(
    comparison: Comparison, first: Examined, second: Examined, deadline: float = NEVER
) -> Comparison:
    """The comparison with what came of trying variables and folders of the other side here, each
    in a child. Nothing is changed by it. One side is this machine."""
    here, there = (first, second) if first.kind == "live" else (second, first)
    target = here.report.target
    if target is None or target.problem is not None:
        return comparison
    children = Children()
    try:
        trial = _Trial(target.path, context_of(children), deadline, here, there)
        differences = tuple(
            msgspec.structs.replace(one, proof=trial.proof(one, is_first=here is first))
            for one in comparison.differences
        )
    finally:
        children.kill_all()
    return msgspec.structs.replace(comparison, differences=differences)


_ALL_LIMIT_S = 120.0
"""For all trials together."""

_PATHS = re.compile(r"(?<![\w.])[~/][^:\s]*")


class _Trial:
    """Uses torch in children of this machine: once as it is, then with one thing of the other."""

    def __init__(
        self,
        executable: str,
        context: Context,
        deadline: float,
        here: Examined,
        there: Examined,
    ) -> None:
        self._executable = executable
        self._context = context
        self._deadline = min(deadline, time.monotonic() + _ALL_LIMIT_S)
        self._here, self._there = Places(here.snapshot), Places(there.snapshot)

    @cached_property
    def _as_it_is(self) -> Effect | None:
        return effect(None, self._executable, self._context, self._deadline)

    def proof(self, one: Difference, *, is_first: bool) -> str:
        """What comes of it, in words; empty for what no child can have otherwise."""
        if one.follows:
            return ""
        theirs = one.second if is_first else one.first
        if one.part == "variables" and any(breaks.startswith(_SHOWN) for breaks in one.can_break):
            return self._of_variable(one.name, theirs)
        if one.name.startswith(ON_SYS_PATH) and theirs is not None:
            own = self._context.env.get("PYTHONPATH", "")
            return self._of_variable("PYTHONPATH", ":".join(filter(None, (theirs, own))))
        return ""

    def _of_variable(self, name: str, theirs: str | None) -> str:
        if theirs is None:
            return self._of(Try(change="unset", variable=name))
        if NOT_SHOWN in theirs:
            return "not tried: its value is not known"
        # What lies in the other's environment lies in that of this side too.
        value = self._here.own(self._there.mapped(theirs)) if _PATHS.search(theirs) else theirs
        value = ":".join(map(os.path.expanduser, value.split(":")))
        paths = _PATHS.findall(value)
        if paths and not any(map(os.path.exists, paths)):
            return f"not tried: `{paths[0]}` is not here"
        return self._of(Try(change="set", variable=name, value=value))

    def _of(self, one: Try) -> str:
        before = self._as_it_is
        after = effect(one, self._executable, self._context, self._deadline)
        if before is None or after is None:
            return "not tried: no time was left"
        return _in_words(one, before, after)


_SHOWN = ("import:torch", "compute")
"""What the children show."""


def _in_words(one: Try, before: Effect, after: Effect) -> str:
    how = f"without {one.variable}" if one.change == "unset" else f"with {one.variable}={one.value}"
    message = after.message or after.outcome
    if before.outcome == after.outcome == "ok":
        if before.message == after.message:
            return f"tried here, {how}: nothing changes, {message}"
        return f"proved here, {how}: {message}; as it is, {before.message}"
    if after.outcome == "ok":
        return f"proved here, {how}: {message}; as it is, that fails"
    if before.outcome == "ok":
        return f"proved here, {how}: torch fails ({message})"
    return f"tried here, {how}: torch fails as before ({message})"
