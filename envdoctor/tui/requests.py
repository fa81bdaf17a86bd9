"""What screens ask of the application, as messages."""

from textual.message import Message

from envdoctor.findings import Finding


class CopyRequested(Message):
    """Put a text on the clipboard; None where there is nothing to copy."""

    def __init__(self, text: str | None) -> None:
        super().__init__()
        self.text = text


class ForecastsRequested(Message):
    """Predict every GPU, for the table."""


class FixRequested(Message):
    """Copy a fix of this finding: the only one, or the one that the user then chooses."""

    def __init__(self, finding: Finding | None) -> None:
        super().__init__()
        self.finding = finding


class RerunRequested(Message):
    """Run one check again; None where none is chosen."""

    def __init__(self, check: str | None) -> None:
        super().__init__()
        self.check = check


class DetailRequested(Message):
    """Show all of a finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding


class TargetRequested(Message):
    """Show a target of this session, by its key."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class PredictionRequested(Message):
    """Predict what a GPU would bring here."""

    def __init__(self, gpu: str) -> None:
        super().__init__()
        self.gpu = gpu
