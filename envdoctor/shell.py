"""Commands that can be pasted into a shell: one place that quotes."""

import shlex


def command(*words: str) -> str:
    """One command line of these words, quoted for a POSIX shell where that is needed."""
    return shlex.join(words)


def assignment(name: str, value: str) -> str:
    """`NAME=value`, for the front of a command or after `export`."""
    return f"{name}={shlex.quote(value)}"
