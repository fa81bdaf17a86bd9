"""What is said in passing: what an event brought, and why something cannot be had now. Pure."""

from typing import Literal

from envdoctor.record import Record
from envdoctor.tui.contract import CalibrationEnded, Event, Failed, ReportReady, Saved, TargetState
from envdoctor.tui.grouping import Fate, fate_of
from envdoctor.tui.state import State
from envdoctor.tui.words import fate_text

MOST_FATES = 3
"""How many findings that are not found any more are named one by one."""


class Notice(Record):
    """A line that the user sees for some seconds."""

    text: str
    title: str = ""
    severity: Literal["information", "warning", "error"] = "information"


def notices(before: State, event: Event) -> tuple[Notice, ...]:
    """What the user is told of an event; `before` is the state before it."""
    if isinstance(event, ReportReady):
        return _what_became_of_findings(before.settled, event)
    if isinstance(event, Saved):
        return (Notice(text=f"written to {event.path}", title="saved"),)
    if isinstance(event, Failed):
        return (Notice(text=event.message, title="could not do it", severity="error"),)
    if isinstance(event, CalibrationEnded) and event.reason:
        return (Notice(text=event.reason, title="calibration", severity="warning"),)
    return ()


def _what_became_of_findings(before: ReportReady | None, now: ReportReady) -> tuple[Notice, ...]:
    if before is None or not now.final:
        return ()
    fates = ((one, fate_of(one, before, now)) for one in before.report.findings)
    texts = [fate_text(one, fate) for one, fate in fates if fate in (Fate.GONE, Fate.UNSEEN)]
    return tuple(Notice(text=text) for text in texts[:MOST_FATES])


def why_nothing_else(state: State) -> str | None:
    """Why nothing else can be examined now; a calibration costs too much to be lost by a slip."""
    if state.measuring is not None:
        return "a calibration is going on; `x` stops it first"
    return None


def why_not_on_top(state: State) -> str | None:
    """Why nothing that builds on the examination can begin now."""
    if state.examining is not None:
        return "the examination is not finished yet"
    if state.unfinished:
        return "the other targets are still examined"
    return why_nothing_else(state)


def why_not_shown(target: TargetState) -> str | None:
    """Why a target of the table cannot be shown."""
    if target.phase == "refused":
        return target.reason
    return None if target.phase == "done" else "its examination is not finished yet"


def why_not_saved(state: State) -> str | None:
    """Why what is shown is not worth a file."""
    if state.report is not None and state.final:
        return None
    return "the examination is not finished; only a screenshot can be saved now"
