"""The exact commands for each installer, and the command line of fits, prescribe and knowledge."""

import json
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from envdoctor.facts.documents import facts_document
from envdoctor.knowledge import load
from envdoctor.prescribe import Build, Machine, SeenGpu, UnknownTorch, machine_in, prescribe
from tests.knowledge.world import World, derived, follow

KNOWLEDGE = load()
V100 = (SeenGpu(name="Tesla V100-SXM2-16GB", compute_capability="7.0"),)
MACHINE = Machine(
    gpus=V100, driver="580.65.06", python="3.11", glibc="2.35", interpreter="/opt/a b/bin/python"
)
CU126 = "https://download.pytorch.org/whl/cu126"


def _best(wanted: str | None = None, **changes: object) -> Build:
    best = prescribe(msgspec.structs.replace(MACHINE, **changes), KNOWLEDGE, wanted).best
    assert best is not None
    return best


@pytest.mark.parametrize(
    ("installer", "commands"),
    [
        ("pip", (f"/opt/'a b'/bin/python -m pip install torch==2.14.1 --index-url {CU126}",)),
        (
            "uv",
            (f"uv pip install --python /opt/'a b'/bin/python torch==2.14.1 --index-url {CU126}",),
        ),
        ("conda", (f"/opt/'a b'/bin/python -m pip install torch==2.14.1 --index-url {CU126}",)),
        (
            "poetry",
            (
                "# in the project of /opt/a b/bin/python",
                f"poetry source add --priority=explicit pytorch-cu126 {CU126}",
                "poetry add --source pytorch-cu126 torch==2.14.1",
            ),
        ),
        (
            "pixi",
            (
                "# in pixi.toml of /opt/a b/bin/python, under [pypi-dependencies]:",
                f'#   torch = {{ version = "==2.14.1", index = "{CU126}" }}',
                "pixi install",
            ),
        ),
        (
            "pdm",
            (
                "# in the project of /opt/a b/bin/python",
                f"pdm config --local pypi.pytorch-cu126.url {CU126}",
                "pdm add torch==2.14.1+cu126",
            ),
        ),
        (
            "pipenv",
            (
                "# in the project of /opt/a b/bin/python",
                f"pipenv install --index {CU126} torch==2.14.1",
            ),
        ),
        (
            "unheard-of",
            (f"/opt/'a b'/bin/python -m pip install torch==2.14.1 --index-url {CU126}",),
        ),
    ],
)
def test_each_installer_has_its_own_commands(installer: str, commands: tuple[str, ...]) -> None:
    assert _best(installer=installer).commands == commands


def test_a_project_of_uv_gets_an_index_for_torch_alone() -> None:
    best = _best(
        installer="uv",
        project="/home/me/my work",
        interpreter="/home/me/my work/.venv/bin/python",
        locked=True,
        installed={"torchvision": "0.20.0"},
    )
    assert best.commands == (
        "# in /home/me/my work/pyproject.toml:",
        "#   [[tool.uv.index]]",
        '#   name = "pytorch-cu126"',
        f'#   url = "{CU126}"',
        "#   explicit = true",
        "#   [tool.uv.sources]",
        '#   torch = { index = "pytorch-cu126" }',
        '#   torchvision = { index = "pytorch-cu126" }',
        "uv add --project /home/me/'my work' torch==2.14.1 torchvision==0.29.1",
    )
    assert not any("next sync" in change for change in best.changes), "it is entered in the project"


def test_pipenv_is_made_to_let_go_of_another_build_of_the_same_version() -> None:
    best = _best("2.11", torch="2.11.0+cu128", variant="cu128", installer="pipenv", project="/p")
    assert best.commands == (
        "/opt/'a b'/bin/python -m pip uninstall -y torch",
        f"PIPENV_PIPFILE=/p/Pipfile pipenv install --index {CU126} torch==2.11.0",
    )


def test_the_default_build_needs_no_index() -> None:
    assert _best("2.10", interpreter="python3").commands == (
        "python3 -m pip install torch==2.10.0",
    )


def test_pixi_adds_what_needs_no_index_and_enters_what_needs_one() -> None:
    project = {"installer": "pixi", "project": "/p", "interpreter": "/p/.pixi/envs/a/bin/python"}
    assert _best("2.10", **project).commands == (
        "pixi add --manifest-path /p --pypi torch==2.10.0",
    )
    best = _best("2.14.1", **project, installed={"xformers": "0.0.28"})
    assert best.commands == (
        "# in /p/pixi.toml, under [pypi-dependencies]:",
        f'#   torch = {{ version = "==2.14.1", index = "{CU126}" }}',
        "pixi add --manifest-path /p --pypi xformers==0.0.35",
    )


def test_another_variant_of_the_same_version_is_removed_first() -> None:
    """`==2.10.0` is met by `2.10.0+cu126` (PEP 440): pip would install nothing."""
    best = _best("2.11", torch="2.11.0+cu128", variant="cu128", interpreter="python3")
    assert best.commands == (
        "python3 -m pip uninstall -y torch",
        f"python3 -m pip install torch==2.11.0 --index-url {CU126}",
    )


def test_wheels_of_another_cuda_major_go_first_because_they_share_folders() -> None:
    best = _best(
        torch="2.14.1+cu130",
        variant="cu130",
        interpreter="python3",
        installed={"nvidia-cudnn-cu13": "9.24.0.43", "nvidia-cublas": "13.1", "numpy": "2.1.0"},
    )
    assert best.commands[0] == ("python3 -m pip uninstall -y torch nvidia-cudnn-cu13 nvidia-cublas")
    assert "2 nvidia wheels of another CUDA major are removed" in best.changes


@pytest.mark.parametrize(
    ("torch", "command"),
    [
        (
            "1.12.1",
            "python3 -m pip install torch==1.12.1+cu113 torchvision==0.13.1+cu113 "
            "torchaudio==0.12.1 --extra-index-url https://download.pytorch.org/whl/cu113",
        ),
        (
            "1.10.0",
            "python3 -m pip install torch==1.10.0+cu113 torchvision==0.11.1+cu113 "
            "torchaudio==0.10.0 -f https://download.pytorch.org/whl/torch_stable.html",
        ),
    ],
)
def test_before_torch_2_the_variant_is_a_local_version(torch: str, command: str) -> None:
    """As pytorch.org, Previous Versions, had it at the time."""
    ampere = (SeenGpu(name="NVIDIA A100-SXM4-40GB", compute_capability="8.0"),)
    best = _best(
        torch,
        gpus=ampere,
        python="3.9",
        interpreter="python3",
        installed={"torchvision": "0.20.0", "torchaudio": "2.5.0", "numpy": "1.26.4"},
    )
    assert best.commands == (command,)


def test_numpy_is_held_below_2_for_torch_below_2_3() -> None:
    best = _best("2.2.2", interpreter="python3", installed={"numpy": "2.1.0"})
    assert best.companions == {"numpy": "<2"}
    assert best.commands[-1] == "python3 -m pip install 'numpy<2'"


def test_torchtext_goes_where_none_was_published() -> None:
    best = _best("2.8", interpreter="python3", installed={"torchtext": "0.18.0"})
    assert best.commands[0] == "python3 -m pip uninstall -y torchtext"
    assert any("torchtext is removed" in change for change in best.changes)


def test_a_pinned_extension_decides_which_torch_is_near() -> None:
    best = _best(installed={"vllm": "0.30.0"}, torch="2.14.1+cu130", variant="cu130")
    assert (best.torch, best.variant) == ("2.14.1", "cu126")
    assert "CUDA 13" in best.lost["vllm"], "it does not fit torch 2.14.1 either, so nothing is lost"
    ampere = (SeenGpu(name="NVIDIA A100-SXM4-40GB", compute_capability="8.0"),)
    best = _best(
        gpus=ampere,
        driver="535.183.01",
        installed={"vllm": "0.30.0"},
        torch="2.13.0+cu130",
        variant="cu130",
    )
    assert (best.torch, best.variant) == ("2.10.0", "cu128")
    assert best.companions["vllm"] == "0.19.1", "the last whose wheels are for CUDA 12"


def test_a_python_that_the_system_manages_gets_an_environment() -> None:
    best = _best(
        externally_managed=True,
        interpreter="/usr/bin/python3",
        installed={"torchtext": "0.18.0", "nvidia-nccl-cu11": "2.18.1"},
    )
    assert best.commands[0] == "/usr/bin/python3 -m venv .venv"
    assert best.commands[1].startswith(".venv/bin/python -m pip install torch==2.14.1")
    assert not [line for line in best.commands if "uninstall" in line], "nothing is in it yet"
    with_uv = _best(externally_managed=True, interpreter="/usr/bin/python3", installer="uv")
    assert with_uv.commands[0] == "uv venv --python /usr/bin/python3 .venv"


def test_what_has_no_pip_gets_it_first() -> None:
    """`venv --without-pip`; Debian has pip, and what gives it to a venv, in packages of its own."""
    python = "/srv/env/bin/python"
    assert _best(interpreter=python, has_pip=False).commands[0] == f"{python} -m ensurepip"
    debian = _best(interpreter="/usr/bin/python3", has_pip=False, has_ensurepip=False)
    assert debian.commands[0] == "sudo apt-get install python3-pip"
    managed = _best(
        externally_managed=True, interpreter="/usr/bin/python3", has_pip=False, has_ensurepip=False
    )
    assert managed.commands[:2] == (
        "sudo apt-get install python3-venv",
        "/usr/bin/python3 -m venv .venv",
    )
    assert managed.commands[2].startswith(".venv/bin/python -m pip install torch==")
    by_uv = _best(interpreter=python, has_pip=False, installer="uv")
    assert by_uv.commands[0].startswith("uv pip install")


def test_a_torch_of_conda_is_removed_by_conda() -> None:
    best = _best(
        installer="conda",
        conda_prefix="/opt/conda/envs/a",
        torch_by_conda=True,
        torch="2.5.1",
        variant="cpu",
        interpreter="python3",
    )
    assert best.commands[0] == "conda remove --yes --prefix /opt/conda/envs/a pytorch"
    assert any("conda channels" in change for change in best.changes)


def test_a_lock_file_is_mentioned() -> None:
    assert any("next sync of uv" in change for change in _best(installer="uv", locked=True).changes)


def test_commands_that_are_followed_lead_to_the_build() -> None:
    world = World(
        gpus=(("Tesla V100-SXM2-16GB", "7.0"),),
        driver="580.65.06",
        torch="2.14.1",
        variant="cu130",
        packages={"torchvision": "0.29.1", "numpy": "2.1.0"},
    )
    best = prescribe(
        machine_in(derived(world.snapshot(KNOWLEDGE), KNOWLEDGE), KNOWLEDGE), KNOWLEDGE
    ).best
    assert best is not None
    after = follow(world, best.commands, KNOWLEDGE)
    assert (after.torch, after.variant) == ("2.14.1", "cu126")
    assert after.packages["torchvision"] == "0.29.1"


@pytest.mark.parametrize(
    ("torch", "said"),
    [("3.0", "newer than my data"), ("2.6.1", "not among"), ("abc", "no version of torch")],
)
def test_a_torch_that_does_not_exist_is_refused(torch: str, said: str) -> None:
    with pytest.raises(UnknownTorch, match=said):
        prescribe(MACHINE, KNOWLEDGE, torch)


def test_pip_takes_another_variant_for_the_wanted_one(tmp_path: Path) -> None:
    """Real pip, with two small wheels called torch: why a variant is removed first."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("2.6.0+cu118", "2.6.0"):
        _small_wheel(wheels, version)
    python = tmp_path / "env/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True, timeout=120)
    offline = ("--no-index", "--no-cache-dir", "--find-links", str(wheels))

    def pip(*words: str) -> str:
        command = [str(python), "-m", "pip", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    pip("install", *offline, "torch==2.6.0+cu118")
    assert "already satisfied" in pip("install", *offline, "torch==2.6.0")
    assert "Version: 2.6.0+cu118" in pip("show", "torch")
    pip("uninstall", "-y", "torch")
    (wheels / "torch-2.6.0+cu118-py3-none-any.whl").unlink()
    pip("install", *offline, "torch==2.6.0")
    assert "Version: 2.6.0+cu118" not in pip("show", "torch")


def _small_wheel(folder: Path, version: str) -> None:
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("torch.py", "")
        head = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        wheel.writestr(f"{info}/METADATA", head)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")


# --- the command line ---


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "envdoctor", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    world = World(driver="470.82.01", torch="2.6.0", variant="cu124", packages={"numpy": "2.1.0"})
    path = tmp_path / "facts.json"
    path.write_bytes(msgspec.json.encode(facts_document(world.snapshot(KNOWLEDGE))))
    return path


def test_prescribe_reads_facts_and_prints_json(facts: Path) -> None:
    done = _run("prescribe", "--facts", str(facts), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["none_because"] is None
    assert answer["builds"][0]["torch"] == "2.6.0"
    assert answer["builds"][0]["variant"] == "cu118"
    assert set(answer["builds"][0]) == {
        "type",
        "torch",
        "variant",
        "commands",
        "changes",
        "companions",
        "lost",
        "why",
        "pairs_with",
    }
    assert "/env/bin/python -m pip" in answer["builds"][0]["commands"][0]


def test_prescribe_writes_a_script_that_a_shell_accepts(facts: Path, tmp_path: Path) -> None:
    script = tmp_path / "repair.sh"
    done = _run("prescribe", "--facts", str(facts), "--script", "-o", str(script))
    assert done.returncode == 0, done.stderr
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n# torch 2.6.0 (cu118)")
    assert "set -eu" in text
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert not script.stat().st_mode & stat.S_IXUSR, "it is to be read before it is run"


def test_prescribe_answers_1_where_nothing_works(tmp_path: Path) -> None:
    world = replace(World(), gpus=(("NVIDIA GeForce GTX 1080", "6.1"),), driver="590.48.01")
    path = tmp_path / "facts.json"
    path.write_bytes(msgspec.json.encode(facts_document(world.snapshot(KNOWLEDGE))))
    done = _run("prescribe", "--facts", str(path))
    assert done.returncode == 1
    assert "driver branch 580" in done.stdout
    script = _run("prescribe", "--facts", str(path), "--script")
    assert script.stdout.endswith("exit 1\n")


@pytest.mark.parametrize(
    "words",
    [
        ("prescribe", "--torch", "9.9"),
        ("prescribe", "--facts", "a", "--python", "b"),
        ("prescribe", "--json", "--script"),
        ("prescribe", "--facts", "/nowhere/facts.json"),
        ("fits", "nothing"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(words: tuple[str, ...]) -> None:
    done = _run(*words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_fits_says_yes_and_no_by_its_exit_code() -> None:
    good = _run("fits", "torch==2.6.0 cuda==12.4", "--json")
    assert good.returncode == 0
    assert json.loads(good.stdout)["fits"] is True
    bad = _run("fits", "torch==2.6.0", "cuda==12.1")
    assert bad.returncode == 1
    assert "not published" in bad.stdout


def test_knowledge_shows_age_and_coverage() -> None:
    done = _run("knowledge", "--json")
    state = json.loads(done.stdout)
    assert done.returncode == 0
    assert state["as_of"] == KNOWLEDGE.as_of
    assert state["newest_torch"] == KNOWLEDGE.newest_torch
    assert {"torch builds with CUDA", "driver branches", "GPUs"} <= {
        topic["topic"] for topic in state["topics"]
    }
    assert _run("knowledge").stdout.startswith(f"knowledge of {KNOWLEDGE.as_of}")
