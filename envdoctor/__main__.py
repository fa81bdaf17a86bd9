"""The entry point: keeps what hides modules from the target away from the doctor itself."""

import gc
import os
import sys

ALLOCATIONS_BEFORE_COLLECTING = 50_000
"""Python collects after 700; next to nothing of what is made while the doctor loads is garbage, and
looking for it took a twentieth of `check --static`."""


def main() -> None:
    """Run the command line."""
    gc.set_threshold(ALLOCATIONS_BEFORE_COLLECTING)
    try:
        cwd = os.getcwd()
    except OSError as error:
        print(
            f"envdoctor: the current folder is gone ({error.strerror}); `cd` to another one",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.path[:] = own_path(sys.path, os.environ.get("PYTHONPATH", ""), cwd)
    from envdoctor.cli import main as run

    run()


def own_path(path: list[str], python_path: str, cwd: str) -> list[str]:
    """The module path without the current folder and PYTHONPATH, but where the doctor lives.

    A `random.py` there is a disease of the target that would also stop the doctor.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    foreign = {"", cwd, *(os.path.abspath(entry) for entry in python_path.split(os.pathsep))}
    return [entry for entry in path if entry not in foreign or os.path.abspath(entry) == home]


if __name__ == "__main__":
    main()
