"""What was examined in this session, to be shown again, and its row in the table of all. Pure."""

from collections.abc import Callable

from envdoctor.facts import Snapshot
from envdoctor.options import Options
from envdoctor.record import Record
from envdoctor.report import Report
from envdoctor.tui.contract import Phase, TargetChanged, TargetState


class ExaminedTarget(Record):
    """A target with what was found, or the recorded machine of the file `path`."""

    options: Options
    path: str | None
    snapshot: Snapshot

    @property
    def key(self) -> str:
        """See `key_of`."""
        return key_of(self.options, self.path)


def key_of(options: Options, path: str | None) -> str:
    """What tells targets and files apart within a session."""
    return f"file {path}" if path is not None else f"target {options.python or ''}"


def row_of(
    safe: Callable[[str], str],
    phase: Phase,
    options: Options,
    *,
    path: str | None = None,
    report: Report | None = None,
    reason: str = "",
    asked: bool = False,
    is_shown: bool = False,
) -> TargetChanged:
    """The row of a target, with the texts as `safe` lets them through."""
    target = TargetState(
        key=key_of(options, path),
        name=safe(path or options.python or "the default target"),
        phase=phase,
        report=report,
        reason=safe(reason),
        asked=asked,
    )
    return TargetChanged(target=target, is_shown=is_shown)
