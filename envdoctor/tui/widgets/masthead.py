"""The two lines at the top: the machine, and the interpreter that is examined."""

from typing import Any

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from envdoctor.report import Report
from envdoctor.tui.state import State


class Masthead(Static):
    """Machine and target, one line each."""

    state: reactive[State] = reactive(State())

    def watch_state(self, before: State, state: State) -> None:
        shown = before.report is state.report and before.final == state.final
        if not shown or before.examining != state.examining:
            self.update(masthead(state))


def masthead(state: State) -> Content:
    """`machine` and `target` with what is known of them so far."""
    rows = (("machine", _machine(state)), ("target ", _target(state)))
    lines = [Content.assemble((f" {label} ", "bold"), text) for label, text in rows]
    return Content("\n").join(lines)


def _machine(state: State) -> str:
    report = state.report
    if report is None:
        return "…"
    host = _fact(report, "Host")
    system = " ".join(filter(None, (host.get("os_id"), host.get("os_version"))))
    known = (report.stack.os or system, host.get("cpu_name"), _source(state))
    unknown = "not known" if state.final else "…"
    return " · ".join(text for text in known if text) or unknown


def _source(state: State) -> str:
    if not state.source or state.report is None:
        return ""
    return f"recorded: {state.source}"


def _target(state: State) -> str:
    target = state.report.target if state.report else None
    if target is None:
        return state.examining or "none"
    python = state.report.stack.python if state.report else None
    version = f"Python {python}" if python else target.problem
    return " · ".join(text for text in (target.path, version, target.chosen_because) if text)


def _fact(report: Report, name: str) -> dict[str, Any]:
    value = report.facts.get(name, {}).get("value")
    return value if isinstance(value, dict) else {}
