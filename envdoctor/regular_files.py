"""Opens what must be a regular file: a pipe or a device in its place would be waited for without
end, or would have no end."""

import errno
import os
import stat


def only_regular(path: str, flags: int) -> int:
    """An `opener` for `open()`. Raises OSError for anything but a regular file."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return descriptor
