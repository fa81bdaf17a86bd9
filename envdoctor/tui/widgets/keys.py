"""The last line: the keys that do something here. A click on one presses it.

Textual's own footer is a widget for each key, and makes all of them anew at every change of the
focus: about a third of the time that a change of the tab took.
"""

from collections.abc import Callable, Iterable, Iterator

from rich.markup import escape
from textual.binding import ActiveBinding, Binding
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static


class KeyLine(Static):
    """`r Re-run  c Copy fix  ? Help  q Quit`."""

    def on_mount(self) -> None:
        self._shown: tuple[str, ...] = ()
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self._changed(self.screen)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _changed(self, screen: Screen[object]) -> None:
        if screen is not self.screen:
            return
        shown = tuple(parts(screen.active_bindings.values(), self.app.get_key_display))
        if shown != self._shown:
            self._shown = shown
            self.update(Content.from_markup(" ".join(shown)))


def parts(bindings: Iterable[ActiveBinding], display: Callable[[Binding], str]) -> Iterator[str]:
    """Key and description of each binding that is shown and enabled, as markup."""
    for active in bindings:
        binding = active.binding
        if binding.show and active.enabled:
            key, what = escape(display(binding)), escape(binding.description)
            yield f"[@click=app.simulate_key('{binding.key}')][bold $text-accent]{key}[/] {what}[/]"
