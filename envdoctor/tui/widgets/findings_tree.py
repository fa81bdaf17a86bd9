"""The lines of the findings list: topics, causes, consequences, checks and probes."""

import time

from rich.text import Text
from textual.content import Content
from textual.widgets.tree import TreeNode

from envdoctor.findings import TOPICS, Finding
from envdoctor.record import Record
from envdoctor.report import CheckRecord
from envdoctor.tui.grouping import Group, Wanted, passed_checks
from envdoctor.tui.state import ProbeState, State
from envdoctor.tui.unseen import ByReason, could_not_look, did_not_apply, number_of
from envdoctor.tui.widgets.finding_text import finding_text
from envdoctor.tui.widgets.kept_tree import KeptTree
from envdoctor.tui.widgets.paragraphs import Paragraphs
from envdoctor.tui.widgets.status_bar import probe_line
from envdoctor.tui.words import SEVERITY_STYLE, SEVERITY_SYMBOL, plural


class Row(Record):
    """What a line of the tree stands for; `key` is stable while the report changes."""

    key: str
    finding: Finding | None = None
    check: CheckRecord | None = None
    probe: ProbeState | None = None
    note: str = ""


Node = TreeNode[Row]


class FindingsTree(KeptTree[Row]):
    """Findings by topic; below them the checks that found nothing, those that did not run, and
    the probes."""

    def show(self, state: State, groups: tuple[Group, ...], wanted: Wanted) -> None:
        """All of it anew; the probes are open while they run."""
        report = state.report
        with self.rebuilt(lambda row: row.finding is not None):
            if report is not None:
                for group in groups:
                    self._add_group(group)
                self._add_passed(passed_checks(report, wanted))
                self._add_unrun(_BLIND, could_not_look(report, wanted))
                self._add_unrun(_NOT_HERE, did_not_apply(report, wanted))
            row = Row(key="probes")
            self._probes = self.grow(self.root, Text(""), row, opened=not state.final)
            self.show_probes(state.probes)

    def show_probes(self, probes: tuple[ProbeState, ...]) -> None:
        """What the probes do or did."""
        done = sum(not probe.running for probe in probes)
        self._probes.set_label(Text(f"· {done} of {plural(len(probes), 'probe')} done"))
        present = {child.data.key: child for child in self._probes.children if child.data}
        for probe in probes:
            row = Row(key=f"probe {probe.name}", probe=probe)
            node = present.pop(row.key, None)
            if node is None:
                self._probes.add_leaf(probe_label(probe), data=row)
            else:
                node.data = row
                node.set_label(probe_label(probe))
        for node in present.values():
            node.remove()

    def tick(self) -> None:
        """Turn the spinners."""
        for node in self._probes.children if self._probes.is_expanded else ():
            if node.data and node.data.probe and node.data.probe.running:
                node.set_label(probe_label(node.data.probe))

    def _add_group(self, group: Group) -> None:
        row = Row(key=f"topic {group.topic}")
        node = self.grow(self.root, Text(TOPICS[group.topic], "bold"), row, opened=True)
        for cause in group.causes:
            row = Row(key=cause.finding.id, finding=cause.finding)
            label = finding_label(cause.finding)
            if not cause.consequences:
                node.add_leaf(label, data=row)
                continue
            below = self.grow(node, label, row, opened=True)
            for other in cause.consequences:
                below.add_leaf(finding_label(other), data=Row(key=other.id, finding=other))

    def _add_passed(self, checks: tuple[CheckRecord, ...]) -> None:
        if not checks:
            return
        label = Text(f"✓ {plural(len(checks), 'check')} found nothing")
        row = Row(key="passed", note="these checks ran and found nothing")
        node = self.grow(self.root, label, row, opened=False)
        for check in checks:
            node.add_leaf(Text(f"✓ {check.topic}: {check.name}"), data=_check_row(check))

    def _add_unrun(self, kind: "_Unrun", reasons: ByReason) -> None:
        if not reasons:
            return
        label = Text(f"{kind.symbol} {plural(number_of(reasons), 'check')} {kind.words}")
        row = Row(key=kind.words, note=kind.note)
        node = self.grow(self.root, label, row, opened=kind.opened)
        for reason, checks in reasons.items():
            row = Row(key=f"reason {reason}", note=checks[0].why)
            below = self.grow(node, Text(checks[0].why), row, opened=False)
            for check in checks:
                below.add_leaf(
                    Text(f"{kind.symbol} {check.topic}: {check.name}"), data=_check_row(check)
                )


class _Unrun(Record):
    symbol: str
    words: str
    note: str
    opened: bool


_BLIND = _Unrun(
    symbol="?",
    words="could not look",
    note="unknown is not healthy: below is why they could not look",
    opened=True,
)
_NOT_HERE = _Unrun(
    symbol="–",
    words="skipped",
    note="these checks had nothing to look at here: below is why",
    opened=False,
)


def _check_row(check: CheckRecord) -> Row:
    return Row(key=f"check {check.name}", check=check)


def finding_label(finding: Finding) -> Text:
    """`✗ ED201 driver-too-old: driver 470.82 ...` for one line."""
    symbol = "↳ " if finding.because else ""
    severity = f"{symbol}{SEVERITY_SYMBOL[finding.severity]} {finding.code} "
    return Text.assemble(
        (severity, SEVERITY_STYLE[finding.severity]),
        (finding.name, "bold"),
        f": {finding.message}",
    )


def probe_label(probe: ProbeState) -> Text:
    """What a probe does or did, as a label."""
    return Text(probe_line(probe, time.monotonic()).plain)


def preview(row: Row | None) -> Content | Paragraphs:
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
    outcome = f"{check.status}: {check.why}" if check.reason else "ran and found nothing"
    return Content.assemble(
        (f"check {check.name}", "bold"),
        f"  topic {check.topic}, codes {codes}\n{outcome}\n",
        (f"{check.seconds * 1000:.1f} ms", "$text-muted"),
    )
