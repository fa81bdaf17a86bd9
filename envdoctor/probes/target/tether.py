"""Ends a child of the doctor when the doctor dies, even by SIGKILL. Linux only; 3.8 or later.

Executed in every Python child, so that none is left behind that waits for a driver or an import.
"""

import os
import sys

PR_SET_PDEATHSIG, SIGKILL = 1, 9
"""As in <linux/prctl.h> and <signal.h>; the module `signal` may be the user's own here. The signal
comes when the thread that started the child ends, and in the doctor that thread waits for it."""


def tether(doctor, import_module=__import__):
    """Die with the process `doctor`; at once if it is dead already."""
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes = import_module("ctypes")
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    except Exception:
        # A Python that was built without ctypes.
        return
    if os.getppid() != doctor:
        os._exit(1)
