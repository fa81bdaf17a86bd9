"""Two machines for a job: network namespaces of their own, joined by a virtual cable."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import require
from tests.support.doctor import validator

ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = "29500"
MARK = "ENVDOCTOR_TEST_OF_A_JOB"


class Nodes:
    """The two, by number; `interface` is the one of the cable."""

    def __init__(self, names: tuple[str, str]) -> None:
        self.names = names
        self.mark = f"{names[0]}-{time.monotonic_ns()}"

    def interface(self, node: int) -> str:
        return f"v{self.names[node]}"

    def own_interface(self, node: int) -> dict[str, str]:
        """The variable by which gloo uses the cable."""
        return {"GLOO_SOCKET_IFNAME": self.interface(node)}

    def drop(self, node: int, *rules: str) -> None:
        """Drop what comes over the cable and matches one of these rules, without an answer.

        A packet to a local address finds it by the table `local`, which comes after them."""
        ip(f"-n {self.names[node]} rule add prio 100 lookup local")
        ip(f"-n {self.names[node]} rule del prio 0")
        for number, rule in enumerate(rules):
            action = "" if "lookup" in rule else " blackhole"
            cable = f"iif {self.interface(node)} ipproto tcp"
            ip(f"-n {self.names[node]} rule add prio {10 + number} {cable} {rule}{action}")

    def start(
        self, node: int, *arguments: str, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """`envdoctor collective` on that node."""
        where = ("--nnodes", "2", "--node-rank", str(node), "--master-addr", ADDRESSES[0])
        given = self.own_interface(node) if env is None else env
        command = [sys.executable, "-m", "envdoctor", "collective", "--json", *where, *arguments]
        return subprocess.Popen(
            ["ip", "netns", "exec", self.names[node], *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: self.mark, **given},
        )

    def both(
        self, *arguments: str, env: Mapping[int, Mapping[str, str]] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The documents of both nodes, each valid; nothing that they started is left."""
        given = env or {}
        runs = [self.start(node, *arguments, env=given.get(node)) for node in (0, 1)]
        first, second = (document_of(one) for one in runs)
        nothing_is_left(self.mark)
        return first, second


def document_of(run: "subprocess.Popen[str]", timeout_s: float = 150.0) -> dict[str, Any]:
    """The document of a run, whose exit code it names."""
    stdout, stderr = run.communicate(timeout=timeout_s)
    assert "Traceback" not in stderr, stderr
    document: dict[str, Any] = json.loads(stdout)
    validator().validate(document)
    assert document["exit_code"] == run.returncode
    return document


def nothing_is_left(mark: str, within_s: float = 5.0) -> None:
    """No process has that mark among its variables."""
    until = time.monotonic() + within_s
    while left := [pid for pid in _pids() if mark.encode() in _read(f"/proc/{pid}/environ")]:
        assert time.monotonic() < until, [_read(f"/proc/{pid}/cmdline") for pid in left]
        time.sleep(0.05)


def _pids() -> list[str]:
    return [one.name for one in Path("/proc").iterdir() if one.name.isdecimal()]


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True)


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Two namespaces; skipped, or failed on CI, where they cannot be made."""
    first = f"ed{os.getpid()}"
    nodes = Nodes((f"{first}a", f"{first}b"))
    try:
        allowed = os.geteuid() == 0 and _made(nodes)
        require(allowed, "to be root and allowed to make network namespaces")
        yield nodes
    finally:
        for name in nodes.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _made(nodes: Nodes) -> bool:
    try:
        for name in nodes.names:
            ip(f"netns add {name}")
            ip(f"-n {name} link set lo up")
        first, second = (nodes.interface(node) for node in (0, 1))
        ip(f"-n {nodes.names[0]} link add {first} type veth peer name {second}")
        ip(f"-n {nodes.names[0]} link set {second} netns {nodes.names[1]}")
        for node, name in enumerate(nodes.names):
            ip(f"-n {name} address add {ADDRESSES[node]}/24 dev {nodes.interface(node)}")
            ip(f"-n {name} link set {nodes.interface(node)} up")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
