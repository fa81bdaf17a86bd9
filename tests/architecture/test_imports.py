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

IN_THE_TARGET = ("probes/target/", "calibration/target/", "collective/target/")
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


def unit(name: str) -> str:
    """The module or package of the first level that a file or an import belongs to."""
    return name.removeprefix("envdoctor.").split(".")[0].split("/")[0].removesuffix(".py")


def own_imports(file: Path) -> set[str]:
    """The units of the project that a file names, but for those that only a type checker reads."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_checkers = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if node in for_checkers or not isinstance(node, ast.ImportFrom):
            continue
        if node.module == "envdoctor":
            found |= {alias.name for alias in node.names}
        elif node.module and node.module.startswith("envdoctor."):
            found.add(unit(node.module))
    return found - {"__version__"}


def test_only_its_command_imports_the_full_screen_view() -> None:
    importers = {relative(file) for file in files(PACKAGE) if "tui" in own_imports(file)}
    assert {name for name in importers if not name.startswith("tui/")} == {"commands/tui.py"}


def test_neighbours_do_not_know_each_other() -> None:
    for name in ("loader", "prescribe", "fits"):
        for file in files(PACKAGE / name):
            assert not own_imports(file) & ({"loader", "prescribe", "fits"} - {name}), file
    for file in files(PACKAGE / "render"):
        assert not own_imports(file) & {"session", "collect", "probes"}, file


def test_a_session_neither_prints_nor_parses() -> None:
    used = set(imports_of(PACKAGE / "session.py"))
    assert not used & {"click", "sys"}


WRITES_BY_ITSELF = (
    "__main__.py",
    "output/",
    "schema.py",
    "knowledge/refresh",
    "probes/nvml_child.py",
    "probes/guard.py",
    "probes/channel.py",
    "probes/stage_child.py",
    "probes/cuda_child.py",
    "calibration/telemetry_child.py",
    "calibration/worker.py",
    "collective/worker.py",
    *IN_THE_TARGET,
)
"""The one way out, what runs before it is there, tools of the developers, and children, whose
output the doctor reads."""


def written_by_itself(file: Path) -> set[str]:
    """What a file does to write to a standard stream, past the filter."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("print", "echo", "secho", "click.echo", "click.secho", "os.write"):
                found.add(called)
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name in ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"):
                found.add(name)
    return found


LOOKS_AT_THE_TERMINAL = {
    "commands/tui.py": {"sys.stderr"},
    "tui/terminal.py": {"sys.stderr"},
    "tui/background.py": {"os.write"},
}
"""The last asks the terminal itself for its colours, before anything is shown."""


def test_there_is_one_way_out() -> None:
    for file in (*files(PACKAGE), *files(CHECKS)):
        name = relative(file) if file.is_relative_to(PACKAGE) else file.name
        if not name.startswith(WRITES_BY_ITSELF):
            past = written_by_itself(file) - LOOKS_AT_THE_TERMINAL.get(name, set())
            assert not past, f"{name} uses {past}: give it to envdoctor.output"


@pytest.mark.parametrize("line", ["print(1)", "click.echo('a')", "sys.stdout.write('a')"])
def test_a_way_past_it_would_be_seen(tmp_path: Path, line: str) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"import click, sys\ndef command():\n    {line}\n")
    assert written_by_itself(file)


def test_versions_are_read_in_one_place() -> None:
    """It knows what is none: packaging refuses some texts, Python numbers of 5,000 digits."""
    for file in (*files(PACKAGE), *files(CHECKS)):
        if file != PACKAGE / "versions.py":
            text = file.read_text("utf-8")
            assert "InvalidVersion" not in text, f"{file}: use parse_version"
            assert "isdecimal() and int(" not in text, f"{file}: use parse_number"


LEVELS: tuple[tuple[str, ...], ...] = (
    (
        *("record", "clock", "companions", "regular_files", "versions", "shell", "stores"),
        *("wheel_index", "exit_codes", "errors", "formats", "controls", "redaction", "watchdog"),
    ),
    ("facts",),
    ("knowledge",),
    ("findings", "events", "options"),
    ("loader", "fits", "withheld_gpus"),
    ("plugins", "probes", "calibration", "collective", "scope"),
    ("gpus", "prescribe", "repair"),
    ("importers",),
    ("outcomes", "engine", "symptoms", "conclusion", "policy"),
    ("derived",),
    ("plugin_loading",),
    ("report", "diagnose", "pages", "rules"),
    ("compare",),
    ("schema",),
    ("render", "find_target", "collect", "project_lines"),
    ("output",),
    ("session",),
    ("comparing",),
    ("program",),
    ("pytest_plugin",),
    ("tui", "agents"),
    ("commands",),
    ("cli", "__main__"),
)
"""The parts of the program from the ground floor upwards: each knows its own level and those
below. `api` is no part of it: it shows plugins what there is."""


def part_of(module: str) -> str:
    """The part of the program that a module belongs to: `facts` for `envdoctor.facts.base`."""
    return module.split(".")[1] if "." in module else ""


def arrows() -> set[tuple[str, str]]:
    """Which part imports which."""
    found = set()
    for file in files(PACKAGE):
        part = relative(file).removesuffix(".py").split("/")[0]
        for name in imports_of(file):
            other = part_of(name) if name.startswith("envdoctor.") else ""
            if (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").is_file():
                found.add((part, other))
    return {(part, other) for part, other in found if other not in ("", part)}


def test_arrows_point_down() -> None:
    level = {part: number for number, parts in enumerate(LEVELS) for part in parts}
    known = {(part, other) for part, other in arrows() if part not in ("api", "__init__")}
    upwards = {(part, other) for part, other in known if level[part] < level[other]}
    assert not upwards


def test_comparing_two_snapshots_looks_at_nothing_else() -> None:
    """It is pure: no probe, no command, and no question to the machine that it runs on."""
    of_the_machine = ("subprocess", "pathlib", "shutil")
    forbidden = ("envdoctor.probes", "envdoctor.commands", "envdoctor.session", *of_the_machine)
    for file in files(PACKAGE / "compare"):
        found = [name for name in imports_of(file) if name.startswith(forbidden)]
        assert not found, f"{file} imports {found}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = getattr(node, "attr", None) or getattr(node, "id", None)
            assert name not in TOUCHES_THE_MACHINE, f"{file} uses {name}"


def test_nothing_of_the_program_is_written_against_the_api() -> None:
    """It is for plugins; the program itself names where a thing is from."""
    assert not {part for part, other in arrows() if other == "api"}


def test_facts_stand_on_nothing() -> None:
    ground = {"facts", "record", "clock", "regular_files", "errors", "controls", "__init__"}
    assert {other for part, other in arrows() if part == "facts"} <= ground


def test_checks_know_no_commands_and_run_nothing() -> None:
    forbidden = ("envdoctor.commands", "envdoctor.probes", "envdoctor.collect", "subprocess")
    for file in files(CHECKS):
        if file.name == "__init__.py":
            continue
        found = [name for name in imports_of(file) if name.startswith(forbidden)]
        assert not found, f"{file} imports {found}"


def test_the_built_in_checks_import_the_api_and_nothing_else_of_envdoctor() -> None:
    for file in files(CHECKS):
        names = (name for name in imports_of(file) if name.partition(".")[0] == "envdoctor")
        others = [name for name in names if not name.startswith("envdoctor.api")]
        assert not others, f"{file} imports {others}"


def test_the_api_has_what_it_says_it_has() -> None:
    from envdoctor import api

    assert not [name for name in api.__all__ if not hasattr(api, name)]


def test_the_api_is_cheap_until_what_is_heavy_is_asked_for() -> None:
    heavy = {"envdoctor.knowledge", "envdoctor.prescribe", "envdoctor.repair", "packaging"}
    assert not modules_after("import envdoctor.api") & heavy
    asked = modules_after("from envdoctor.api import Knowledge")
    assert "envdoctor.knowledge" in asked
    assert "envdoctor.repair" not in asked


SYSTEM_COMMANDS = ("first_use", "placement", "sharing", "slowdown")
"""Topics whose commands are those of the system (numactl, ps, nvidia-smi): numbers in them only."""


def test_no_check_puts_a_command_together() -> None:
    for file in files(CHECKS):
        if file.stem in SYSTEM_COMMANDS:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            commands = next(
                (one.value for one in getattr(node, "keywords", ()) if one.arg == "commands"), None
            )
            assert not (commands and _is_made_up(commands)), (
                f"{file}:{node.lineno} puts a command together"
            )


def _is_made_up(node: ast.AST) -> bool:
    """Whether text is filled in or joined without `command`, which quotes it."""
    if isinstance(node, ast.Call):
        return not (isinstance(node.func, ast.Name) and node.func.id == "command")
    if isinstance(node, ast.JoinedStr | ast.BinOp):
        return True
    return any(map(_is_made_up, ast.iter_child_nodes(node)))


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


def test_facts_are_collected_where_textual_is_not_installed(tmp_path: Path) -> None:
    """The package keeps it as a dependency; a collector on a cluster's node need not have it."""
    without = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('textual', 'rich'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "sys.argv = ['envdoctor', 'collect', '--static', '-o', sys.argv[1]]\n"
        "from envdoctor.__main__ import main\n"
        "main()\n"
    )
    written = tmp_path / "facts.json"
    done = subprocess.run(
        [sys.executable, "-c", without, str(written)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '"TorchBuild"' in written.read_text()


def test_no_probe_reaches_for_the_process_that_it_runs_in() -> None:
    """Root, variables and folder come with the Context; only that module asks the process, and
    the one that passes the variables on to children."""
    of_the_process = {"environ", "getenv", "getcwd", "cwd", "chdir"}
    for file in sorted((PACKAGE / "probes").glob("*.py")):
        if file.name in ("context.py", "run.py"):
            continue
        text = file.read_text(encoding="utf-8")
        assert 'Path("/")' not in text, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in ("os", "Path"):
                assert node.attr not in of_the_process, f"{file} uses {node.attr}"


def test_what_starts_the_targets_child_loads_nothing_of_the_doctor_behind_it() -> None:
    loaded = modules_after("import envdoctor.commands.check, envdoctor.find_target")
    assert not loaded & {
        "dataclasses",
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
        "psutil",
        "pynvml",
    }
