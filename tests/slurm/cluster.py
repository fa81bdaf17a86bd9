"""A real Slurm on one machine: munged, slurmctld, and a slurmd for each node, all started by hand
in one folder. Needs root and Debian's slurmctld, slurmd, slurm-client and munge; no systemd."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import envdoctor as envdoctor_package
from tests.cli.test_surroundings import in_a_namespace, within_reach
from tests.examples.doctors import EXAMPLES, doctor

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol")
PORT = 16817 + 20 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""The first of those that are used, from one worker of the tests to the other."""
MOST_S = 60

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool/%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
ReturnToService=2
GresTypes=gpu
Prolog={folder}/prolog.sh
TaskProlog={examples}/task-prolog.sh
PartitionName=all Nodes=ALL Default=YES MaxTime=10 State=UP
"""
NODE = "NodeName={name} NodeAddr=127.0.0.1 NodeHostname={host} Port={port} CPUs=1 Gres=gpu:1\n"

PROLOG = """#!/bin/bash
# As on a site that has envdoctor elsewhere; here each node has its own.
export ENVDOCTOR_HOME={folder}/doctors/$SLURMD_NODENAME
exec {examples}/prolog.sh
"""


class Cluster:
    """Nodes, each with the doctor of another machine. Each says that it has a GPU."""

    def __init__(self, folder: Path, machines: Mapping[str, str]) -> None:
        self.folder = folder
        self._machines = machines
        self._running: list[subprocess.Popen[bytes]] = []
        self._env = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": "/usr/sbin:/usr/bin:/bin"}

    def start(self) -> None:
        """Come up, until every node is idle."""
        self._write()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        files = {"socket": "munge.sock", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        places = [f"--{name}={self.folder / file}" for name, file in files.items()]
        self._run("munged", "--foreground", f"--key-file={key}", *places)
        self._wait((self.folder / "munge.sock").exists, "munged")
        self._run("slurmctld", "-D")
        # Tasks run as users of no rights, who have to reach Python.
        reach = within_reach(
            *{Path(sys.prefix), Path(sys.base_prefix)},
            Path(envdoctor_package.__file__).parents[1],
        )
        within = in_a_namespace("sh", "-ec", f'{reach}\nexec "$@"', "sh")
        for name in self._machines:
            self._run(*within, "slurmd", "-D", "-N", name)
        self._wait(lambda: {self.state_of(one) for one in self._machines} == {"IDLE"}, "the nodes")

    def _write(self) -> None:
        for part in ("state", "spool", "doctors"):
            (self.folder / part).mkdir()
        host, examples = socket.gethostname().partition(".")[0], EXAMPLES / "slurm"
        text = CONFIGURATION.format(host=host, port=PORT, folder=self.folder, examples=examples)
        for number, (name, machine) in enumerate(self._machines.items(), 1):
            doctor(self.folder / "doctors", machine, name)
            (self.folder / "spool" / name).mkdir()
            text += NODE.format(name=name, host=host, port=PORT + number)
        (self.folder / "slurm.conf").write_text(text)
        # A device is all that Slurm asks for, and what it is does not matter.
        device = self.folder / "nvidia0"
        os.mknod(device, 0o020666, os.makedev(1, 3))
        (self.folder / "gres.conf").write_text(f"Name=gpu File={device}\n")
        prolog = self.folder / "prolog.sh"
        prolog.write_text(PROLOG.format(folder=self.folder, examples=examples))
        prolog.chmod(0o755)

    def _run(self, *words: str) -> None:
        log = (self.folder / "output").open("ab")
        self._running.append(
            subprocess.Popen(words, env=self._env, stdout=log, stderr=log, cwd=self.folder)
        )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + MOST_S
        while not condition():
            assert time.monotonic() < until, f"{what} did not come up: {self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        """The ends of what the daemons have logged."""
        files = (self.folder / "output", *self.folder.glob("*.log"))
        return "\n".join(one.read_text(errors="replace")[-2000:] for one in files if one.exists())

    def stop(self) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in reversed(self._running):
            process.wait(timeout=MOST_S)
        for name in self._machines:
            shutil.rmtree(self.folder / "spool" / name, ignore_errors=True)

    # --- what users and operators do ---

    def show(self, kind: str, name: str) -> dict[str, str]:
        """What Slurm knows of a node or a job. Of values with blanks, the first word."""
        done = subprocess.run(
            ["scontrol", "--oneliner", "show", kind, name],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        words = (word.partition("=") for word in done.stdout.split() if "=" in word)
        return {key: value for key, _, value in words}

    def state_of(self, node: str) -> str:
        """The state of a node, in Slurm's own words: IDLE, IDLE+DRAIN."""
        return self.show("node", node).get("State", "").removesuffix("*")

    def reason_of(self, node: str) -> str:
        """Why a node was drained, as `sinfo -R` has it."""
        words = ["sinfo", "-N", "-h", "-n", node, "-o", "%E"]
        done = subprocess.run(words, env=self._env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def resume(self, node: str) -> None:
        """Take a node back, and nothing of what waits for it."""
        for words in (
            ("scancel", "--state=PENDING"),
            ("scontrol", "update", f"nodename={node}", "state=resume"),
        ):
            subprocess.run(words, env=self._env, capture_output=True, check=False)
        self._wait(lambda: self.state_of(node) == "IDLE", node)

    def submit(self, node: str, script: str, *options: str, **env: str) -> "Job":
        """Submit a job as a user of no rights."""
        output = self.folder / f"job-{secrets.token_hex(4)}"
        output.touch()
        output.chmod(0o666)
        user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        batch = ("sbatch", "--parsable", "-w", node, "-o", str(output), "-D", "/tmp", *options)
        done = subprocess.run(
            [*user, *batch, "--wrap", script],
            env={**self._env, **env},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=MOST_S,
        )
        assert done.returncode == 0, done.stderr
        return Job(self, done.stdout.strip(), output)


class Job:
    """A job that was submitted."""

    def __init__(self, cluster: Cluster, number: str, output: Path) -> None:
        self._cluster = cluster
        self._number = number
        self._output = output

    def end(self) -> str:
        """How it ended, or that it is held: what Slurm does with a job whose prolog failed."""
        until = time.monotonic() + MOST_S
        while True:
            shown = self._cluster.show("job", self._number)
            state, reason = shown.get("JobState", ""), shown.get("Reason", "")
            if state == "PENDING" and "held" in reason:
                return "held"
            if state in ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT"):
                return state
            assert time.monotonic() < until, f"{shown}"
            time.sleep(0.1)

    @property
    def output(self) -> str:
        return self._output.read_text()
