"""The shape of the project: what may import what, and what importing costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "envdoctor"
CHECKS = ROOT / "checks" / "envdoctor_checks"

IN_THE_TARGET = ("probes/target/", "calibration/target/")
"""Files that run in the target interpreter; only these may import torch."""


def imports_of(file: Path) -> Iterator[str]:
    """The modules that a file names in its import statements, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def relative(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def test_the_doctor_never_imports_torch() -> None:
    for file in files(PACKAGE):
        if relative(file).startswith(IN_THE_TARGET):
            continue
        assert not [name for name in imports_of(file) if name.split(".")[0] == "torch"], file


def test_the_core_does_not_import_the_built_in_checks() -> None:
    for file in (*files(PACKAGE),):
        assert not [name for name in imports_of(file) if name.startswith("envdoctor_checks")], file


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("probes", ("envdoctor.commands", "envdoctor.render", "envdoctor.tui", "envdoctor.engine")),
        ("render", ("envdoctor.commands", "envdoctor.collect", "envdoctor.probes")),
        ("knowledge", ("envdoctor.commands", "envdoctor.probes", "envdoctor.engine")),
        ("loader", ("envdoctor.commands", "envdoctor.render", "envdoctor.engine")),
        ("prescribe", ("envdoctor.commands", "envdoctor.probes", "envdoctor.engine")),
    ],
)
def test_arrows_never_point_back(folder: str, forbidden: tuple[str, ...]) -> None:
    for file in files(PACKAGE / folder):
        back = [name for name in imports_of(file) if name.startswith(forbidden)]
        assert not back, f"{file} imports {back}"


def test_checks_know_no_commands_and_run_nothing() -> None:
    forbidden = ("envdoctor.commands", "envdoctor.probes", "envdoctor.collect", "subprocess")
    for file in files(CHECKS):
        if file.name == "__init__.py":
            continue
        found = [name for name in imports_of(file) if name.startswith(forbidden)]
        assert not found, f"{file} imports {found}"


TOUCHES_THE_MACHINE = {"realpath", "exists", "isfile", "isdir", "stat", "open", "environ"}


def test_checks_look_at_facts_and_never_at_the_machine() -> None:
    for file in files(CHECKS):
        if file.name == "__init__.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = getattr(node, "attr", None) or getattr(node, "id", None)
            assert name not in TOUCHES_THE_MACHINE, f"{file} uses {name}"


def test_no_module_imports_another_in_a_circle() -> None:
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in files(PACKAGE)
    }
    graph = {name: _needed_to_load(file, modules) - {name} for name, file in modules.items()}
    TopologicalSorter(graph).prepare()


def _needed_to_load(file: Path, modules: dict[str, Path]) -> set[str]:
    """The project's modules that a file imports while it is loaded itself."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in modules else node.module for name in names}
    return found & set(modules)


def modules_after(code: str) -> set[str]:
    """What is loaded once the code has run in a fresh interpreter."""
    listing = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.splitlines()[-1].split())


def test_version_and_help_load_nothing_heavy() -> None:
    loaded = modules_after("import envdoctor.cli")
    assert not loaded & {"msgspec", "textual", "psutil", "elftools", "pynvml", "torch", "packaging"}


def test_the_json_path_never_loads_textual_or_torch() -> None:
    code = (
        "import contextlib, io, envdoctor.cli\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    envdoctor.cli.cli.main(['check', '--static', '--json'], standalone_mode=False)"
    )
    assert not modules_after(code) & {"textual", "rich", "torch", "pynvml"}


def test_no_probe_reaches_for_the_process_that_it_runs_in() -> None:
    """Root, variables and folder come with the Context; only that module asks the process."""
    of_the_process = {"environ", "getenv", "getcwd", "cwd", "chdir"}
    for file in sorted((PACKAGE / "probes").glob("*.py")):
        if file.name == "context.py":
            continue
        text = file.read_text(encoding="utf-8")
        assert 'Path("/")' not in text, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in ("os", "Path"):
                assert node.attr not in of_the_process, f"{file} uses {node.attr}"


def test_what_starts_the_targets_child_loads_nothing_of_the_doctor_behind_it() -> None:
    loaded = modules_after("import envdoctor.commands.check, envdoctor.find_target")
    assert not loaded & {
        "msgspec",
        "envdoctor.collect",
        "envdoctor.diagnose",
        "envdoctor.facts",
        "envdoctor.knowledge",
        "envdoctor.plugins",
        "envdoctor.session",
    }


def test_the_static_path_loads_nothing_that_it_does_not_use() -> None:
    code = (
        "import contextlib, io, envdoctor.cli\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    envdoctor.cli.cli.main(['check', '--static'], standalone_mode=False)"
    )
    assert not modules_after(code) & {
        "elftools",
        "email.parser",
        "importlib.metadata",
        "psutil",
        "pynvml",
        "tempfile",
    }
