"""The small libraries of tests/fakes, compiled."""

import subprocess
from pathlib import Path

FAKES = Path(__file__).parents[1] / "fakes"


def build_fake(compiler: str, folder: Path, source: str, soname: str, *defines: str) -> Path:
    """Compile a fake library under its soname below a folder; returns the folder of libraries."""
    output = folder / "lib" / soname
    output.parent.mkdir(exist_ok=True)
    options = ["-shared", "-fPIC", f"-Wl,-soname,{soname}", *(f"-D{one}" for one in defines)]
    subprocess.run([compiler, *options, "-o", output, FAKES / source], check=True)
    return output.parent
