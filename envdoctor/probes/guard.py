"""Ends what the doctor started when the doctor ends, however it ends and whatever a child did."""

import os
import subprocess

_SCRIPT = """
groups=' '
while read -r what group; do
    case $what in
        +) groups="$groups$group " ;;
        -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
for file in $(grep -ls "$1" /proc/[0-9]*/environ); do
    pid=${file#/proc/}
    kill -s KILL "${pid%%/*}"
done
"""
"""Reads the process groups that begin (+) and end (-) until nobody can write any more, and kills
those that are left; then whatever carries the mark, in a session of its own or not."""

_VARIABLE = "ENVDOCTOR_CHILD"
_PATIENCE_S = 1.0


class Guard:
    """A shell that outlives the doctor by a moment. Linux has PR_SET_PDEATHSIG for this, which
    neither reaches what a child starts nor is passed on by a wrapper in its place; a pipe is closed
    by every end, SIGKILL's too.

    Where there is no shell, nothing is watched: then only the doctor itself ends its children.
    """

    def __init__(self) -> None:
        self._mark = f"{os.getpid()}-{os.urandom(8).hex()}"
        try:
            self._shell: subprocess.Popen[bytes] | None = subprocess.Popen(
                ["sh", "-c", _SCRIPT, "envdoctor-guard", f"{_VARIABLE}={self._mark}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            self._shell = None

    @property
    def mark(self) -> dict[str, str]:
        """The variable by which the children and all that they start are known."""
        return {_VARIABLE: self._mark}

    def watch(self, group: int) -> None:
        """A process group has begun."""
        self._tell(f"+ {group}\n")

    def release(self, group: int) -> None:
        """A process group has ended."""
        self._tell(f"- {group}\n")

    def dismiss(self) -> None:
        """End what is left."""
        if self._shell is None or self._shell.stdin is None:
            return
        self._shell.stdin.close()
        try:
            self._shell.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return

    def _tell(self, line: str) -> None:
        if self._shell is None or self._shell.stdin is None:
            return
        try:
            os.write(self._shell.stdin.fileno(), line.encode("ascii"))
        except (OSError, ValueError):
            # It was killed, or has been dismissed.
            return
