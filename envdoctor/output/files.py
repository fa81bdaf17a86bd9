"""Files that are written whole or not at all."""

import contextlib
import os
import stat
from collections.abc import MutableSequence

from envdoctor.errors import Unwritable


def write_text(path: str, text: str, unfinished: MutableSequence[str] | None = None) -> None:
    """Write a whole file or nothing, through symbolic links; raises Unwritable.

    What is no file, as a pipe or /dev/stderr, is written to directly. `unfinished` holds the name
    of the temporary file as long as there may be one, for who ends the program meanwhile.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        mode = _mode_of(path)
        if mode is None or stat.S_ISREG(mode):
            unfinished = [] if unfinished is None else unfinished
            _replace(os.path.realpath(path), mode, data, unfinished)
        else:
            with open(path, "wb") as file:
                file.write(data)
    except (OSError, ValueError) as error:
        raise Unwritable(f"cannot write `{path}`: {_reason(path, error)}") from error


def append_text(path: str, text: str) -> None:
    """Append to a file that others append to as well, in one piece; raises Unwritable."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        with open(descriptor, "wb", buffering=0) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError) as error:
        raise Unwritable(f"cannot write `{path}`: {_reason(path, error)}") from error


def _replace(target: str, mode: int | None, data: bytes, unfinished: MutableSequence[str]) -> None:
    """Put a new file in the place of the old one, if any, with its permissions (`mode`)."""
    temporary = os.path.join(os.path.dirname(target), f".envdoctor-{os.urandom(8).hex()}.tmp")
    unfinished.append(temporary)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        discard(unfinished)
        raise
    unfinished.remove(temporary)


def discard(unfinished: MutableSequence[str]) -> None:
    """Remove the temporary files of what will not be finished."""
    while unfinished:
        with contextlib.suppress(OSError):
            os.unlink(unfinished.pop())


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
