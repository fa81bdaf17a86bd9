"""The lines of the findings list: topics, causes, consequences, checks and probes."""

import time
from dataclasses import dataclass

from rich.text import Text
from textual.content import Content
from textual.widgets.tree import TreeNode

from envdoctor.findings import Finding, Severity
from envdoctor.report import CheckRecord
from envdoctor.tui.grouping import Group
from envdoctor.tui.state import ProbeState
from envdoctor.tui.widgets.finding_text import finding_text
from envdoctor.tui.widgets.strip import probe_line
from envdoctor.tui.words import SEVERITY_SYMBOL, plural


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a line of the tree stands for; `key` is stable while the report changes."""

    key: str
    finding: Finding | None = None
    check: CheckRecord | None = None
    probe: ProbeState | None = None
    note: str = ""


Node = TreeNode[Row]


def add_group(root: Node, group: Group) -> None:
    """The causes of one topic, consequences below them."""
    node = root.add(Text(group.topic, "bold"), data=Row(key=f"topic {group.topic}"), expand=True)
    for cause in group.causes:
        row = Row(key=cause.finding.id, finding=cause.finding)
        label = finding_label(cause.finding)
        if not cause.consequences:
            node.add_leaf(label, data=row)
            continue
        below = node.add(label, data=row, expand=True)
        for other in cause.consequences:
            below.add_leaf(finding_label(other), data=Row(key=other.id, finding=other))


def add_passed(root: Node, checks: tuple[CheckRecord, ...], opened: set[str]) -> None:
    """The checks that found nothing, closed unless the user opened them."""
    if not checks:
        return
    node = root.add(
        Text(f"✓ {plural(len(checks), 'check')} found nothing"),
        data=Row(key="passed", note="these checks ran and found nothing"),
        expand="passed" in opened,
    )
    for check in checks:
        node.add_leaf(Text(f"✓ {check.topic}: {check.name}"), data=_check_row(check))


def add_unrun(root: Node, reasons: dict[str, tuple[CheckRecord, ...]], opened: set[str]) -> None:
    """The checks that did not run, by the reason."""
    if not reasons:
        return
    number = sum(len(checks) for checks in reasons.values())
    node = root.add(
        Text(f"– {plural(number, 'check')} did not run"),
        data=Row(key="unrun", note="unknown is not healthy: below is why they could not look"),
        expand="unrun" in opened,
    )
    for reason, checks in reasons.items():
        key = f"reason {reason}"
        below = node.add(Text(reason), data=Row(key=key, note=reason), expand=key in opened)
        for check in checks:
            below.add_leaf(Text(f"– {check.topic}: {check.name}"), data=_check_row(check))


def _check_row(check: CheckRecord) -> Row:
    return Row(key=f"check {check.name}", check=check)


def finding_label(finding: Finding) -> Text:
    """`✗ ED201 driver-too-old: driver 470.82 ...` for one line of the tree."""
    colour = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
    symbol = "↳ " if finding.because else ""
    return Text.assemble(
        (f"{symbol}{SEVERITY_SYMBOL[finding.severity]} {finding.code} ", colour[finding.severity]),
        (finding.name, "bold"),
        f": {finding.message}",
    )


def probe_label(probe: ProbeState) -> Text:
    """What a probe does or did, as a label."""
    return Text(probe_line(probe, time.monotonic()).plain)


def nodes_below(node: Node) -> list[Node]:
    """All nodes below one, from top to bottom."""
    found: list[Node] = []
    for child in node.children:
        found += [child, *nodes_below(child)]
    return found


def preview(row: Row | None) -> Content:
    """What the pane says about the line under the cursor."""
    if row is None:
        return Content("")
    if row.finding is not None:
        return finding_text(row.finding)
    if row.check is not None:
        return _check_text(row.check)
    if row.probe is not None:
        slow = f"\nslow because: {row.probe.slow_because}" if row.probe.slow_because else ""
        return Content(f"probe {row.probe.name}: {row.probe.detail or row.probe.state}{slow}")
    return Content(row.note)


def _check_text(check: CheckRecord) -> Content:
    codes = ", ".join(check.codes)
    outcome = f"{check.status}: {check.reason}" if check.reason else "ran and found nothing"
    return Content.assemble(
        (f"check {check.name}", "bold"),
        f"  topic {check.topic}, codes {codes}\n{outcome}\n",
        (f"{check.seconds * 1000:.1f} ms", "$text-muted"),
    )
