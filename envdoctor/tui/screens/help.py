"""The keys, on one page."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = (
    (
        "everywhere",
        (
            ("1 2 3 4 5 6", "the tabs, from overview to targets"),
            ("Tab, arrows, Enter", "to the next part, move, choose"),
            ("r", "look at everything again"),
            ("R", "look again at what one check needs"),
            ("t", "examine another interpreter"),
            ("c 1 2 3", "copy a fix's commands, by its number"),
            ("w", "look again at every change; again ends it"),
            ("m", "measure, or measure again"),
            ("x", "stop measuring; what was measured is kept"),
            ("s", "save JSON, Markdown, facts or a screenshot"),
            ("o", "open a saved report or facts file"),
            ("d", "dark or light; the next start begins with it"),
            ("Ctrl-P", "command palette"),
            ("q", "quit"),
            ("Ctrl-C", "quit at once, also in the middle of work"),
        ),
    ),
    (
        "findings",
        (
            ("/", "filter by words; Esc clears"),
            ("f", "all severities, warnings and errors, errors only"),
            ("Enter", "all about a finding; opens and closes a group"),
            ("Space", "opens and closes what is below a line"),
        ),
    ),
    (
        "detail",
        (
            ("n p", "next and previous finding"),
            ("Esc", "back"),
        ),
    ),
    (
        "libraries",
        (("/", "search a library; Esc clears"),),
    ),
    (
        "what-if",
        (
            ("/", "search a GPU; Esc clears"),
            ("f", "usual, fastest, most memory, by name"),
            ("up down, Enter", "what that GPU would bring here"),
        ),
    ),
    (
        "targets",
        (("Enter", "show that target on the other tabs"),),
    ),
)


class HelpScreen(ModalScreen[None]):
    """A box with all keys; any of Esc, `?` and `q` closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close", show=False),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help", classes="dialog") as box:
            box.border_title = "keys"
            box.border_subtitle = "Esc closes"
            yield Static(help_text(), markup=False)


def help_text() -> Content:
    """The table of keys."""
    lines: list[Content] = []
    for place, keys in KEYS:
        lines.append(Content.styled(place, "bold"))
        lines += [
            Content.assemble((f"  {key:<20}", "bold $text-accent"), what) for key, what in keys
        ]
    return Content("\n").join(lines)
