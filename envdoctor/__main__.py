"""The entry point: keeps what hides modules from the target away from the doctor itself."""

import contextlib
import errno
import gc
import os
import sys
import time

ALLOCATIONS_BEFORE_COLLECTING = 200_000
"""Python collects after 700; next to nothing of what is made while the doctor loads is garbage, and
looking for it took a twentieth of `check --static`. A check makes a hundred thousand."""


def main() -> None:
    """Run the command line."""
    began = time.monotonic()
    keep_own_library()
    gc.set_threshold(ALLOCATIONS_BEFORE_COLLECTING)
    keep_descriptors()
    sys.path[:] = own_path(sys.path, os.environ.get("PYTHONPATH", ""), _cwd())
    try:
        from envdoctor.cli import main as run
    except Exception as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            _say("envdoctor: the system opens no more files for this program (`ulimit -n`)")
            sys.exit(3)
        _say(f"envdoctor: failed itself: {type(error).__name__}: {error}; is it installed whole?")
        sys.exit(4)
    except KeyboardInterrupt:
        _say("envdoctor: interrupted")
        sys.exit(130)
    try:
        run(began)
    except SystemExit as end:
        # Everything is written and every child has ended. Python would take a fiftieth of the time
        # of `check` to free one by one what the system frees at once.
        os._exit(end.code if isinstance(end.code, int) else 0)


def keep_own_library() -> None:
    """Begin again without PYTHONHOME, for this program alone: it gives the doctor the standard
    library of another Python too. The target gets it, as it gets the other variables."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    is_on_the_path = home in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if not os.environ.get("PYTHONHOME") or sys.flags.ignore_environment or is_on_the_path:
        return
    script = ["-m", "envdoctor"] if sys.argv[0] == __file__ else [sys.argv[0]]
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, "-E", *script, *sys.argv[1:]])


def keep_descriptors() -> None:
    """Put something in the place of standard streams that are closed.

    The next file that is opened would get their numbers, and children would write into it. What
    stands for the output cannot be written to, so that it fails as the closed one would.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)


def own_path(path: list[str], python_path: str, cwd: str | None) -> list[str]:
    """The module path without the current folder and PYTHONPATH, but where the doctor lives.

    A `random.py` there is a disease of the target that would also stop the doctor. `cwd` is null
    where that folder was removed: then no path that starts in it leads anywhere.
    """
    if cwd is None:
        return [entry for entry in path if os.path.isabs(entry)]
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    foreign = {"", cwd, *(os.path.abspath(entry) for entry in python_path.split(os.pathsep))}
    return [entry for entry in path if entry not in foreign or os.path.abspath(entry) == home]


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
