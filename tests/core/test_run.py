"""Children: limits, signals, output caps, and no orphans, with real processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envdoctor.probes.run import OUTPUT_CAP_BYTES, Children, run_child
from tests.conftest import require


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: int) -> bool:
    for _ in range(200):
        if not is_running(pid):
            return True
        time.sleep(0.01)
    return False


def test_exit_code_and_both_streams(children: Children) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    result = run_child(python(code), children=children, timeout_s=30)
    assert (result.exit_code, result.signal, result.timed_out) == (3, None, False)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert not result.ok


def test_a_signal_is_named(children: Children) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    result = run_child(python(code), children=children, timeout_s=30)
    assert (result.exit_code, result.signal) == (None, "SIGSEGV")


def test_the_time_limit_ends_the_whole_group(children: Children, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    command = ["sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait"]
    result = run_child(command, children=children, timeout_s=0.5)
    assert result.timed_out
    assert result.signal is None
    assert wait_until_gone(int(pid_file.read_text()))


def test_a_grandchild_that_holds_the_output_open_is_not_waited_for(
    children: Children, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    command = ["sh", "-c", f"sleep 600 & echo $! > {pid_file}; echo done"]
    result = run_child(command, children=children, timeout_s=60)
    assert result.ok
    assert result.stdout == "done\n"
    assert wait_until_gone(int(pid_file.read_text()))


def test_output_is_capped_at_both_ends(children: Children) -> None:
    code = "print('first'); print('x' * 10_000_000); print('last')"
    result = run_child(python(code), children=children, timeout_s=60)
    assert result.stdout.startswith("first\n")
    assert result.stdout.endswith("last\n")
    assert len(result.stdout) < OUTPUT_CAP_BYTES + 100


def test_output_that_is_not_text(children: Children) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)))"
    assert len(run_child(python(code), children=children, timeout_s=30).stdout) > 200


def test_stdin_is_closed(children: Children) -> None:
    code = "import sys; print(repr(sys.stdin.read()))"
    assert run_child(python(code), children=children, timeout_s=30).stdout == "''\n"


def test_a_child_that_closes_its_output_is_still_limited(children: Children) -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(600)"
    assert run_child(python(code), children=children, timeout_s=1.0).timed_out


def test_a_caller_can_stop_a_child(children: Children) -> None:
    allowed = iter([True, True, False, False, False])
    result = run_child(
        python("import time; time.sleep(600)"),
        children=children,
        timeout_s=600,
        still_allowed=lambda: next(allowed, False),
    )
    assert result.timed_out


def test_kill_all_ends_children_and_starts_none(children: Children) -> None:
    process = children.start(python("import time; time.sleep(600)"))
    children.kill_all()
    assert process.wait(timeout=30) < 0
    with pytest.raises(RuntimeError):
        children.start(["true"])


def test_a_command_that_cannot_be_started(children: Children) -> None:
    with pytest.raises(OSError, match="no-such-command"):
        run_child(["/no-such-command"], children=children, timeout_s=1)


def test_descriptors_are_passed(children: Children) -> None:
    read, write = os.pipe()
    try:
        run_child(
            python(f"import os; os.write({write}, b'hello')"),
            children=children,
            timeout_s=30,
            pass_fds=(write,),
        )
        assert os.read(read, 100) == b"hello"
    finally:
        os.close(read)
        os.close(write)


KILLED_SLOWLY = """
import ctypes, os, sys, time
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER: whoever wants to
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
time.sleep(60)
"""
TRACER = """
import ctypes, sys, time
seized = ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0)  # PTRACE_SEIZE
print("seized" if seized == 0 else "refused", flush=True)
time.sleep(60)
"""


def test_a_killed_child_that_takes_its_time_is_not_waited_for(
    children: Children, tmp_path: Path
) -> None:
    """As a process is that held the memory of a GPU: what was measured until Ctrl-C was lost.

    The end of a traced process is not told to its parent before its tracer has taken it in.
    """
    name = tmp_path / "pid"
    tracers: list[subprocess.Popen[str]] = []

    def interrupt() -> bool:
        if name.exists() and (pid := name.read_text()):
            command = [sys.executable, "-c", TRACER, pid]
            tracers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert tracers[0].stdout is not None
            require(tracers[0].stdout.readline() == "seized\n", "to be allowed to trace a process")
            interrupted.append(time.monotonic())
            raise KeyboardInterrupt
        return True

    interrupted: list[float] = []
    command = [sys.executable, "-c", KILLED_SLOWLY, str(name)]
    try:
        with pytest.raises(KeyboardInterrupt):
            run_child(command, children=children, timeout_s=60, still_allowed=interrupt)
        assert time.monotonic() - interrupted[0] < 1.5
    finally:
        for tracer in tracers:
            tracer.kill()
            tracer.communicate()
