"""The probe that runs in the target interpreter: `TARGET -B start.py FD REQUESTS DOCTOR`.

FD is an open file descriptor that takes one JSON object per line, REQUESTS one from which the
stages to run are read, DOCTOR the process that started this one. This file parses on Python 2.7, so
that an old interpreter can say how old it is; the stages need 3.8.
"""

import os
import sys

FD = int(sys.argv[1])
RECORD = '{"stage": "version", "event": "end", "data": {"version": "%d.%d.%d"}}\n'
os.write(FD, (RECORD % sys.version_info[:3]).encode("ascii"))

if sys.version_info >= (3, 8):
    here = os.path.dirname(os.path.abspath(__file__))
    # What `python -c` would have: the script's own folder must neither hide a torch.py in the
    # current directory nor make the files beside this one importable.
    if sys.path and os.path.abspath(sys.path[0]) == here:
        sys.path[0] = ""
    given = {"FD": FD, "REQUESTS": int(sys.argv[2]), "DOCTOR": int(sys.argv[3])}
    for name in ("tether.py", "run_stages.py"):
        path = os.path.join(here, name)
        with open(path, "rb") as source:
            exec(compile(source.read(), path, "exec"), given)
