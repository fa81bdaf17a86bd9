"""Where the system gives the doctor no thread."""

import os
import subprocess
import sys

import pytest

FILTERED = """
import ctypes, os, struct, sys
libc, long = ctypes.CDLL(None), ctypes.c_ulong
lines = ((0x20, 0, 0, 0), (0x15, 0, 1, 435), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000))
code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in lines))
program = ctypes.create_string_buffer(struct.pack("<H6xQ", len(lines), ctypes.addressof(code)))
if libc.prctl(38, long(1), long(0), long(0), long(0)):
    sys.exit(77)
if libc.prctl(22, long(2), long(ctypes.addressof(program)), long(0), long(0)):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "envdoctor", "check"])
"""
"""A filter of system calls as that of Docker before 20.10.10: `clone3` is answered with EPERM."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp is Linux's")
def test_a_filter_that_forbids_threads_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILTERED],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("no filter of system calls can be set here")
    assert done.returncode == 3
    assert "`--security-opt seccomp=unconfined`" in done.stderr
    assert "ulimit" not in done.stderr
    assert "Traceback" not in done.stderr
