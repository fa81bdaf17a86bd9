"""Files that are written whole or not at all."""

import contextlib
import os
import stat

from envdoctor.errors import Unwritable


def write_text(path: str, text: str) -> None:
    """Write a whole file or nothing, through symbolic links; raises Unwritable.

    What is no file, as a pipe or /dev/stderr, is written to directly.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        mode = _mode_of(path)
        if mode is None or stat.S_ISREG(mode):
            _replace(os.path.realpath(path), mode, data)
        else:
            with open(path, "wb") as file:
                file.write(data)
    except (OSError, ValueError) as error:
        raise Unwritable(f"cannot write `{path}`: {_reason(path, error)}") from error


def _replace(target: str, mode: int | None, data: bytes) -> None:
    """Put a new file in the place of the old one, if any, with its permissions (`mode`)."""
    temporary = os.path.join(os.path.dirname(target), f".envdoctor-{os.urandom(8).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _mode_of(path: str) -> int | None:
    """Null where there is nothing yet."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _reason(path: str, error: Exception) -> str:
    folder = os.path.dirname(os.path.realpath(path)) if "\0" not in path else ""
    if isinstance(error, FileNotFoundError) and not os.path.isdir(folder):
        return f"there is no folder `{folder}`"
    return getattr(error, "strerror", None) or str(error)
