"""Real environments to break: a virtual environment whose torch is hard links to the real one."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Patient:
    """A target environment. Files of it are broken by `replace` and `remove` only: what is
    written into a hard link would break the original as well."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        return self.root / "lib" / _python_name() / "site-packages"

    def remove(self, file: str) -> None:
        (self.site_packages / file).unlink()

    def replace(self, file: str, data: bytes) -> None:
        path = self.site_packages / file
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def truncate(self, file: str, keep_bytes: int) -> None:
        with (self.site_packages / file).open("rb") as original:
            data = original.read(keep_bytes)
        self.replace(file, data)

    def prepend(self, file: str, code: str) -> None:
        self.replace(file, code.encode() + (self.site_packages / file).read_bytes())


def _python_name() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def has_torch() -> bool:
    """Whether the interpreter of the tests has a torch to copy; it is not imported."""
    return importlib.util.find_spec("torch") is not None


def empty_patient(root: Path) -> Patient:
    """A virtual environment without any distribution, made by hand: quicker than venv."""
    patient = Patient(root)
    patient.python.parent.mkdir(parents=True)
    patient.site_packages.mkdir(parents=True)
    base = Path(sysconfig.get_config_var("BINDIR")) / _python_name()
    patient.python.symlink_to(base)
    (root / "pyvenv.cfg").write_text(
        f"home = {base.parent}\ninclude-system-site-packages = false\n"
    )
    return patient


def torch_patient(root: Path) -> Patient:
    """An environment with the real torch and all that it requires."""
    patient = empty_patient(root)
    for name in _closure("torch", {}):
        _link(metadata.distribution(name), patient.site_packages)
    return patient


def _closure(name: str, seen: dict[str, None]) -> list[str]:
    if name in seen:
        return list(seen)
    try:
        requires = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return list(seen)
    seen[name] = None
    for line in (*requires, *(["numpy"] if name == "torch" else [])):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            _closure(canonicalize_name(requirement.name), seen)
    return list(seen)


def _link(distribution: metadata.Distribution, site_packages: Path) -> None:
    for file in distribution.files or ():
        if file.parts[0] == ".." or file.suffix == ".pyc":
            continue
        source, target = Path(str(distribution.locate_file(file))), site_packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)


def fake_torch(patient: Patient, init: str, version: str = "2.13.0+cpu") -> None:
    """A small package torch that does what `init` says, installed as a wheel would be."""
    site = patient.site_packages
    files = {
        "torch/__init__.py": init
        if "__version__" in init
        else f"{init}\n__version__ = '{version}'\n",
        "torch/version.py": f"__version__ = '{version}'\ncuda = None\nhip = None\n",
        "torch/nn/__init__.py": "",
    }
    info = site / f"torch-{version}.dist-info"
    # Fails first where there is a torch: its files are hard links to those of the real one.
    info.mkdir()
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    (info / "INSTALLER").write_text("pip\n")
    rows = [f"{name},,{len(text.encode())}" for name, text in files.items()]
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]) + "\n")
