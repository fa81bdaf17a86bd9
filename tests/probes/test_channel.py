"""The pipes between the doctor and its children: what a child writes cannot harm the doctor."""

import resource
import time
from pathlib import Path

import pytest

from envdoctor.probes.channel import LONGEST_LINE, MOST_BYTES, Incoming, Outgoing
from envdoctor.probes.run import Children, ChildResult, run_child
from tests.support.doctor import envdoctor
from tests.support.patients import empty_patient, fake_torch

WRITABLE_PIPES = """
import fcntl, os
def pipes():
    for fd in map(int, os.listdir('/proc/self/fd')):
        try:
            pipe = os.readlink(f'/proc/self/fd/{fd}').startswith('pipe:')
            if fd > 2 and pipe and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                yield fd
        except OSError:
            pass
"""
FLOODS = {
    "lines": "while True: os.write(fd, b'x' * 1000 + b'\\n')",
    "short lines": "while True: os.write(fd, b'{}\\n' * 10000)",
    "records": 'while True: os.write(fd, b\'{"stage": "import torch", "event": "begin"}\\n\' * 99)',
    "no newline": "while True: os.write(fd, b'x' * 100000)",
    "zeros": "while True: os.write(fd, bytes(100000))",
    "from a grandchild": "if os.fork() == 0:\n while True: os.write(fd, b'x' * 1000 + b'\\n')",
}


def told_by(children: Children, code: str) -> tuple[ChildResult, Incoming, list[bytes]]:
    """What a child tells whose descriptor is FD."""
    lines: list[bytes] = []
    with Incoming(lines.append) as channel:
        script = f"import os; FD = {channel.for_child}\n{code}"
        ended = run_child(
            ["python3", "-c", script],
            children=children,
            timeout_s=60,
            pass_fds=(channel.for_child,),
            ports=(channel,),
            still_allowed=lambda: not channel.flooded,
        )
        channel.drain()
    return ended, channel, lines


def test_what_a_child_tells_before_it_dies_is_heard(children: Children) -> None:
    ended, channel, lines = told_by(children, "os.write(FD, b'one\\ntwo\\nthr'); os.abort()")
    assert (ended.signal, lines, channel.unfinished) == ("SIGABRT", [b"one", b"two"], b"thr")


def test_more_than_a_pipe_holds_is_told_whole(children: Children) -> None:
    code = "data = b'x' * 5_000_000 + b'\\n'\nwhile data: data = data[os.write(FD, data):]"
    ended, channel, lines = told_by(children, code)
    assert (ended.exit_code, channel.flooded, list(map(len, lines))) == (0, False, [5_000_000])


@pytest.mark.parametrize("close", ["", "os.close(1); os.close(2)\n"])
@pytest.mark.parametrize(
    "flood", ["os.write(FD, b'x' * 1000)", "os.write(FD, b'x' * 999 + b'\\n')"]
)
def test_a_child_that_writes_without_end_is_ended(
    children: Children, flood: str, close: str
) -> None:
    ended, channel, lines = told_by(children, f"{close}while True: {flood}")
    assert ended.timed_out
    assert channel.flooded
    assert len(channel.unfinished) < LONGEST_LINE + 70_000
    assert sum(map(len, lines)) < MOST_BYTES


def test_a_pipe_cannot_be_made_long(children: Children) -> None:
    ended, channel, _ = told_by(children, "os.ftruncate(FD, 1 << 40)")
    assert "Invalid argument" in ended.stderr
    assert not channel.flooded


def test_a_child_is_given_more_than_a_pipe_holds(children: Children) -> None:
    with Outgoing(b"x" * 3_000_000) as job:
        ended = run_child(
            ["python3", "-c", f"import os; print(len(os.fdopen({job.for_child}).read()))"],
            children=children,
            timeout_s=60,
            pass_fds=(job.for_child,),
            ports=(job,),
        )
    assert ended.stdout == "3000000\n"


def test_a_child_that_does_not_read_its_job(children: Children) -> None:
    with Outgoing(b"x" * 3_000_000) as job:
        ended = run_child(["true"], children=children, timeout_s=60, ports=(job,))
    assert ended.ok


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_target_that_floods_the_doctor(tmp_path: Path, flood: str) -> None:
    """It is ended as one that hangs, at once, and takes no memory of the doctor."""
    patient = empty_patient(tmp_path / "venv")
    each = "\n".join(f"    {line}" for line in flood.splitlines())
    fake_torch(patient, f"{WRITABLE_PIPES}\nfor fd in pipes():\n{each}\n")
    began, before_kb = time.monotonic(), most_of_a_child_kb()
    run = envdoctor("check", "--json", "--python", patient.root, "--timeout", "20")
    assert time.monotonic() - began < 21
    assert run.no_traceback
    assert run.json["type"] == "report"
    if "fork" not in flood:
        assert run.json["facts"]["TorchImport"]["value"]["outcome"] == "hang"
    # Those of other tests count too.
    assert most_of_a_child_kb() < max(400_000, 1.2 * before_kb)


def most_of_a_child_kb() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
