"""Real CUDA environments: installed once each, broken only in hard-linked copies."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("ENVDOCTOR_WHEELS", Path.home() / ".cache" / "envdoctor-wheels"))
"""Where environments and single libraries are kept between runs; about 5 GB an environment."""

DONORS = {
    "nvjitlink-12.1": "nvidia-nvjitlink-cu12==12.1.105",
    "cudart-11": "nvidia-cuda-runtime-cu11==11.8.89",
    "cudart-12.1": "nvidia-cuda-runtime-cu12==12.1.105",
    "nccl-2.18": "nvidia-nccl-cu12==2.18.1",
    "cublas-12.1": "nvidia-cublas-cu12==12.1.3.1",
    "cudnn-9.5": "nvidia-cudnn-cu12==9.5.1.17",
    "cudnn-8": "nvidia-cudnn-cu12==8.9.2.26",
}
"""Libraries of other versions, by the wheel that they are taken from."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with torch."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return next((self.folder / "lib").glob("python3*")) / "site-packages"

    def find(self, pattern: str) -> list[Path]:
        """Files of torch and of the nvidia wheels by a glob pattern, e.g. `libcudnn.so.*`."""
        folders = ("nvidia/*/lib", "torch/lib", "cusparselt/lib", "torch")
        return sorted(p for f in folders for p in self.packages.glob(f"{f}/{pattern}"))

    def state(self) -> str:
        """A digest of the sizes and times of all libraries; a change in the base shows."""
        digest = hashlib.sha256()
        for path in sorted(self.packages.rglob("*.so*")):
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def installed(version: str, *beside: str) -> Environment:
    """The environment with that torch and what goes beside it, installed if it is not there."""
    environment = Environment(CACHE / "-".join([f"torch-{version}", *beside]))
    if not (environment.folder / "complete").exists():
        shutil.rmtree(environment.folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", environment.folder], check=True)
        numpy = "numpy<2" if version.startswith(("2.0", "2.1", "2.2")) else "numpy"
        _pip(environment.python, "install", f"torch=={version}", numpy, *beside)
        (environment.folder / "complete").touch()
    return environment


def donor(name: str) -> Path:
    """The folder with the libraries of one other version."""
    folder = CACHE / "donors" / name
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        download = ["download", "--no-deps", "-d", str(folder), DONORS[name]]
        _pip(Path(sys.executable), *download)
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for item in archive.namelist():
                    if ".so" in item:
                        (folder / os.path.basename(item)).write_bytes(archive.read(item))
            wheel.unlink()
        (folder / "complete").touch()
    return folder


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", *arguments, "-q", "--disable-pip-version-check"]
    # A constraint of this machine must not decide which torch is tried.
    subprocess.run(command, check=True, env={**os.environ, "PIP_CONSTRAINT": ""})


def linked_copy(base: Environment, folder: Path) -> Environment:
    """A copy of hard links; files in it may be unlinked and replaced, never written into."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["cp", "-al", str(base.folder), str(folder)], check=True)
    return Environment(folder)


def replace(path: Path, content: bytes) -> None:
    """A new file in the place of a linked one."""
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode)


def run_truth(environment: Environment, variables: dict[str, str], out: Path) -> dict[str, object]:
    """Import torch for real; the answer of the child, with how it ended."""
    out.unlink(missing_ok=True)
    child = Path(__file__).with_name("truth_child.py")
    result = subprocess.run(
        [str(environment.python), "-B", str(child), str(out)],
        env={**clean_environment(), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    answer = json.loads(out.read_text()) if out.exists() else {}
    return {**answer, "exit": result.returncode, "stderr": result.stderr[-500:]}


def clean_environment(without: Iterable[str] = ("LD_LIBRARY_PATH", "LD_PRELOAD")) -> dict[str, str]:
    """This process's variables without those that the scenarios set."""
    return {name: value for name, value in os.environ.items() if name not in without}
