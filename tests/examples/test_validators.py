"""Each example before a validator that is not ours. The heavy ones are in a lane of their own:
`pip install 'envdoctor[examples]'`, `pytest -m examples`."""

import configparser
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.conftest import require
from tests.examples.doctors import (
    EXAMPLES,
    FAILS,
    HEALTHY,
    MACHINE,
    ROOT,
    UNKNOWN,
    doctor,
    documents,
    run,
    validator,
)

WORKFLOW = EXAMPLES / "github" / "gate.yml"
UNITS = [EXAMPLES / "prometheus" / f"envdoctor-metrics.{kind}" for kind in ("service", "timer")]


def accepts(folder: Path, name: str, *words: object) -> str:
    """Run a validator on examples; what it says."""
    program = validator(name)
    require(program is not None, name)
    assert program is not None
    done = run([program, *map(str, words)], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-actions", ROOT / "action.yml"),
        ("github-workflows", WORKFLOW),
        ("gitlab-ci", EXAMPLES / "gitlab-ci.yml"),
    ],
)
def test_schemas_that_ship_with_check_jsonschema(tmp_path: Path, schema: str, file: Path) -> None:
    accepts(tmp_path, "check-jsonschema", "--builtin-schema", f"vendor.{schema}", file)


def test_zizmor_finds_nothing_in_the_action_and_the_workflow(tmp_path: Path) -> None:
    words = ("--offline", "--no-progress", "--persona=pedantic", ROOT / "action.yml", WORKFLOW)
    assert "No findings to report" in accepts(tmp_path, "zizmor", *words)


def shells(folder: Path) -> list[tuple[str, Path]]:
    """Every shell of the examples as a file, with its dialect."""
    found = [("bash", file) for file in (EXAMPLES / "slurm").iterdir()]
    texts = {
        "bash": [step["run"] for step in documents(ROOT / "action.yml")["runs"]["steps"]],
        "sh": [
            documents(EXAMPLES / "kubernetes" / "init-container.yaml")["spec"]["initContainers"][0][
                "args"
            ][0],
            documents(EXAMPLES / "argo-workflow.yaml")["spec"]["templates"][1]["container"]["args"][
                0
            ],
        ],
    }
    texts["bash"] += documents(EXAMPLES / "gitlab-ci.yml")["envdoctor"]["script"]
    for dialect, scripts in texts.items():
        for number, text in enumerate(scripts):
            file = folder / f"{number}.{dialect}"
            file.write_text(text)
            found.append((dialect, file))
    return found


def test_shellcheck_finds_nothing_in_any_shell(tmp_path: Path) -> None:
    for dialect, file in shells(tmp_path):
        accepts(tmp_path, "shellcheck", f"--shell={dialect}", file)


def service() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS[0])
    return unit


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """It asks for the program and the manual page too: those of this checkout."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/envdoctor/bin/envdoctor", sys.executable)
        (tmp_path / unit.name).write_text(text.replace("Documentation=man:", "# "))
    accepts(tmp_path, "systemd-analyze", "verify", *(tmp_path / unit.name for unit in UNITS))
    assert (ROOT / "docs" / "man" / "envdoctor-check.1").exists()


@pytest.mark.parametrize(
    ("machine", "code"), [(HEALTHY, 0), (MACHINE, 1), (UNKNOWN, 3), (FAILS, 4)]
)
def test_what_the_timer_writes_is_taken_by_prometheus(
    tmp_path: Path, machine: str, code: int
) -> None:
    settings = service()["Service"]
    written = tmp_path / "envdoctor.prom"
    written.write_text("as it was")
    program, *words = shlex.split(settings["ExecStart"])
    assert program == "/opt/envdoctor/bin/envdoctor"
    words[-1] = f"openmetrics={written}"
    done = run([str(doctor(tmp_path, machine) / "bin" / "envdoctor"), *words], tmp_path)
    assert done.returncode == code, done.stderr
    is_no_failure = str(code) in ("0", *settings["SuccessExitStatus"].split())
    assert is_no_failure is (code != 4)
    if code == 4:
        assert written.read_text() == "as it was"
        return
    families = {one.name: one for one in text_string_to_metric_families(written.read_text())}
    assert families["envdoctor_exit_code"].samples[0].value == code
    # The collector of node-exporter reads `.prom` files of this folder alone.
    assert settings["ExecStart"].endswith(f"{settings['ReadWritePaths']}/envdoctor.prom")


# --- the lane ---


@pytest.mark.examples
def test_kubernetes_validate_takes_the_manifests(tmp_path: Path) -> None:
    accepts(tmp_path, "kubernetes-validate", "--strict", *(EXAMPLES / "kubernetes").iterdir())


@pytest.mark.examples
def test_pre_commit_takes_the_hook_and_the_configuration(tmp_path: Path) -> None:
    accepts(tmp_path, "pre-commit", "validate-manifest", ROOT / ".pre-commit-hooks.yaml")
    accepts(tmp_path, "pre-commit", "validate-config", EXAMPLES / "pre-commit-config.yaml")


@pytest.mark.examples
def test_pre_commit_runs_the_hook(tmp_path: Path) -> None:
    """With the hook of this checkout, which pre-commit installs as it does on a user's machine."""
    accepts(tmp_path, "git", "init", "-q", ".")
    (tmp_path / "requirements.txt").write_text("torch\n")
    accepts(tmp_path, "git", "add", "requirements.txt")
    program = validator("pre-commit")
    require(program is not None, "pre-commit")
    words = ["try-repo", str(ROOT), "envdoctor", "--all-files", "--verbose"]
    done = run(
        [str(program), *words], tmp_path, {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    )
    assert "envdoctor" in done.stdout
    # There is no torch for this project.
    assert "torch-not-installed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1


@pytest.mark.examples
def test_the_models_of_argo_know_all_of_the_workflow() -> None:
    models = pytest.importorskip("hera.workflows.models")
    given = documents(EXAMPLES / "argo-workflow.yaml")
    read = models.Workflow.model_validate(given).model_dump(
        by_alias=True, exclude_none=True, mode="json"
    )
    assert not list(lost(given, read, "workflow"))


def lost(given: Any, read: Any, place: str) -> Any:
    """What was given and is not in what was read: keys that nobody knows."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key not in read:
                yield f"{place}.{key}"
            else:
                yield from lost(value, read[key], f"{place}.{key}")
    elif isinstance(given, list) and isinstance(read, list):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")


@pytest.mark.examples
def test_ansible_lint_finds_nothing_in_the_playbook(tmp_path: Path) -> None:
    playbook = tmp_path / "playbook.yml"
    playbook.write_text((EXAMPLES / "ansible-playbook.yml").read_text())
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    program = validator("ansible-lint")
    require(program is not None, "ansible-lint")
    done = run([str(program), "--offline", "--profile=production", playbook.name], tmp_path, path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.examples
@pytest.mark.parametrize(
    ("machine", "fails", "told"),
    [
        (HEALTHY, False, ""),
        (MACHINE, True, "ED200: "),
        (UNKNOWN, False, "could not tell (exit code 3)"),
        (FAILS, False, "could not tell (exit code 4)"),
    ],
)
def test_the_playbook_stops_for_a_fault_of_the_machine_alone(
    tmp_path: Path, machine: str, fails: bool, told: str
) -> None:
    program = validator("ansible-playbook")
    require(program is not None, "ansible-playbook")
    home = doctor(tmp_path, machine)
    here = f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}"
    (tmp_path / "hosts").write_text(f"[gpu_nodes]\n{here}\n")
    words = ["-i", "hosts", "-e", f"envdoctor_path={home}/bin/envdoctor"]
    done = run([str(program), *words, str(EXAMPLES / "ansible-playbook.yml")], tmp_path)
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    assert told in done.stdout


@pytest.mark.examples
def test_the_action_installs_the_doctor_beside_the_job(tmp_path: Path) -> None:
    step = documents(ROOT / "action.yml")["runs"]["steps"][0]
    env = {"RUNNER_TEMP": str(tmp_path), "GITHUB_ACTION_PATH": str(ROOT)}
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = run(["bash", "-eo", "pipefail", "-c", step["run"]], tmp_path, {**env, **path})
    assert done.returncode == 0, done.stderr
    installed = run([str(tmp_path / "envdoctor" / "bin" / "envdoctor"), "--version"], tmp_path)
    assert installed.stdout.startswith("envdoctor ")
