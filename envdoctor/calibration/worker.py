"""The calibration that runs in the target interpreter: `TARGET -B worker.py FD SETTINGS`.

FD takes one JSON object a line, SETTINGS is JSON.
`worker.py peer ...` is a process of an all-reduce. Needs Python 3.8, torch, and nothing else.
"""

import importlib.util
import json
import os
import sys

PACKAGE = "envdoctor_calibration"


def load_package():
    """The package `target` beside this file, whatever the user has of that name."""
    here = os.path.dirname(os.path.abspath(__file__))
    # What `python -c` would have: the script's own folder must not hide the user's modules.
    if sys.path and os.path.abspath(sys.path[0]) == here:
        sys.path[0] = ""
    folder = os.path.join(here, "target")
    spec = importlib.util.spec_from_file_location(
        PACKAGE, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def module(name):
    """A module of that package."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def measure(fd, request):
    """Do all that the request asks, and tell it to the descriptor."""
    channel = module("channel").Channel(fd)
    settings = json.loads(request)
    channel.progress(phase="starting", message="importing torch")
    try:
        session = module("session")
    except BaseException as error:
        reason = f"torch cannot be imported: {type(error).__name__}: {error}"
        channel.send("fatal", reason=reason)
        sys.exit(1)
    session.run(channel, settings)
    channel.send("end")


if __name__ == "__main__":
    load_package()
    if sys.argv[1] == "peer":
        fd, backend, rank, names, store = sys.argv[2:]
        module("peers").be_peer(int(fd), backend, int(rank), names.split(","), store)
    else:
        measure(int(sys.argv[1]), sys.argv[2])
