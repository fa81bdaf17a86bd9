"""Captures facts of real environments that are broken in one way each, with their provenance.

`python -m tests.captured.capture` makes `~/train`, an environment with hard links to the torch of
the tests, breaks it, and lets `envdoctor collect` look at it; the folder is removed in the end.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.doctor import envdoctor
from tests.support.patients import Patient, empty_patient, torch_patient

HERE = Path(__file__).parent
HOME = Path.home() / "train"
REPOSITORY = Path(__file__).parents[2]


def healthy_cpu(patient: Patient) -> str:
    return "nothing is broken"


def library_removed(patient: Patient) -> str:
    patient.remove("torch/lib/libtorch_cpu.so")
    return "torch/lib/libtorch_cpu.so was removed"


def library_truncated(patient: Patient) -> str:
    patient.truncate("torch/lib/libtorch_python.so", 2**20)
    return "torch/lib/libtorch_python.so was cut to 1 MiB"


def import_aborts(patient: Patient) -> str:
    patient.prepend("torch/__init__.py", "import os\nos.abort()\n")
    return "torch/__init__.py begins with os.abort()"


def shadowed_by_the_folder(patient: Patient) -> str:
    (HOME / "queue.py").write_text("mine = True\n")
    return "the working folder holds a queue.py"


BROKEN: tuple[Callable[[Patient], str], ...] = (
    healthy_cpu,
    library_removed,
    library_truncated,
    import_aborts,
    shadowed_by_the_folder,
)


def capture(name: str, patient: Patient, what: str, *options: str) -> None:
    """Let the program look, and keep what it wrote with how it was made."""
    command = ("collect", *options, "--python", str(patient.python))
    run = envdoctor(*command, cwd=HOME)
    assert run.exit_code == 0, run.stderr
    document = json.loads(run.stdout.replace(str(REPOSITORY), "~/envdoctor"))
    cpu = document["facts"]["Host"]["value"]["cpu_name"]
    shown = " ".join(command).replace(str(Path.home()), "~")
    document["captured_with"] = f"`envdoctor {shown}` in ~/train on a machine with {cpu}; {what}"
    (HERE / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Make every file of this folder anew."""
    HOME.mkdir()
    try:
        for break_it in BROKEN:
            patient = torch_patient(HOME / ".venv")
            capture(break_it.__name__.replace("_", "-"), patient, break_it(patient))
            shutil.rmtree(patient.root)
        shutil.rmtree(HOME)
        HOME.mkdir()
        patient = torch_patient(HOME / ".venv")
        capture("static", patient, "nothing was run", "--static")
        shutil.rmtree(patient.root)
        capture("without-torch", empty_patient(HOME / ".venv"), "no torch was installed")
    finally:
        shutil.rmtree(HOME)


if __name__ == "__main__":
    main()
