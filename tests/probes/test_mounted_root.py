"""A root that does not run here: the same probes, and what they cannot ask says so."""

from pathlib import Path

import pytest

from envdoctor.api import (
    Container,
    CudaInit,
    Distributions,
    Driver,
    Environment,
    Host,
    InstalledFiles,
    Interpreter,
    Limits,
    Nvml,
    Observed,
    Reason,
    Target,
    TorchBuild,
    TorchImport,
    Unknown,
)
from envdoctor.collect import collect
from envdoctor.facts import Snapshot
from envdoctor.knowledge import Knowledge, load
from envdoctor.options import Options
from envdoctor.plugin_loading import load_plugins
from envdoctor.probes.context import context_of
from envdoctor.probes.run import Children
from tests.support.patients import Patient, fake_torch


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The file system of an image with a torch and a driver, below another folder."""
    patient = Patient(tmp_path / "opt" / "env")
    patient.site_packages.mkdir(parents=True)
    patient.python.parent.mkdir()
    # Absolute in the image, and nothing here.
    patient.python.symlink_to("/usr/bin/python3.nowhere")
    fake_torch(patient, "raise SystemExit('nothing of an image is run')")
    for name, text in {
        "etc/os-release": "ID=alpine\nVERSION_ID=3.20\n",
        "run/.containerenv": "",
        "proc/modules": "nvidia 1 0 - Live 0x0\n",
        "dev/nvidia0": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def snapshot(image: Path, children: Children) -> Snapshot:
    env = {"LD_LIBRARY_PATH": "/opt/lib", "PATH": "/usr/bin", "HF_TOKEN": "secret"}
    return collect(
        Options(python="/opt/env"),
        load_plugins(),
        children=children,
        services={Knowledge: load()},
        context=context_of(children, root=image, env=env, cwd="/work"),
    )


def test_what_files_tell_is_observed(snapshot: Snapshot) -> None:
    target, host = snapshot.value(Target), snapshot.value(Host)
    assert target is not None
    assert host is not None
    assert (target.path, target.problem) == ("/opt/env/bin/python", None)
    assert (host.os_id, host.kernel, host.memory_bytes) == ("alpine", None, None)
    container, driver = snapshot.value(Container), snapshot.value(Driver)
    assert container is not None
    assert driver is not None
    assert container.kind == "podman"
    assert (driver.device_nodes, driver.unusable_nodes) == (("/dev/nvidia0",), ())
    environment = snapshot.value(Environment)
    assert environment is not None
    assert environment.variables == {"LD_LIBRARY_PATH": "/opt/lib"}


def test_the_packages_of_the_image_are_read(snapshot: Snapshot, image: Path) -> None:
    distributions, build = snapshot.value(Distributions), snapshot.value(TorchBuild)
    assert distributions is not None
    assert build is not None
    assert [one.name for one in distributions.items] == ["torch"]
    assert build.version == "2.13.0+cpu"
    assert build.path.startswith(str(image))
    files = snapshot.value(InstalledFiles)
    assert files is not None
    assert (files.checked_files, files.damaged) == (3, ())


@pytest.mark.parametrize("kind", [Interpreter, Limits, Nvml, CudaInit, TorchImport])
def test_what_only_a_running_system_tells_was_not_observed(
    snapshot: Snapshot, image: Path, kind: type
) -> None:
    fact = snapshot.get(kind)
    assert isinstance(fact, Unknown)
    assert fact.reason is Reason.SWITCHED_OFF
    assert str(image) in fact.detail


def test_every_fact_of_a_probe_is_settled(snapshot: Snapshot) -> None:
    known = dict(snapshot.items())
    for probe in load_plugins().probes:
        for kind in probe.provides:
            assert isinstance(known[kind], Observed | Unknown), kind
