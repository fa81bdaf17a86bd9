"""The oldest textual that the project admits shows the same screens as the newest."""

import site
import subprocess
import sys
import venv
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TESTED = [f"tests/tui/test_{name}.py" for name in ("screens", "keys", "flows", "targets")]
"""Every screen at three sizes, every key, the ways through it."""


def oldest_textual() -> str:
    """The lower bound of what the project requires."""
    named = map(Requirement, requires("envdoctor") or ())
    bounds = next(one.specifier for one in named if one.name == "textual")
    return next(bound.version for bound in bounds if bound.operator == ">=")


@pytest.mark.index
@pytest.mark.timeout(1200)
def test_the_oldest_textual_passes_the_tests_of_the_view(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    own = tmp_path / f"env/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    # All else is that of this environment, editable installations included.
    lines = [f"import site; site.addsitedir({folder!r})" for folder in site.getsitepackages()]
    (own / "of_this_environment.pth").write_text("\n".join(lines) + "\n")
    oldest = oldest_textual()
    install = [python, "-m", "pip", "install", "-q", "--no-deps", f"textual=={oldest}"]
    subprocess.run(install, check=True)
    said = subprocess.run(
        [python, "-c", "import textual; print(textual.__version__)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.startswith(oldest)
    tests = subprocess.run(
        [python, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTED],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert tests.returncode == 0, tests.stdout[-4000:]
