"""The probe that runs in the target interpreter: `TARGET -B start.py FD REQUESTS LOG`.

FD is an open file descriptor that takes one JSON object per line, REQUESTS one from which the
stages to run are read, LOG the file for what NVIDIA's driver writes of errors, or empty. This file
parses on Python 2.7, so that an old interpreter can say how old it is; the stages need 3.8.
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
    path = os.path.join(here, "run_stages.py")
    with open(path, "rb") as source:
        code = compile(source.read(), path, "exec")
    exec(code, {"FD": FD, "REQUESTS": int(sys.argv[2]), "LOG": sys.argv[3]})
