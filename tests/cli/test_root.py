"""`--root`: an unpacked image, a mounted disk, or the /proc and /sys of a node, by files alone."""

import json
from pathlib import Path

import pytest

from tests.support.doctor import Run, envdoctor
from tests.support.patients import Patient, fake_torch

WITHOUT_A_MODULE = {"class": "0x030200\n", "vendor": "0x10de\n", "device": "0x20b2\n"}


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image as a Dockerfile makes it: a torch in /opt/venv, whose Python is not here."""
    put(tmp_path, **{"etc/os-release": "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Image 12\n"})
    patient = Patient(tmp_path / "opt/venv")
    patient.site_packages.mkdir(parents=True)
    patient.python.parent.mkdir()
    patient.python.symlink_to("/usr/local/bin/python3.nowhere")
    fake_torch(patient, "raise SystemExit('nothing of an image is run')")
    return tmp_path


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The /proc and /sys of a node that has no Python: a GPU, and no module that drives it."""
    put(tmp_path, **{"proc/modules": "loop 1 0 - Live 0x0\n", "etc/os-release": "ID=ubuntu\n"})
    gpu = "sys/bus/pci/devices/0000:07:00.0"
    put(tmp_path, **{f"{gpu}/{name}": text for name, text in WITHOUT_A_MODULE.items()})
    return tmp_path


def check(root: Path, *words: str) -> Run:
    return envdoctor("check", "--root", root, "--json", *words)


def test_an_image_is_judged_without_the_machine_that_it_lies_on(image: Path) -> None:
    run = check(image)
    report = run.json
    assert (report["verdict"], run.exit_code) == ("unproven", 0)
    assert report["findings"] == []
    assert report["target"]["path"] == "/opt/venv/bin/python"
    assert report["stack"]["torch_version"] == "2.13.0+cpu"
    assert report["stack"]["os"].startswith("Image 12")
    selection = report["selection"]
    assert (selection["scope"], selection["static"]) == ("user", True)
    assert report["facts"]["Environment"]["value"]["variables"] == {}


def test_an_image_whose_torch_is_damaged(image: Path) -> None:
    (module,) = image.rglob("torch/__init__.py")
    module.unlink()
    run = check(image)
    first = run.json["findings"][0]
    assert (first["name"], run.exit_code) == ("damaged-install", 1)


def test_the_systems_own_python_of_debian(tmp_path: Path) -> None:
    put(tmp_path, **{"usr/bin/python3.12": "", "etc/os-release": "ID=ubuntu\n"})
    (tmp_path / "usr/bin/python3").symlink_to("python3.12")
    put(tmp_path, **{"usr/local/lib/python3.12/dist-packages/torch/__init__.py": ""})
    target = check(tmp_path).json["target"]
    assert (target["path"], target["problem"]) == ("/usr/bin/python3", None)
    assert "with a torch on disk" in target["chosen_because"]


def test_a_node_is_judged_without_a_target(node: Path) -> None:
    run = check(node)
    report = run.json
    assert report["selection"]["scope"] == "node"
    assert report["target"] is None
    assert (report["findings"][0]["name"], run.exit_code) == ("driver-not-loaded", 1)
    assert report["facts"]["PciGpus"]["value"]["devices"][0]["address"] == "0000:07:00.0"


def test_a_node_without_a_gpu(node: Path) -> None:
    (node / "sys/bus/pci/devices/0000:07:00.0/vendor").write_text("0x8086\n")
    run = check(node)
    assert (run.json["verdict"], run.exit_code) == ("healthy", 0)


def test_what_was_collected_of_an_image_is_judged_alike(image: Path, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    assert envdoctor("collect", "--root", image, "-o", facts).exit_code == 0
    recorded = envdoctor("check", "--facts", facts, "--scope", "user", "--json").json
    assert recorded["outcomes"] == check(image).json["outcomes"]
    assert json.loads(facts.read_text())["facts"]["CudaInit"]["reason"] == "switched-off"


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("nothing", "is no folder"),
        ("file", "is no folder"),
        ("empty", "is no root of a file system: it holds none of etc, usr, proc, sys"),
        ("/", "is this machine itself"),
    ],
)
def test_what_is_no_root_is_refused(tmp_path: Path, root: str, words: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    run = envdoctor("check", "--root", tmp_path / root)
    assert run.exit_code == 2
    assert words in run.stderr
    assert run.stderr.count("\n") == 1


def test_recorded_facts_have_no_root(image: Path) -> None:
    run = envdoctor("check", "--facts", "-", "--root", image)
    assert run.exit_code == 2
    assert "give one" in run.stderr


def test_absolute_links_of_an_image_lead_into_the_image(image: Path) -> None:
    (image / "opt").rename(image / "data")
    (image / "opt").symlink_to("/data")
    report = check(image).json
    assert report["target"]["path"] == "/opt/venv/bin/python"
    assert report["stack"]["torch_version"] == "2.13.0+cpu"
    (image / "data").rename(image / "elsewhere")
    assert check(image).json["stack"]["torch_version"] is None
