"""Ways in which a healthy environment may lie, each as a function of a hard-linked copy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.wheels.environments import Environment, replace

SYSTEM_LIBRARIES = "/usr/lib/x86_64-linux-gnu"


@dataclass
class Place:
    """How the doctor is called there: the target, variables, and the current folder."""

    target: Path
    variables: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None


Layout = Callable[[Environment], Place]


def _as_it_is(environment: Environment) -> Place:
    return Place(environment.folder)


def _renamed(name: str) -> Layout:
    """A virtual environment that was moved: its Python works, the scripts beside it do not."""

    def layout(environment: Environment) -> Place:
        folder = environment.folder.parent / name
        shutil.rmtree(folder, ignore_errors=True)
        environment.folder.rename(folder)
        return Place(folder)

    return layout


def _with(**variables: str) -> Layout:
    return lambda environment: Place(environment.folder, variables)


def _by_a_link(environment: Environment) -> Place:
    link = environment.folder.parent / "by-a-link"
    link.unlink(missing_ok=True)
    link.symlink_to(environment.folder)
    return Place(link)


def _without(*patterns: str) -> Layout:
    def layout(environment: Environment) -> Place:
        for pattern in patterns:
            for path in environment.packages.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return Place(environment.folder)

    return layout


def _stripped(environment: Environment) -> Place:
    for name in ("libc10.so", "libtorch_python.so", "libtorch_cuda_linalg.so"):
        for path in environment.packages.glob(f"torch/lib/{name}"):
            out = environment.folder / "stripped"
            subprocess.run(["strip", "--strip-unneeded", "-o", out, path], check=True)
            replace(path, out.read_bytes())
            out.unlink()
    return Place(environment.folder)


def _by_uv(environment: Environment) -> Place:
    _without("pip", "pip-*", "setuptools", "setuptools-*", "_distutils_hack")(environment)
    for info in environment.packages.glob("*.dist-info"):
        replace(info / "INSTALLER", b"uv")
    file = environment.folder / "pyvenv.cfg"
    replace(file, file.read_bytes() + b"uv = 0.8.4\n")
    return Place(environment.folder)


def _on_its_own_pythonpath(environment: Environment) -> Place:
    return Place(environment.folder, {"PYTHONPATH": str(environment.packages)})


def _in_two_folders(environment: Environment) -> Place:
    """lib64 is a folder of its own, as on Fedora; the wheels of NVIDIA are in lib."""
    packages, lib64 = environment.packages, environment.folder / "lib64"
    lib64.unlink()
    there = lib64 / packages.parent.name / "site-packages"
    there.mkdir(parents=True)
    for pattern in ("torch", "torch-*", "torchgen", "functorch", "torchvision*", "numpy*"):
        for path in packages.glob(pattern):
            path.rename(there / path.name)
    (packages / "lib64.pth").write_text(f"{there}\n")
    return Place(environment.folder)


def _emptied(environment: Environment, name: str) -> tuple[Path, Path]:
    """A folder with all packages, and the new environment without any."""
    moved = environment.folder.parent / name
    shutil.rmtree(moved, ignore_errors=True)
    environment.packages.rename(moved)
    shutil.rmtree(environment.folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment.folder], check=True)
    return moved, environment.packages


def _as_a_target_folder(environment: Environment) -> Place:
    packages, _ = _emptied(environment, "target")
    return Place(environment.folder, {"PYTHONPATH": str(packages)})


def _by_a_path_file(environment: Environment) -> Place:
    packages, site = _emptied(environment, "packages")
    (site / "packages.pth").write_text(f"{packages}\n")
    return Place(environment.folder)


def _as_links(environment: Environment) -> Place:
    """Every file is a link into a store, as Bazel and Nix have them."""
    store, site = _emptied(environment, "store")
    for folder, _, files in os.walk(store):
        there = site / Path(folder).relative_to(store)
        there.mkdir(exist_ok=True)
        for name in files:
            (there / name).symlink_to(Path(folder) / name)
    return Place(environment.folder)


def _beside_leftovers(environment: Environment) -> Place:
    info = environment.packages / "~orch-2.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: torch\nVersion: 2.0.0\n")
    return Place(environment.folder)


def _in_a_project(environment: Environment) -> Place:
    """Files of a user's that have names of packages, and not of modules that torch imports."""
    project = environment.folder.parent / "project"
    (project / "data").mkdir(parents=True, exist_ok=True)
    for name in ("train.py", "model.py", "utils.py", "data/__init__.py", "pyproject.toml"):
        (project / name).write_text("")
    return Place(environment.folder, cwd=project)


def _with_code_at_start(environment: Environment) -> Place:
    (environment.packages / "sitecustomize.py").write_text("import os\n")
    (environment.packages / "start.pth").write_text("import os; os.environ.setdefault('A', '1')\n")
    return Place(environment.folder)


LAYOUTS: dict[str, Layout] = {
    "as it is": _as_it_is,
    "moved": _renamed("elsewhere"),
    "a name with blanks and quotes": _renamed('it\'s my "env"'),
    "a name of other letters": _renamed("umgebung é 环境"),
    "by a link": _by_a_link,
    "slimmed": _without("torch/include", "torch/share", "torch/test", "*/tests"),
    "stripped": _stripped,
    "without RECORD": _without("torch-*.dist-info/RECORD"),
    "without bytecode": _without("**/__pycache__"),
    "as uv makes it": _by_uv,
    "on its own PYTHONPATH": _on_its_own_pythonpath,
    "lib and lib64": _in_two_folders,
    "a target folder": _as_a_target_folder,
    "by a path file": _by_a_path_file,
    "links into a store": _as_links,
    "leftovers of pip": _beside_leftovers,
    "in a project": _in_a_project,
    "code at start": _with_code_at_start,
    "the system's libraries first": _with(LD_LIBRARY_PATH=SYSTEM_LIBRARIES),
    "libraries in a folder that is gone": _with(LD_LIBRARY_PATH="/usr/local/cuda-11.0/gone"),
    "PYTHONPATH that is gone": _with(PYTHONPATH="/srv/project/gone"),
    "nothing of the user's": _with(PYTHONNOUSERSITE="1", PYTHONSAFEPATH="1"),
    "no bytecode, no asserts": _with(PYTHONDONTWRITEBYTECODE="1", PYTHONOPTIMIZE="1"),
    "no GPU by a variable": _with(CUDA_VISIBLE_DEVICES=""),
    "no home, C locale": _with(HOME="/nonexistent", LC_ALL="C", PYTHONUTF8="0"),
}
