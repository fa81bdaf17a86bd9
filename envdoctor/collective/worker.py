"""The collective that runs in the target interpreter, one JSON object a line into a descriptor.

`TARGET -B worker.py node FD REQUEST` is a node, which starts torch's launcher; that starts
`worker.py rank FD REQUEST` for every rank. Needs Python 3.8, torch, and nothing else.
"""

import importlib
import json
import os
import sys
import types

PACKAGE = "envdoctor_target"


def module(name):
    """A module of the doctor that runs in the target, whatever the user has of that name."""
    here = os.path.dirname(os.path.abspath(__file__))
    # What `python -c` would have: the script's own folder must not hide the user's modules.
    if sys.path and os.path.abspath(sys.path[0]) == here:
        sys.path[0] = ""
    if PACKAGE not in sys.modules:
        package = types.ModuleType(PACKAGE)
        package.__path__ = [os.path.dirname(here)]
        sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.{name}")


if __name__ == "__main__":
    kind, fd, request = sys.argv[1:]
    if kind == "rank":
        # The launcher closes what its ranks could inherit; the pipe is also the launcher's.
        descriptor = os.open(f"/proc/{os.getppid()}/fd/{fd}", os.O_WRONLY)
        module("collective.target.rank").be_rank(descriptor, json.loads(request))
    else:
        module("collective.target.node").be_node(int(fd), os.path.abspath(__file__), request)
