"""A tree that is built anew as the report changes, and keeps what its user did to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import on
from textual.strip import Strip
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from envdoctor.tui.words import themed


class Keyed(Protocol):
    """What a line stands for; `key` stays the same while the report changes."""

    @property
    def key(self) -> str: ...


K = TypeVar("K", bound=Keyed)


class KeptTree(Tree[K]):
    """Remembers by their keys which nodes were opened and closed, and where the cursor is."""

    def __init__(self, *, id: str) -> None:
        super().__init__("", id=id)
        self.show_root = False
        self.guide_depth = 2
        # Enter means more than opening and closing; whoever owns the tree decides.
        self.auto_expand = False
        self._turned: dict[str, bool] = {}
        self._placed = ""

    def render_label(self, node: TreeNode[K], base_style: Style, style: Style) -> Text:
        return themed(super().render_label(node, base_style, style))

    def render_line(self, y: int) -> Strip:
        """A line of the tree; one that is cut at the edge says so by `…`."""
        strip = super().render_line(y)
        whole, last = strip.divide([strip.cell_length - 1, strip.cell_length])
        if not last.text.strip() or strip.cell_length < self.size.width:
            return strip
        style = next((segment.style for segment in last), None)
        return Strip.join([whole, Strip([Segment("…", style)], 1)])

    @property
    def chosen(self) -> K | None:
        """What the cursor is on."""
        return self.cursor_node.data if self.cursor_node is not None else None

    def grow(self, below: TreeNode[K], label: Text, data: K, *, opened: bool) -> TreeNode[K]:
        """Add a node with more below it: as the user left it, else `opened` or not."""
        return below.add(label, data=data, expand=self._turned.get(data.key, opened))

    def toggle_below(self, node: TreeNode[K]) -> None:
        """Open or close a node that has anything below it."""
        if node.allow_expand:
            node.toggle()

    @on(Tree.NodeExpanded)
    @on(Tree.NodeCollapsed)
    def _remember(self, event: "Tree.NodeExpanded[K] | Tree.NodeCollapsed[K]") -> None:
        if event.node.data is not None:
            self._turned[event.node.data.key] = isinstance(event, Tree.NodeExpanded)

    @contextmanager
    def rebuilt(self, first: Callable[[K], bool]) -> Iterator[None]:
        """Clear the tree, let the caller fill it, and return to the line that the user chose.

        Before the user moves, the cursor is on the top line that is `first`.
        """
        kept, below_top = self._kept(first), self.cursor_line - self.scroll_offset.y
        self.clear()
        yield
        keys = self._keys()
        if kept in keys:
            self._put(keys.index(kept), below_top)
            return
        line = next((n for n in range(len(keys)) if self._is(first, n)), 0)
        self._placed = keys[line] if keys else ""
        self._put(line, line)

    def _kept(self, first: Callable[[K], bool]) -> str | None:
        chosen = self.chosen
        if chosen is None:
            return None
        stays = chosen.key != self._placed or (self.has_focus and first(chosen))
        return chosen.key if stays else None

    def _keys(self) -> list[str]:
        nodes = map(self.get_node_at_line, range(self.last_line + 1))
        return [node.data.key if node and node.data else "" for node in nodes]

    def _is(self, first: Callable[[K], bool], line: int) -> bool:
        node = self.get_node_at_line(line)
        return node is not None and node.data is not None and first(node.data)

    def _put(self, line: int, below_top: int) -> None:
        self.cursor_line = line
        self.scroll_to(y=max(line - below_top, 0), animate=False, immediate=True)
