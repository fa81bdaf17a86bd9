"""Ends what the doctor started when the doctor ends, however it ends and whatever a child did."""

import os
import resource
import signal
import subprocess
import threading
import time

_SCRIPT = """
groups=' '
while read -r what group; do
    case $what in
        +) groups="$groups$group " ;;
        -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
mark=$1 ours=$groups
for look in 1 2 3 4 5; do
    found=
    for file in $(grep -ls "$mark" /proc/[0-9]*/limits /proc/[0-9]*/environ); do
        pid=${file#/proc/}
        case $ours in *" ${pid%%/*} "*) ;; *) ours="$ours${pid%%/*} " found=1 ;; esac
    done
    more=1
    while [ "$more" ]; do
        more=
        for file in /proc/[0-9]*/stat; do
            read -r line <"$file" || continue
            set -- ${line##*) }
            case $1 in Z|X) continue ;; esac
            pid=${line%% *}
            case $ours in *" $pid "*) continue ;; esac
            case $ours in *" $2 "*|*" $3 "*|*" $4 "*) ours="$ours$pid " more=1 found=1 ;; esac
        done
    done
    for group in $groups; do kill -s KILL -- "-$group"; done
    for pid in $ours; do kill -s KILL "$pid"; done
    [ "$found" ] || [ "$look" = 1 ] || break
done
"""
"""Reads the process groups that begin (+) and end (-) until nobody can write any more. Ours is then
what carries the mark among its limits or variables, and whatever has a parent, a group or a session
(fields 4 to 6 of proc(5), /proc/pid/stat) that is ours; it is killed, and looked for again, because
it may start others meanwhile, and one that was just being started had no mark yet."""

_SHELL, _PATH = "/bin/sh", "/usr/bin:/bin"
_VARIABLE = "ENVDOCTOR_CHILD"

_RLIMIT_LOCKS = 10
"""A limit that Linux keeps, passes on and shows (proc(5), /proc/pid/limits), and has not used since
2.4 (getrlimit(2))."""

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S, _PAUSE_S = 0.3, 0.0005


class Guard:
    """A shell that outlives the doctor by a moment. Linux has PR_SET_PDEATHSIG for this, which
    neither reaches what a child starts nor is passed on by a wrapper in its place; a pipe is closed
    by every end, SIGKILL's too.

    A daemon is known by a number that it inherits twice: among its variables, which a program may
    clear, and as a limit that means nothing, which gVisor refuses to set. Where there is no shell,
    nothing is watched: then only the doctor itself ends its children, see `end_descendants`.
    """

    def __init__(self) -> None:
        # So long that no other number holds it.
        self._mark = (1 << 60) + int.from_bytes(os.urandom(7), "big")
        try:
            # With neither variables nor commands of the user: a shell takes functions from them.
            self._shell: subprocess.Popen[bytes] | None = subprocess.Popen(
                [_SHELL, "-c", _SCRIPT, "envdoctor-guard", str(self._mark)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": _PATH},
                start_new_session=True,
            )
        except OSError:
            self._shell = None
        if self._shell is not None and self._shell.stdin is not None:
            # One that was stopped reads no more, and must not stop the doctor.
            os.set_blocking(self._shell.stdin.fileno(), False)

    @property
    def mark(self) -> dict[str, str]:
        """The variable by which the children and all that they start are known."""
        return {_VARIABLE: str(self._mark)}

    def watch(self, group: int) -> None:
        """A process group has begun; its leader was just started."""
        self._limit(group)
        self._tell(f"+ {group}\n")

    def release(self, group: int) -> None:
        """A process group has ended."""
        self._tell(f"- {group}\n")

    def dismiss(self) -> None:
        """Have what is left ended. It is not waited for: to look at every process of a large
        machine takes longer than anything else that the doctor does at its end."""
        if self._shell is not None and self._shell.stdin is not None:
            self._shell.stdin.close()
            # A program that goes on shall have no zombie of it.
            threading.Thread(target=self._shell.wait, name="guard", daemon=True).start()

    def _limit(self, pid: int) -> None:
        """Mark a process by its limit of locks, unless it has one: that is the user's, or the mark
        of a doctor that runs this one."""
        try:
            if resource.prlimit(pid, _RLIMIT_LOCKS)[1] == resource.RLIM_INFINITY:
                resource.prlimit(pid, _RLIMIT_LOCKS, (self._mark, self._mark))
        except (OSError, ValueError, AttributeError):
            return

    def _tell(self, line: str) -> None:
        if self._shell is None or self._shell.stdin is None:
            return
        try:
            os.write(self._shell.stdin.fileno(), line.encode("ascii"))
        except (OSError, ValueError):
            # It was killed, or has been dismissed.
            return


def adopt_orphans() -> bool:
    """Make this process the parent of whatever loses its own among its descendants, so that none
    can hide; whether it is so now. For a process that is the doctor's own only.

    One that had children before (`server & exec envdoctor check`) leaves it: they are the user's.
    """
    if _children(os.getpid()):
        return False
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def end_descendants() -> None:
    """Kill every descendant of this process, a guard too. What the kernel cannot end, because it
    waits inside of a driver, is left behind."""
    deadline = time.monotonic() + _PATIENCE_S
    while _has_children() and time.monotonic() < deadline:
        for pid in _descendants(os.getpid()):
            _kill(pid)
        time.sleep(_PAUSE_S)


def _descendants(pid: int) -> list[int]:
    """Parents first."""
    found = _children(pid)
    for child in found:
        found.extend(_children(child))
    return found


def _children(pid: int) -> list[int]:
    """Those of all threads of a process; none where the kernel does not list them."""
    found: list[int] = []
    for thread in _listing(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
        except OSError:
            # It has ended meanwhile: its children are those of another thread, or ours.
            continue
    return found


def _listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return


def _has_children() -> bool:
    """Whether this process has a child, once those that have ended are reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except OSError:
        return False
    return True
