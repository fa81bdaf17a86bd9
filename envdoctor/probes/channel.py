"""The channel from a child to the doctor: a file without a name, passed as a descriptor."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def anonymous_file() -> Iterator[int]:
    """A descriptor that a child can write to; in memory where the system has that, so that a
    full or read-only disk does not matter."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("envdoctor")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        yield fd
    finally:
        os.close(fd)


def read_all(fd: int, offset: int = 0) -> bytes:
    """Everything that was written to the descriptor, from its beginning or from an offset."""
    return os.pread(fd, max(0, os.fstat(fd).st_size - offset), offset)
