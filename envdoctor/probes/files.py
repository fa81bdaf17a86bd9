"""Reading small files that may be missing, unreadable or not text, below any root."""

from pathlib import Path

from envdoctor.regular_files import only_regular


def matching(folder: Path, pattern: str) -> tuple[Path, ...]:
    """The paths below a folder that match; none where it is closed to this user."""
    try:
        return tuple(folder.glob(pattern))
    except OSError:
        return ()


def read_text(path: Path, limit_bytes: int = 1 << 20) -> str | None:
    """The beginning of a file as text; None where it cannot be read or is no regular one."""
    try:
        with open(path, "rb", opener=only_regular) as file:
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
