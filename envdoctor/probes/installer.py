"""What manages the target environment, so that a fix names the right command."""

import os
from pathlib import Path

from envdoctor.facts.python import Distributions, Installer
from envdoctor.probes.files import read_text

_LOCK_FILES = (
    ("pixi.lock", "pixi"),
    ("uv.lock", "uv"),
    ("poetry.lock", "poetry"),
    ("pdm.lock", "pdm"),
    ("Pipfile.lock", "pipenv"),
)


def read_installer(prefix: str, distributions: Distributions) -> Installer:
    """The manager of the environment at `prefix`, by what it leaves there.

    Order: conda's and pixi's own records, uv's and poetry's marks in the environment, a lock file
    of the project around the environment, the INSTALLER of torch, then pip.
    """
    root = Path(prefix)
    in_conda = os.path.isdir(root / "conda-meta")
    name, evidence = _by_traces(root, in_conda) or _by_torch(distributions) or ("pip", "")
    return Installer(name=name, evidence=evidence, in_conda=in_conda)


def _by_traces(root: Path, in_conda: bool) -> tuple[str, str] | None:
    if in_conda:
        pixi = os.path.exists(root / "conda-meta/pixi") or ".pixi" in root.parts
        return ("pixi" if pixi else "conda"), f"{root}/conda-meta"
    if ".pixi" in root.parts:
        return "pixi", str(root)
    project = root.parent
    for lock, name in _LOCK_FILES:
        if root.name.startswith(".venv") and os.path.exists(project / lock):
            return name, str(project / lock)
    if "pypoetry" in root.parts:
        return "poetry", str(root)
    configuration = read_text(root / "pyvenv.cfg") or ""
    if any(line.split("=")[0].strip() == "uv" for line in configuration.splitlines()):
        return "uv", f"{root}/pyvenv.cfg"
    return None


def _by_torch(distributions: Distributions) -> tuple[str, str] | None:
    torch = distributions.first("torch")
    if torch is None or not torch.installer:
        return None
    name = "poetry" if torch.installer.lower().startswith("poetry") else torch.installer.lower()
    return name, os.path.join(torch.metadata_path, "INSTALLER")
