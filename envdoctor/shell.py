"""Commands that can be pasted into a shell: one place that quotes."""

import shlex


def command(*words: str) -> str:
    """One command line of these words, quoted for a POSIX shell where that is needed."""
    return shlex.join(words)
