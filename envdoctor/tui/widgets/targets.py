"""All targets of this session side by side: a verdict a line, and the whole of the chosen one."""

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from envdoctor.findings import Verdict
from envdoctor.render.text import meaning_of
from envdoctor.report import Report, StackGpu
from envdoctor.tui.contract import TargetState
from envdoctor.tui.state import State
from envdoctor.tui.widgets.banner import cause_lines
from envdoctor.tui.widgets.paragraphs import Paragraph, Paragraphs
from envdoctor.tui.words import VERDICT_STYLE, VERDICT_SYMBOL

_ALONE = "`t` examines another interpreter beside this one, `o` opens a recorded machine"
_NONE = f"nothing examined yet; {_ALONE}"
_EMPTY = Paragraph(text=Content(""))
_PHASES = {"waiting": "· waiting", "looking": "… looking", "refused": "✗ refused"}
_VERDICT, _TORCH, _PYTHON, _GPUS, _ROOT = 14, 16, 9, 24, 36
_WIDE, _BROAD = 110, 150
"""From so many columns on the root cause is in the table too, and the GPUs."""


class TargetsPane(Vertical):
    """The table; Enter shows a target on all tabs."""

    state: reactive[State] = reactive(State())

    class Opened(Message):
        """The user wants to see a target."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def compose(self) -> ComposeResult:
        yield Static("", id="targets-head", markup=False)
        yield OptionList(id="targets-table", markup=False)
        with VerticalScroll(id="target-detail"):
            yield Static(_NONE, id="target-text", markup=False)

    def on_mount(self) -> None:
        self._width = 0

    def on_resize(self, event: Resize) -> None:
        if self.size.width != self._width:
            self._list()

    def watch_state(self, before: State, state: State) -> None:
        changed = before.beside != state.beside or before.shown_target != state.shown_target
        if self.is_mounted and changed:
            self._list()

    @property
    def chosen(self) -> TargetState | None:
        """The target under the cursor."""
        at = self.query_one(OptionList).highlighted
        rows = self.state.beside
        return rows[at] if at is not None and at < len(rows) else None

    def _list(self) -> None:
        self._width = self.size.width
        table, rows, width = self.query_one(OptionList), self.state.beside, self._width - 2
        at = table.highlighted_option.id if table.highlighted_option else self.state.shown_target
        keys = [row.key for row in rows]
        shown = self.state.shown_target
        columns = Columns(rows, width)
        table.set_options(Option(columns.line(row, row.key == shown), id=row.key) for row in rows)
        table.highlighted = keys.index(at) if at in keys else (0 if keys else None)
        self.query_one("#targets-head", Static).update(columns.head())
        self._show_detail()

    def _show_detail(self) -> None:
        row, text = self.chosen, self.query_one("#target-text", Static)
        if row is None:
            text.update(_NONE)
            return
        parts = detail(row, is_shown=row.key == self.state.shown_target)
        if len(self.state.beside) == 1:
            parts.append(Paragraph(text=Content.styled(_ALONE, "$text-muted")))
        text.update(Paragraphs(parts))

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._show_detail()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id is not None:
            self.post_message(self.Opened(event.option.id))


class Columns:
    """The columns that fit a width, and the lines of the table in them."""

    def __init__(self, rows: Sequence[TargetState], width: int) -> None:
        self._is_wide, self._is_broad = width >= _WIDE, width >= _BROAD
        others = 2 + _VERDICT + _TORCH + _PYTHON
        others += _ROOT * self._is_wide + _GPUS * self._is_broad
        longest = max((len(_place(row)) for row in rows), default=0)
        self._width = width
        # What the others leave.
        self._place = max(12, min(longest + 2, width - others))

    def head(self) -> str:
        """Their titles."""
        place = f"{'target':<{self._place}}"
        more = f"{'GPUs':<{_GPUS}}" if self._is_broad else ""
        more += "root cause" if self._is_wide else ""
        verdict = f"{'verdict':<{_VERDICT - 2}}"
        return f"    {verdict}{place}{'torch':<{_TORCH}}{'Python':<{_PYTHON}}{more}"

    def line(self, row: TargetState, is_shown: bool) -> Content:
        """`▶ ✗ broken    ~/venv/bin/python  2.6.0+cu124  3.12.3`; the arrow is at what is shown."""
        report = row.report
        texts = [_cut(_place(row), self._place)]
        if report is not None:
            texts.append(_cut(report.stack.torch_version or "no torch", _TORCH))
            texts.append(_cut(report.stack.python or "", _PYTHON))
            texts.append(_cut(_gpus(report.stack.gpus), _GPUS) if self._is_broad else "")
            texts.append(_root(report) if self._is_wide else "")
        elif row.reason:
            texts.append(_cut(row.reason, self._width - 2 - _VERDICT - self._place))
        return Content.assemble("▶ " if is_shown else "  ", _verdict(row), *texts)


def _verdict(row: TargetState) -> Content:
    if row.report is None:
        style = "$text-error" if row.phase == "refused" else "$text-muted"
        return Content.styled(f"{_PHASES[row.phase]:<{_VERDICT}}", style)
    verdict = row.report.verdict
    return Content.styled(
        f"{f'{VERDICT_SYMBOL[verdict]} {verdict.value}':<{_VERDICT}}", VERDICT_STYLE[verdict]
    )


def detail(row: TargetState, *, is_shown: bool) -> list[Paragraph]:
    """What the target is, its verdict in words, and its root cause with the fixes."""
    title = Paragraph(text=Content.styled(_place(row), "bold"))
    report = row.report
    if report is None:
        return [title, Paragraph(text=Content(_without_report(row)))]
    says = Content.assemble(
        (report.verdict.value, VERDICT_STYLE[report.verdict]), f": {meaning_of(report)}"
    )
    parts = [title, Paragraph(text=says)]
    if report.verdict is not Verdict.HEALTHY:
        parts += cause_lines(report)
    opens = "it is what the other tabs show" if is_shown else "Enter shows it on the other tabs"
    return [*parts, _EMPTY, Paragraph(text=Content.styled(opens, "$text-muted"))]


def _without_report(row: TargetState) -> str:
    if row.phase == "refused":
        return row.reason
    if row.phase == "looking":
        return "it is being examined"
    return "it is examined as soon as those before it are"


def _place(row: TargetState) -> str:
    target = row.report.target if row.report else None
    if row.key.startswith("file ") or target is None:
        return row.name
    return target.path


def _gpus(gpus: tuple[StackGpu, ...]) -> str:
    if not gpus:
        return "no GPU"
    more = f" and {len(gpus) - 1} more" if len(gpus) > 1 else ""
    return gpus[0].name.removeprefix("NVIDIA ") + more


def _root(report: Report) -> str:
    if not report.findings or report.verdict is Verdict.HEALTHY:
        return ""
    return f"{report.findings[0].code} {report.findings[0].name}"


def _cut(text: str, width: int) -> str:
    """The text in so many columns with one blank behind it; of a path the end."""
    if len(text) < width:
        return f"{text:<{width}}"
    kept = f"…{text[2 - width :]}" if "/" in text else f"{text[: width - 2]}…"
    return f"{kept} "
