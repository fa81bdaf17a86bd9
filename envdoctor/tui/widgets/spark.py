"""A row with a label and the curve of a figure over time."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Sparkline, Static


class SparkRow(Horizontal):
    """`cuda:0 fp16   812 images/s  ▂▄▆▇▇▇`."""

    def __init__(self, name: str) -> None:
        super().__init__(classes="spark-row")
        self._label = Static(name, markup=False, classes="spark-label")
        self._line = Sparkline([])

    def compose(self) -> ComposeResult:
        yield self._label
        yield self._line

    def show(self, label: str, data: Sequence[float]) -> None:
        """Another label, and the figures so far."""
        self._label.update(label, layout=False)
        # From nothing, so that a figure that has settled looks settled.
        self._line.data = [0.0, *data]
