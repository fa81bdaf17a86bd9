"""Reading small files that may be missing, unreadable or not text."""

from pathlib import Path


def read_text(path: Path, limit_bytes: int = 1 << 20) -> str | None:
    """The beginning of a file as text; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(limit_bytes).decode("utf-8", "replace")
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """The integer that a file holds; None where it holds none."""
    text = (read_text(path, 64) or "").strip()
    try:
        return int(text)
    except ValueError:
        return None
