"""What one folder of the module path brings: one finding about it, with what was tried."""

import os
import subprocess
from pathlib import Path

import pytest
from envdoctor_checks.module_path import entries_of
from msgspec.structs import replace

from envdoctor.facts.libraries import LibraryResolution, ResolvedLibrary
from envdoctor.facts.machine import Environment
from envdoctor.facts.python import Distributions, PathLine
from envdoctor.facts.torch import (
    CompanionImport,
    CompanionImports,
    Frame,
    ImportTrial,
    ImportTrials,
    LoadedLibraries,
    TorchBuild,
    TorchImport,
    TorchRuntime,
)
from envdoctor.probes.target.interpreter import path_lines
from tests.repair.facts import (
    CWD,
    OWN,
    PREFIX,
    REQUIRED,
    TORCH,
    USER_SITE,
    WORKS,
    diagnosed,
    distribution,
    findings,
    interpreter,
    roots,
)
from tests.support.doctor import report_of
from tests.support.patients import empty_patient, fake_torch

OTHER = "/opt/conda/lib/python3.11/site-packages"
PATH = Environment(variables={"PYTHONPATH": OTHER})


def failed(message: str = "", *files: str, isolated: str = "ok") -> TorchImport:
    return TorchImport(
        outcome="exception",
        seconds=1.0,
        exception="ImportError",
        message=message,
        frames=tuple(Frame(file=file, line=1, function="f") for file in files),
        isolated_outcome=isolated,
    )


def tried(change: str, variable: str = "", value: str = "", outcome: str = "ok") -> ImportTrials:
    trial = ImportTrial(change=change, variable=variable, value=value, outcome=outcome)  # type: ignore[arg-type]
    return ImportTrials(items=(trial,))


def test_nothing_is_said_of_a_machine_that_works() -> None:
    assert not findings()


# --- duplicates ---


def test_what_one_entry_brings_again_is_one_finding_about_that_entry() -> None:
    names = [f"package-{number}" for number in range(15)]
    own = [distribution(name, "1.0") for name in names]
    again = [distribution(name, "2.0", OTHER) for name in names]
    sympy = distribution("sympy", "1.12", OTHER)
    items = (sympy, *again, TORCH, *REQUIRED, *own)
    found = findings(Distributions(items=items), interpreter(OTHER), PATH)
    duplicate = found.pop(f"ED101:{OTHER}")
    assert duplicate.subjects == (OTHER,)
    assert duplicate.message == (
        "PYTHONPATH brings 16 installed distributions again: sympy 1.12 in "
        f"`{OTHER}`, in place of 1.13.1 in `{OWN}`"
    )
    assert duplicate.fixes[0].commands == ("unset PYTHONPATH",)
    assert not [one for one in found.values() if one.code == "ED101"]


def test_other_entries_of_the_variable_stay() -> None:
    items = (distribution("sympy", "1.12", OTHER), TORCH, *REQUIRED)
    variables = Environment(variables={"PYTHONPATH": f"/mine:{OTHER}"})
    found = findings(Distributions(items=items), interpreter("/mine", OTHER), variables)
    assert found[f"ED101:{OTHER}"].fixes[0].commands == ("export PYTHONPATH=/mine",)


def test_packages_above_those_of_the_base_are_layers() -> None:
    base = "/opt/python/lib/python3.11/site-packages"
    items = (TORCH, *REQUIRED, distribution("sympy", "1.11", base))
    assert not findings(Distributions(items=items), interpreter(after=(base,)))


def test_a_folder_that_alone_holds_torch_is_meant_to_lie_above() -> None:
    """`pip install --target`, put on PYTHONPATH."""
    folder = "/srv/target"
    items = (
        distribution("torch", "2.6.0+cpu", folder),
        distribution("sympy", "1.13.1", folder),
        distribution("sympy", "1.11"),
    )
    build = TorchBuild(
        version="2.6.0+cpu",
        cuda=None,
        hip=None,
        path=f"{folder}/torch",
        variant="cpu",
        version_source="version.py",
    )
    imported = TorchImport(
        outcome="ok", seconds=1.0, file=f"{folder}/torch/__init__.py", version="2.6.0+cpu"
    )
    variables = Environment(variables={"PYTHONPATH": folder})
    assert not findings(Distributions(items=items), interpreter(folder), variables, build, imported)


def test_pythonpath_that_names_them_by_another_name_is_harmless() -> None:
    """`lib64` is a link to `lib` in a virtual environment."""
    again = f"{PREFIX}/lib64/python3.11/site-packages"
    seen = replace(interpreter(again), aliases=(again,))
    imported = replace(WORKS, file=f"{again}/torch/__init__.py")
    path = Environment(variables={"PYTHONPATH": again})
    assert not roots(seen, imported, path)
    assert roots(replace(seen, aliases=()), imported, path)


def test_pythonpath_that_names_the_environments_own_packages_is_harmless() -> None:
    assert not findings(interpreter(OWN), Environment(variables={"PYTHONPATH": OWN}))


def test_two_lists_of_files_in_one_folder_are_a_duplicate_of_that_package() -> None:
    items = (TORCH, *REQUIRED, distribution("numpy", "1.26.4"), distribution("numpy", "2.1.0"))
    found = findings(Distributions(items=items))
    assert found["ED101:numpy"].message.startswith("numpy is installed 2 times: 1.26.4 in ")
    assert "pip uninstall -y numpy" in found["ED101:numpy"].fixes[0].commands[0]


def test_of_two_lists_the_one_that_the_files_are_not_of_is_left_over() -> None:
    items = (TORCH, *REQUIRED, distribution("torch", "2.4.1"))
    fix = findings(Distributions(items=items))["ED101:torch"].fixes[0]
    assert fix.commands == (f"rm -r -- {OWN}/torch-2.4.1.dist-info",)


def test_what_numpy_says_of_itself_and_a_list_that_is_gone_tell_it_too() -> None:
    both = (distribution("numpy", "1.26.4"), distribution("numpy", "2.1.0"))
    runtime = TorchRuntime(
        version="2.6.0+cpu",
        cuda=None,
        hip=None,
        cuda_available=False,
        device_count=0,
        numpy_version="2.1.0",
    )
    fix = findings(Distributions(items=(TORCH, *REQUIRED, *both)), runtime)["ED101:numpy"].fixes[0]
    assert fix.commands == (f"rm -r -- {OWN}/numpy-1.26.4.dist-info",)
    assert "those of numpy 2.1.0" in fix.summary
    cut = (replace(both[0], has_record=False), both[1])
    fix = findings(Distributions(items=(TORCH, *REQUIRED, *cut)))["ED101:numpy"].fixes[0]
    assert fix.commands == (f"rm -r -- {OWN}/numpy-1.26.4.dist-info",)


@pytest.mark.parametrize("text", ["../../../old", "import sys; sys.path.insert(0, '{old}')"])
def test_the_line_of_a_path_file_that_brings_a_module_is_named(text: str) -> None:
    old = f"{PREFIX}/old"
    line = PathLine(file=f"{OWN}/x.pth", number=2, text=text.format(old=old))
    other = PathLine(file=f"{OWN}/y.pth", number=1, text="import y")
    facts = (
        replace(interpreter(old), path_lines=(line, other)),
        TorchImport(outcome="ok", seconds=1.0, file=f"{old}/torch/__init__.py", version="2.4.1"),
    )
    finding = findings(*facts)[f"ED105:{old}"]
    assert "(a .pth file)" in finding.message
    assert finding.fixes[0].commands == (f"sed -i 2d {OWN}/x.pth",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import sys; sys.path.append('/opt/ab')", False),
        ("import sys; sys.path.append('/srv/opt/a')", False),
        ("import sys; sys.path.append('/opt/a/more')", False),
        ("import sys; sys.path.append('/opt/a')", True),
        ("import sys; sys.path.append('/opt/a/')", True),
    ],
)
def test_a_line_of_a_path_file_names_a_folder_as_a_whole(text: str, named: bool) -> None:
    """What is named is deleted."""
    line = PathLine(file=f"{OWN}/x.pth", number=1, text=text)
    (entry,) = entries_of(replace(interpreter(), sys_path=("/opt/a",), path_lines=(line,)), None)
    assert bool(entry.lines) is named


def test_a_line_is_told_once_where_a_folder_is_a_link_to_another(tmp_path: Path) -> None:
    """lib64 of a venv on Fedora; of the same line twice, `sed -i 2d` deletes the next one too."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "lib" / "a.pth").write_bytes(b"/one\x0c/still one\n/two\n")
    lines = [*path_lines([str(tmp_path / "lib"), str(tmp_path / "lib64"), ""])]
    assert [(one["number"], os.path.basename(os.path.dirname(one["file"]))) for one in lines] == [
        (1, "lib"),
        (2, "lib"),
    ]


# --- a torch of another environment ---


def _of_another(path: str, entry: str = OTHER) -> tuple[TorchBuild, TorchImport, Distributions]:
    build = TorchBuild(
        version="2.4.1",
        cuda=None,
        hip=None,
        path=f"{entry}/torch",
        variant="cpu",
        version_source="version.py",
    )
    imported = TorchImport(outcome="ok", seconds=1.0, file=path, version="2.4.1+cpu")
    items = (distribution("torch", "2.4.1", entry), TORCH, *REQUIRED)
    return build, imported, Distributions(items=items)


def test_a_pythonpath_that_brings_another_environments_torch_is_the_root_cause() -> None:
    build, imported, installed = _of_another(f"{OTHER}/torch/__init__.py")
    library = ResolvedLibrary(soname="libc10.so", path=f"{OWN}/torch/lib/libc10.so", mapped=True)
    resolution = LibraryResolution(root="/x", libraries=(library,))
    loaded = LoadedLibraries(paths=(f"{OTHER}/torch/lib/libc10.so",))
    facts = (build, imported, installed, interpreter(OTHER), PATH, resolution, loaded)
    report = diagnosed(*facts)
    first = report.findings[0]
    assert (first.code, first.subjects, first.because) == ("ED105", (OTHER,), None)
    assert first.message == (
        f"`torch` is imported from `{OTHER}/torch/__init__.py` (PYTHONPATH), not from `{OWN}`"
    )
    assert first.fixes[0].commands == ("unset PYTHONPATH",)
    below = {one.code: one.because for one in report.findings[1:]}
    assert below == {"ED101": first.id, "ED349": first.id}


def test_a_path_file_that_brings_another_environments_torch() -> None:
    build, imported, installed = _of_another(f"{OTHER}/torch/__init__.py")
    (first,) = roots(build, imported, installed, interpreter(OTHER))
    assert "(a .pth file or a sitecustomize.py)" in first.message
    (find,) = first.fixes[0].commands
    assert find.startswith(f"find {OWN} ")
    assert find.endswith(f"grep -lF -- {OTHER} {{}} +")


def test_a_torch_of_the_user_alone_is_fine() -> None:
    alone = TorchImport(
        outcome="ok", seconds=1.0, file=f"{USER_SITE}/torch/__init__.py", version="2.6.0+cpu"
    )
    build = TorchBuild(
        version="2.6.0+cpu",
        cuda=None,
        hip=None,
        path=f"{USER_SITE}/torch",
        variant="cpu",
        version_source="version.py",
    )
    items = (distribution("torch", "2.6.0+cpu", USER_SITE), *REQUIRED)
    assert not roots(alone, build, Distributions(items=items))


def test_a_torch_of_the_user_hides_that_of_the_environment() -> None:
    build, imported, installed = _of_another(f"{USER_SITE}/torch/__init__.py", USER_SITE)
    vision = distribution("torchvision", "0.21.0", OWN, "torch==2.6.0")
    items = Distributions(items=(*installed.items, vision))
    report = diagnosed(build, imported, items, interpreter(USER_SITE, user=True))
    first = report.findings[0]
    assert first.code == "ED105"
    assert "the user's own site-packages" in first.message
    assert first.fixes[0].commands == ("export PYTHONNOUSERSITE=1",)
    others = [one.code for one in report.findings if one.code.startswith("ED37")]
    assert not others, "torchvision fits the torch that lies beside it"


# --- imports that fail ---


def test_the_culprit_is_the_entry_and_not_a_file_of_the_good_copy() -> None:
    message = (
        "cannot import name 'TypeIs' from 'typing_extensions' (/root/shell/typing_extensions.py)"
    )
    imported = failed(message, f"{OWN}/torch/__init__.py", f"{OWN}/torch/_C/__init__.py")
    items = (distribution("typing-extensions", "4.5.0", "/root/shell"), TORCH, *REQUIRED)
    variables = Environment(variables={"PYTHONPATH": "/root/shell"})
    trials = tried("unset", "PYTHONPATH")
    (first,) = roots(
        imported, Distributions(items=items), interpreter("/root/shell"), variables, trials
    )
    assert (first.code, first.subjects) == ("ED105", ("/root/shell",))
    assert "`typing_extensions` is imported from `/root/shell/typing_extensions.py`" in (
        first.message
    )
    (fix,) = first.fixes
    assert fix.commands == ("unset PYTHONPATH",)
    assert fix.proof == "`import torch` works without PYTHONPATH"


def test_a_failure_deep_in_the_standard_library_is_put_down_to_what_was_tried() -> None:
    """Nothing in the traceback names the entry; once it was `sys` imported from `sys.path`."""
    imported = failed("no luck", "/opt/python/lib/python3.11/re/__init__.py")
    for trials, fix in (
        (tried("unset", "PYTHONPATH"), "unset PYTHONPATH"),
        (tried("set", "PYTHONNOUSERSITE", "1"), "export PYTHONNOUSERSITE=1"),
        (tried("folder"), "cd"),
    ):
        facts = (imported, interpreter(OTHER, USER_SITE, user=True), PATH, trials)
        first = roots(*facts)[0]
        assert first.code == "ED105"
        assert "something that torch needs is imported from" in first.message
        assert first.fixes[0].commands == (fix,)
        assert first.fixes[0].proof


def test_what_none_of_the_trials_cured_is_not_put_down_to_the_path() -> None:
    """PYTHONWARNINGS=error, say: `-I` leaves it out as well."""
    imported = failed("no luck", "/opt/python/lib/python3.11/warnings.py")
    trials = tried("unset", "PYTHONPATH", outcome="exception")
    assert [one.code for one in roots(imported, interpreter(OTHER), PATH, trials)] == ["ED401"]


def test_an_import_that_fails_isolated_as_well_is_not_put_down_to_the_path() -> None:
    imported = failed("no luck", f"{OTHER}/numpy/__init__.py", isolated="exception")
    assert [one.code for one in roots(imported, interpreter(OTHER), PATH)] == ["ED401"]


def test_modules_of_the_standard_library_in_one_folder_are_one_finding() -> None:
    names = ("json", "random", "email")
    shadowed = tuple(f"{name} ({CWD}/{name}.py)" for name in names)
    imported = TorchImport(
        outcome="exception",
        seconds=1.0,
        exception="RuntimeError",
        message="mine",
        shadowed=shadowed,
        isolated_outcome="ok",
    )
    (first,) = roots(imported, tried("folder"))
    assert first.message.startswith(f"`json` and 2 more modules are imported from `{CWD}/json.py`")
    assert first.subjects == (CWD,)
    rename, leave = first.fixes
    assert rename.commands == (f"mv -n -- {CWD}/json.py {CWD}/my_json.py",)
    assert leave.proof == "`import torch` works from another folder"


def test_the_checkout_of_torch_is_left_and_not_renamed() -> None:
    imported = failed("no module named torch._C", f"{CWD}/torch/__init__.py")
    (first,) = roots(imported, tried("folder"))
    assert first.code == "ED105"
    assert [fix.commands for fix in first.fixes] == [("cd",)]


def test_files_of_torch_keep_their_names() -> None:
    """Started in site-packages/torch, whose types.py hides Python's: it is left, not renamed."""
    here = replace(interpreter(), cwd=f"{OWN}/torch")
    message = f"cannot import name 'GenericAlias' from 'types' ({OWN}/torch/types.py)"
    (first,) = roots(here, failed(message))
    assert first.code == "ED105"
    assert [fix.commands for fix in first.fixes] == [("cd",)]


def test_a_checkout_that_a_hook_finds_is_no_shadow() -> None:
    """`pip install -e` of torchvision somewhere below the folder that one stands in."""
    checkout = f"{CWD}/src/vision/torchvision"
    message = "operator torchvision::nms does not exist"
    files = (f"{checkout}/__init__.py", f"{checkout}/_meta_registrations.py")
    vision = CompanionImport(
        name="torchvision",
        outcome="exception",
        exception="RuntimeError",
        message=message,
        frames=tuple(Frame(file=file, line=1, function="f") for file in files),
    )
    item = replace(distribution("torchvision", "0.21.0a0+7af6987"), editable=True)
    items = Distributions(items=(TORCH, *REQUIRED, item))
    (first,) = roots(CompanionImports(items=(vision,)), items)
    assert first.code == "ED409"
    assert "build torchvision again in the checkout" in first.fixes[0].summary


def test_a_companion_that_fails_because_of_an_entry_is_put_down_to_it() -> None:
    """PYTHONPATH brings the numpy of another Python; torch itself imports."""
    ros = "/opt/ros/lib/python3.10/site-packages"
    companion = CompanionImport(
        name="torchvision",
        outcome="exception",
        exception="ImportError",
        message="numpy.core.multiarray failed to import",
        frames=(
            Frame(file=f"{OWN}/torchvision/io/video.py", line=1, function="f"),
            Frame(file=f"{ros}/numpy/core/__init__.py", line=1, function="f"),
        ),
    )
    items = (
        distribution("numpy", "1.21.6", ros),
        TORCH,
        *REQUIRED,
        distribution("numpy", "2.2.6"),
    )
    report = diagnosed(
        WORKS,
        CompanionImports(items=(companion,)),
        Distributions(items=items),
        interpreter(ros),
        Environment(variables={"PYTHONPATH": ros}),
    )
    first = report.findings[0]
    assert (first.code, first.breaks) == ("ED105", ("import:torchvision",))
    assert first.message.startswith(f"`numpy` is imported from `{ros}/numpy` (PYTHONPATH)")
    assert first.fixes[0].commands == ("unset PYTHONPATH",)
    errors = [one for one in report.findings if one.severity.value == "error"]
    assert [one.because for one in errors] == [None, first.id]


def test_an_egg_that_its_path_file_puts_in_front_goes_with_its_line(tmp_path: Path) -> None:
    """What easy_install wrote: `python -I` reads it as well."""
    patient = empty_patient(tmp_path / "env")
    fake_torch(patient, "")
    egg = patient.site_packages / "torch-1.13.1-py3.egg"
    (egg / "torch").mkdir(parents=True)
    (egg / "torch/__init__.py").write_text("from torch._six import inf\n")
    (patient.site_packages / "easy-install.pth").write_text(
        "import sys; sys.__plen = len(sys.path)\n"
        f"./{egg.name}\n"
        "import sys; new = sys.path[sys.__plen:]; del sys.path[sys.__plen:]; sys.path[0:0] = new\n"
    )
    first = report_of("--python", patient.root)["findings"][0]
    assert (first["code"], first["subjects"]) == ("ED105", [str(egg)])
    (line,) = first["fixes"][0]["commands"]
    subprocess.run(["sh", "-c", line], check=True)
    again = report_of("--python", patient.root)
    assert again["facts"]["TorchImport"]["value"]["outcome"] == "ok"
