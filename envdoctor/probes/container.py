"""Whether this is a container or WSL, and whether it was given GPUs."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from envdoctor.facts import Fact, Known, Observed
from envdoctor.facts.machine import Container
from envdoctor.probes.context import Context
from envdoctor.probes.environment import read_environment
from envdoctor.probes.files import read_text

_MARKERS = (
    ("KUBERNETES_SERVICE_HOST", "kubernetes"),
    ("APPTAINER_CONTAINER", "apptainer"),
    ("SINGULARITY_CONTAINER", "singularity"),
)
_FILES = (
    (".flatpak-info", "flatpak"),
    (".dockerenv", "docker"),
    ("run/.toolboxenv", "toolbox"),
    ("run/.containerenv", "podman"),
    (".singularity.d", "apptainer"),
)
_HOST_OF_A_SNAP = "var/lib/snapd/hostfs/etc"
"""The root of the host, as a strictly confined snap is shown it (snapd, cmd/snap-confine)."""
_SERVICES = (
    ("COLAB_RELEASE_TAG", "colab"),
    ("KAGGLE_KERNEL_RUN_TYPE", "kaggle"),
    ("RUNPOD_POD_ID", "runpod"),
    ("VAST_CONTAINERLABEL", "vast"),
    ("DATABRICKS_RUNTIME_VERSION", "databricks"),
    ("SM_CURRENT_HOST", "sagemaker"),
    ("AZUREML_RUN_ID", "azureml"),
    ("CLOUD_ML_JOB_ID", "vertex"),
    ("LIGHTNING_CLOUD_PROJECT_ID", "lightning"),
    ("SPACE_AUTHOR_NAME", "spaces"),
    ("CODESPACES", "codespaces"),
    ("JUPYTERHUB_USER", "jupyterhub"),
)
"""Variables that these services set in what they start. What they hold is not read."""
_MOUNTS = "proc/self/mountinfo"
_MOUNT = r"\S+ \S+ \S+ (?P<root>\S+) (?P<at>\S+) .*? - \S+ (?P<source>\S+)"
_CGROUPS = (("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("lxc", "lxc"))


def _container_kind(root: Path, env: Mapping[str, str]) -> tuple[str, str]:
    for variable, kind in _MARKERS:
        if variable in env:
            return kind, variable
    if "SNAP" in env and os.path.exists(root / _HOST_OF_A_SNAP):
        return "snap", "SNAP"
    for file, kind in _files_of_managers(root):
        if not (kind == "docker" and _is_whole_disk(root)):
            return kind, file
    groups = read_text(root / "proc/self/cgroup") or ""
    for word, kind in _CGROUPS:
        if f"/{word}" in groups:
            return kind, "/proc/self/cgroup"
    return "none", ""


def _files_of_managers(root: Path) -> Iterator[tuple[str, str]]:
    """The files by which a manager marks its containers, and whose they are."""
    for file, kind in _FILES:
        if os.path.exists(root / file):
            yield f"/{file}", kind
    manager = (read_text(root / "run/systemd/container") or "").strip()
    # systemd writes `wsl` there in every WSL that it is started in (systemd/systemd#11932).
    if manager and manager != "wsl":
        yield "/run/systemd/container", manager


def _is_whole_disk(root: Path) -> bool:
    """Whether the root is a whole block device, as that of a machine is.

    The root of a Docker container is a file system in layers, or a folder of the host's
    (proc_pid_mountinfo(5): the fields root, mount point and source). Both of Docker's marks are
    left in the files of an image that have become the disk of a machine: /.dockerenv by `docker
    export` (microVMs, `wsl --import`), /run/systemd/container by the images of Ubuntu.
    """
    lines = (read_text(root / _MOUNTS) or "").splitlines()
    mounts = [re.match(_MOUNT, line) for line in lines]
    last = next((mount for mount in reversed(mounts) if mount and mount["at"] == "/"), None)
    if last is None or last["root"] != "/":
        return False
    # containerd's devmapper gives each container a whole device of its own.
    return last["source"].startswith("/dev/") and "-snap-" not in last["source"]


def wsl_version(root: Path) -> int | None:
    """1 or 2 in WSL, by the name of its kernel."""
    kernel = (read_text(root / "proc/sys/kernel/osrelease") or "").lower()
    if "microsoft" not in kernel:
        return None
    return 2 if re.search(r"wsl2|microsoft-standard", kernel) else 1


def read_container(context: Context) -> Container:
    """The container, by the traces that its manager leaves."""
    kind, evidence = _container_kind(context.root, context.env)
    gpu_paths = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")
    return Container(
        kind=kind,
        evidence=evidence,
        wsl=wsl_version(context.root),
        nvidia_runtime=any(os.path.exists(context.path(path)) for path in gpu_paths),
        nvidia_visible_devices=read_environment(context).variables.get("NVIDIA_VISIBLE_DEVICES"),
        service=next((name for variable, name in _SERVICES if variable in context.env), ""),
    )


def observe_container(context: Context) -> dict[type[Fact], Known]:
    """The container."""
    return {Container: Observed(value=read_container(context), source="/proc, environment")}
