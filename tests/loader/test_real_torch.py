"""The torch that is installed beside the tests: prediction against /proc/self/maps."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envdoctor.loader.mapped import differences
from tests.conftest import require
from tests.loader.build import Workshop
from tests.loader.miniature import KNOWLEDGE, Miniature

LIBRARIES = KNOWLEDGE.libraries

_CHILD = """
import torch
torch.zeros(4, 4) @ torch.zeros(4, 4)
print(*{line.split(None, 5)[5].strip() for line in open("/proc/self/maps")
        if len(line.split(None, 5)) == 6 and ".so" in line}, sep="\\n")
"""


@pytest.fixture
def torch(workshop: Workshop) -> Miniature:
    """A hard-linked copy of the installed torch; its files may be replaced, not written into."""
    found = importlib.util.find_spec("torch")
    require(found is not None and found.origin is not None, "torch beside the tests")
    assert found is not None
    assert found.origin is not None
    site = workshop.folder / "site-packages"
    package = Path(found.origin).parent
    try:
        shutil.copytree(package, site / "torch", copy_function=os.link, symlinks=True)
    except OSError:
        pytest.skip("hard links do not reach the temporary folder")
    nvidia = package.parent / "nvidia"
    if nvidia.is_dir():
        shutil.copytree(nvidia, site / "nvidia", copy_function=os.link, symlinks=True)
    return Miniature(site=site, shop=workshop)


def mapped(torch: Miniature, variables: dict[str, str]) -> tuple[str, ...] | None:
    """The files that are mapped once torch has worked; None where it does not import."""
    environment = {**os.environ, **variables, "PYTHONPATH": str(torch.site)}
    result = subprocess.run(
        [sys.executable, "-c", _CHILD], env=environment, capture_output=True, text=True, check=False
    )
    return tuple(result.stdout.split("\n")[:-1]) if result.returncode == 0 else None


def test_what_is_predicted_is_mapped(torch: Miniature):
    paths = mapped(torch, {})
    assert paths is not None
    resolution = torch.resolve()
    assert resolution.import_error is None
    assert differences(resolution, paths, LIBRARIES) == ()
    assert torch.findings() == ()


def test_another_libgomp_on_the_path(torch: Miniature):
    """torch's libraries have a RUNPATH (or an RPATH, in older wheels); the prediction knows."""
    (gomp,) = (torch.site / "torch" / "lib").glob("libgomp*.so*")
    folder = torch.shop.folder / "path"
    folder.mkdir()
    shutil.copy2(gomp, folder / gomp.name)
    variables = {"LD_LIBRARY_PATH": str(folder)}
    paths = mapped(torch, variables)
    assert paths is not None
    assert differences(torch.resolve(variables), paths, LIBRARIES) == ()


def test_a_removed_and_a_cut_library(torch: Miniature):
    lib = torch.site / "torch" / "lib"
    content = (lib / "libc10.so").read_bytes()
    (lib / "libc10.so").unlink()
    assert mapped(torch, {}) is None
    assert {(f.code, f.subjects) for f in torch.findings()} == {("ED303", ("libc10.so",))}
    (lib / "libc10.so").write_bytes(content[: len(content) // 2])
    assert mapped(torch, {}) is None
    (finding,) = [f for f in torch.findings() if f.code == "ED304"]
    assert "the file is cut short" in finding.message
