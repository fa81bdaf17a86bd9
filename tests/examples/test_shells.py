"""The shells of the examples run with the real doctor, also where it cannot tell, fails or is not
there."""

import json
from pathlib import Path

import pytest

from tests.examples.doctors import (
    ENVIRONMENT,
    EXAMPLES,
    FAILS,
    HEALTHY,
    LIVE,
    MACHINE,
    MISSING,
    ROOT,
    UNKNOWN,
    doctor,
    documents,
    run,
)
from tests.support.patients import empty_patient, fake_torch

SCONTROL = '#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/said"\n'


@pytest.mark.parametrize(
    ("machine", "drains"),
    [
        (HEALTHY, False),
        (MACHINE, True),
        # A user's broken torch, a doctor that cannot tell, one that fails, one that is not there.
        (ENVIRONMENT, False),
        (UNKNOWN, False),
        (FAILS, False),
        (MISSING, False),
    ],
)
def test_the_slurm_prolog_drains_for_a_fault_of_the_machine_alone(
    tmp_path: Path, machine: str, drains: bool
) -> None:
    home = doctor(tmp_path, machine)
    env = {"ENVDOCTOR_HOME": str(home), "SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0"}
    done = run([str(EXAMPLES / "slurm" / "prolog.sh")], tmp_path, env)
    assert done.returncode == (1 if drains else 0), done.stderr
    assert done.stdout == ""
    assert ("could not tell" in done.stderr) is (machine in (UNKNOWN, FAILS, MISSING))
    assert ("ED200" in done.stderr) is drains


def test_the_slurm_prolog_tells_the_operator_the_reason(tmp_path: Path) -> None:
    """Slurm gives prologs no search path: the script's own one is put in place of the system's."""
    home = doctor(tmp_path, MACHINE)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "scontrol").write_text(SCONTROL)
    (programs / "scontrol").chmod(0o755)
    script = (EXAMPLES / "slurm" / "prolog.sh").read_text()
    assert "\nPATH=/usr/sbin:" in script
    (tmp_path / "prolog.sh").write_text(script.replace("\nPATH=", f"\nPATH={programs}:"))
    env = {"ENVDOCTOR_HOME": str(home), "SLURMD_NODENAME": "n1"}
    assert run(["bash", "prolog.sh"], tmp_path, env).returncode == 1
    said = (programs / "said").read_text().splitlines()
    assert said[:3] == ["update", "nodename=n1", "state=drain"]
    assert said[3].startswith("reason=envdoctor: ED200 ")


@pytest.mark.parametrize(
    ("wish", "machine", "code"),
    [("", LIVE, 0), ("warn", LIVE, 0), ("cancel", LIVE, 1), ("cancel", UNKNOWN, 0)],
)
def test_the_slurm_task_prolog_cancels_only_for_who_asked(
    tmp_path: Path, wish: str, machine: str, code: int
) -> None:
    home = doctor(tmp_path, machine)
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, "raise ImportError('libnowhere.so.1: cannot open shared object file')")
    env = {"ENVDOCTOR_HOME": str(home), "VIRTUAL_ENV": str(patient.root)}
    script = str(EXAMPLES / "slurm" / "task-prolog.sh")
    done = run([script], tmp_path, {**env, "ENVDOCTOR_PROLOG": wish})
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert bool(lines) is bool(wish)
    assert all(line.startswith("print ") for line in lines)
    assert any("libnowhere.so.1" in line for line in lines) is (bool(wish) and machine == LIVE)
    # Once a node is enough.
    of_another_rank = {**env, "ENVDOCTOR_PROLOG": wish, "SLURM_LOCALID": "1"}
    assert run([script], tmp_path, of_another_rank).stdout == ""


@pytest.mark.parametrize(
    ("machine", "code", "outputs"),
    [
        (HEALTHY, 0, {"exit-code": "0", "verdict": "healthy", "fault": ""}),
        (MACHINE, 1, {"exit-code": "1", "verdict": "broken", "fault": "machine"}),
        (FAILS, 4, {"exit-code": "4"}),
    ],
)
def test_the_github_action_checks_annotates_and_says_whose_fault_it_is(
    tmp_path: Path, machine: str, code: int, outputs: dict[str, str]
) -> None:
    action = documents(ROOT / "action.yml")
    step = action["runs"]["steps"][1]
    doctor(tmp_path, machine, "envdoctor")
    said = tmp_path / "output"
    # As GitHub runs `shell: bash`; every input has come to its variable.
    inputs = {"TARGET": "python3", "EXPECT": "gpu", "POLICY": "", "FAIL_ON": "error"}
    assert inputs.keys() == step["env"].keys()
    (tmp_path / "step.sh").write_text(step["run"])
    done = run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "step.sh"],
        tmp_path,
        {"RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(said), **inputs},
    )
    assert done.returncode == code, done.stderr
    given = dict(line.split("=", 1) for line in said.read_text().splitlines())
    assert outputs.items() <= given.items()
    assert ("::error " in done.stdout) is (code != 0)
    if "report" in given:
        assert json.loads(Path(given["report"]).read_text())["exit_code"] == code
        assert json.loads(Path(given["sarif"]).read_text())["version"] == "2.1.0"
        assert {f"steps.check.outputs.{name}" for name in given} == {
            one["value"].strip("${} ") for one in action["outputs"].values()
        }


@pytest.mark.parametrize(
    ("machine", "code"), [(HEALTHY, 0), (ENVIRONMENT, 1), (MACHINE, 75), (UNKNOWN, 3), (FAILS, 4)]
)
def test_the_gitlab_job_tells_a_runners_fault_by_its_exit_code(
    tmp_path: Path, machine: str, code: int
) -> None:
    job = documents(EXAMPLES / "gitlab-ci.yml")["envdoctor"]
    doctor(tmp_path, machine, "envdoctor")
    done = run(
        ["bash", "-eo", "pipefail", "-c", job["script"][-1]],
        tmp_path,
        {"CI_BUILDS_DIR": str(tmp_path)},
    )
    assert done.returncode == code, done.stderr
    assert (code in job["retry"]["exit_codes"]) is (code in (3, 75))
    assert (code in job["allow_failure"]["exit_codes"]) is (code == 4)
    written = [*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()]
    assert all((tmp_path / name).exists() for name in written) is (code != 4)


def init_container() -> str:
    (container,) = documents(EXAMPLES / "kubernetes" / "init-container.yaml")["spec"][
        "initContainers"
    ]
    assert container["command"] == ["sh", "-c"]
    return str(container["args"][0])


def argo_gate(folder: Path) -> str:
    gate = documents(EXAMPLES / "argo-workflow.yaml")["spec"]["templates"][1]
    assert gate["container"]["command"] == ["sh", "-c"]
    assert gate["outputs"]["parameters"][0]["valueFrom"]["path"] == "/tmp/node"
    return str(gate["container"]["args"][0]).replace("/tmp/node", str(folder / "node"))


@pytest.mark.parametrize(
    ("machine", "code"), [(HEALTHY, 0), (MACHINE, 1), (UNKNOWN, 0), (FAILS, 0)]
)
def test_the_init_container_stops_a_pod_for_a_fault_of_the_machine_alone(
    tmp_path: Path, machine: str, code: int
) -> None:
    home = doctor(tmp_path, machine)
    done = run(["sh", "-c", init_container()], tmp_path, {"PATH": f"{home}/bin:/usr/bin:/bin"})
    assert done.returncode == code, done.stderr
    assert ("could not tell" in done.stdout) is (machine in (UNKNOWN, FAILS))


def test_the_argo_gate_is_the_same_and_says_on_which_node(tmp_path: Path) -> None:
    home = doctor(tmp_path, MACHINE)
    env = {"PATH": f"{home}/bin:/usr/bin:/bin", "NODE_NAME": "n1"}
    assert run(["sh", "-c", argo_gate(tmp_path)], tmp_path, env).returncode == 1
    assert (tmp_path / "node").read_text() == "n1\n"
    gate = argo_gate(tmp_path).replace("--timeout 120", "--timeout 60").split("\n", 1)[1]
    assert gate == init_container()


def test_the_job_of_kubernetes_tries_again_where_the_doctor_could_not_tell() -> None:
    job = documents(EXAMPLES / "kubernetes" / "job.yaml")["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [1, 2])
    assert job["backoffLimit"] == 2
