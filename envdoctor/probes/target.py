"""The probe that runs in the target interpreter: `TARGET -B target.py FD STAGE...`.

FD is an open file descriptor that takes one JSON object per line. This file parses on Python 2.7,
so that an old interpreter can say how old it is; the stages need 3.8.
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
    stages = os.path.join(here, "target_stages.py")
    with open(stages, "rb") as source:
        code = compile(source.read(), stages, "exec")
    exec(code, {"__name__": "envdoctor_target_stages", "FD": FD, "STAGES": sys.argv[2:]})
