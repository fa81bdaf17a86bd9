"""Files that are not those of their distribution: what they break, and what does not matter."""

import pytest

from envdoctor.facts.libraries import LibraryResolution, Owner, Problem, ResolvedLibrary
from envdoctor.facts.python import (
    DamagedDistribution,
    DamagedFile,
    Distribution,
    Distributions,
    InstalledFiles,
)
from envdoctor.facts.torch import (
    CompanionImport,
    CompanionImports,
    Frame,
    LoadedLibraries,
    TorchBuild,
    TorchImport,
)
from envdoctor.findings import Finding, Severity
from tests.repair.facts import OWN, REQUIRED, TORCH, diagnosed, distribution, findings, roots, unrun

FAILS = TorchImport(
    outcome="exception", seconds=1.0, exception="ImportError", message="no luck", frames=()
)


def damaged(
    name: str, *files: DamagedFile, version: str = "2.6.0+cpu", location: str = OWN
) -> InstalledFiles:
    item = distribution(name, version, location)
    return InstalledFiles(
        damaged=(
            DamagedDistribution(
                name=name,
                version=version,
                metadata_path=item.metadata_path,
                files=files,
                damaged_count=len(files),
            ),
        ),
        checked_files=1000,
    )


def missing(path: str, expected: str = "100") -> DamagedFile:
    return DamagedFile(path=path, kind="missing", expected=expected)


def resized(path: str, actual: int = 50) -> DamagedFile:
    return DamagedFile(path=path, kind="size", expected="100", actual=str(actual))


def library(path: str, when: str, *problems: Problem) -> ResolvedLibrary:
    name = path.rpartition("/")[2]
    return ResolvedLibrary(
        soname=name,
        path=None if problems and problems[0].kind == "missing" else f"{OWN}/{path}",
        when=when,  # type: ignore[arg-type]
        owner=Owner(kind="wheel", name="x", version="1"),
        problems=problems,
    )


def resolution(*libraries: ResolvedLibrary, error: str | None = None) -> LibraryResolution:
    return LibraryResolution(root="/x", libraries=libraries, import_error=error)


def the_damage(*facts: object, name: str = "torch") -> Finding:
    found = findings(*facts)  # type: ignore[arg-type]
    return found[f"ED100:{name}"]


def install(*more: Distribution) -> Distributions:
    return Distributions(items=(TORCH, *REQUIRED, *more))


# --- what is broken ---


def test_a_missing_module_of_torch_breaks_its_import() -> None:
    found = the_damage(damaged("torch", missing("torch/functional.py")), FAILS)
    assert (found.severity, found.breaks) == (Severity.ERROR, ("import:torch",))
    assert "torch/functional.py" in found.message


def test_torch_testing_is_code_and_a_folder_of_tests_is_not() -> None:
    """B11: `import torch.testing` is part of what torch's users import."""
    found = the_damage(damaged("torch", missing("torch/testing/__init__.py")), FAILS)
    assert found.severity is Severity.ERROR
    for path in ("torch/test/x.py", "sympy/core/tests/x.py", "torch/utils/examples/x.py"):
        found = the_damage(damaged("torch", missing(path)), FAILS)
        assert (found.severity, found.breaks) == (Severity.INFO, ())


def test_a_module_that_is_gone_while_torch_imports_is_a_warning() -> None:
    found = the_damage(damaged("torch", missing("torch/onnx/utils.py")))
    assert found.severity is Severity.WARNING
    changed = the_damage(damaged("torch", resized("torch/onnx/utils.py", 140)))
    assert changed.severity is Severity.INFO, "somebody patched it"
    cut = the_damage(damaged("torch", resized("torch/onnx/utils.py", 40)))
    assert cut.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("when", "breaks"), [("import", ("import:torch",)), ("use", ("compute:gpu",))]
)
def test_a_missing_library_breaks_what_it_is_opened_for(when: str, breaks: tuple[str, ...]) -> None:
    path = "nvidia/cudnn/lib/libcudnn_ops.so.9"
    problem = Problem(kind="missing", library="libcudnn_ops.so.9", needed_by="libcudnn.so.9")
    found = the_damage(
        damaged("nvidia-cudnn-cu12", missing(path), version="9.1.0.70"),
        install(distribution("nvidia-cudnn-cu12", "9.1.0.70")),
        resolution(library(path, when, problem), error="no" if when == "import" else None),
        FAILS,
        name="nvidia-cudnn-cu12",
    )
    assert found.breaks == breaks
    assert found.fixes[0].commands[0].endswith("--no-deps nvidia-cudnn-cu12==9.1.0.70")


@pytest.mark.parametrize(
    ("name", "path", "breaks"),
    [
        ("triton", "triton/_C/libtriton.so", ("compile",)),
        ("torchvision", "torchvision/_C.so", ("import:torchvision",)),
        ("numpy", "numpy/_core/_multiarray_umath.so", ("import:numpy",)),
        ("sympy", "sympy/__init__.py", ("import:torch",)),
    ],
)
def test_damage_elsewhere_breaks_what_rests_on_it(
    name: str, path: str, breaks: tuple[str, ...]
) -> None:
    facts = (damaged(name, missing(path), version="1.13.1"), FAILS)
    more = () if name == "sympy" else (distribution(name, "1.13.1"),)
    assert the_damage(*facts, install(*more), name=name).breaks == breaks


def test_a_damaged_triton_is_not_the_cause_of_an_import_that_fails() -> None:
    """B10"""
    facts = damaged("triton", missing("triton/_C/libtriton.so"), version="3.2.0")
    report = diagnosed(facts, install(distribution("triton", "3.2.0")), FAILS)
    symptom = next(one for one in report.findings if one.code == "ED401")
    assert symptom.because is None


def test_a_library_that_is_cut_is_an_error_before_anything_is_run() -> None:
    path = "torch/lib/libtorch_cpu.so"
    problem = Problem(kind="unreadable", library=f"{OWN}/{path}", needed_by="x")
    facts = (damaged("torch", resized(path)), resolution(library(path, "import", problem)))
    assert the_damage(*facts, FAILS).severity is Severity.ERROR


# --- what does not matter ---


def test_a_stripped_library_that_is_loaded_is_worth_a_word() -> None:
    path = "torch/lib/libc10.so"
    found = the_damage(damaged("torch", resized(path)), LoadedLibraries(paths=(f"{OWN}/{path}",)))
    assert (found.severity, found.breaks) == (Severity.INFO, ())


def test_a_stripped_library_that_is_a_whole_one_is_worth_a_word() -> None:
    path = "torch/lib/libc10.so"
    found = the_damage(damaged("torch", resized(path)), resolution(library(path, "import")))
    assert found.severity is Severity.INFO


def test_a_library_of_the_first_use_of_a_gpu_is_for_that() -> None:
    """Nothing that was loaded names libtorch_cuda_linalg: torch opens it when it is needed."""
    cut = damaged("torch", resized("torch/lib/libtorch_cuda_linalg.so"))
    found = the_damage(cut, resolution(library("torch/lib/libc10.so", "import")))
    assert found.breaks == ("compute:gpu",)


def test_a_module_that_was_edited_is_no_damage_before_anything_is_run() -> None:
    """Git turned the ends of lines of 71 files of a torch that works; one that is cut does not."""
    edited = the_damage_of_a_first_module(actual=120)
    assert edited is Severity.INFO
    assert the_damage_of_a_first_module(actual=50) is Severity.ERROR


def the_damage_of_a_first_module(actual: int) -> Severity:
    facts = (install(), damaged("torch", resized("torch/__init__.py", actual)))
    (found,) = (one for one in unrun(*facts) if one.code == "ED100")
    return found.severity


def test_a_library_that_torchvision_opens_late_is_missed_later() -> None:
    """It decodes no images without, and says so as it is imported at most."""
    lost = damaged("torchvision", missing("torchvision.libs/libjpeg.1c1c.so.8"), version="0.21.0")
    vision = install(distribution("torchvision", "0.21.0"))
    works = CompanionImports(items=(CompanionImport(name="torchvision", outcome="ok"),))
    found = the_damage(lost, vision, works, name="torchvision")
    assert found.severity is Severity.WARNING
    assert found.fixes[0].commands[0].endswith("torchvision==0.21.0")


def test_a_library_without_which_torchvision_fails_is_the_cause_of_that() -> None:
    lost = damaged("torchvision", missing("torchvision/_C.so"), version="0.21.0")
    said = "operator torchvision::nms does not exist"
    fails = CompanionImport(name="torchvision", outcome="exception", message=said)
    vision = install(distribution("torchvision", "0.21.0"))
    (root,) = roots(lost, vision, CompanionImports(items=(fails,)))
    assert (root.code, root.breaks) == ("ED100", ("import:torchvision",))


def test_a_folder_of_another_release_is_the_cause_of_what_fails_with_it() -> None:
    """torch/ was copied from an environment with torch 2.4: torchvision is the right one."""
    files = tuple(resized(f"torch/{name}.py", 900) for name in ("functional", "hub"))
    vision = distribution("torchvision", "0.21.0", OWN, "torch==2.6.0")
    other = TorchBuild(
        version="2.4.1+cpu",
        cuda=None,
        hip=None,
        path=f"{OWN}/torch",
        variant="cpu",
        version_source="x",
    )
    fails = CompanionImport(name="torchvision", outcome="exception", message="operator")
    facts = (damaged("torch", *files), install(vision), other, CompanionImports(items=(fails,)))
    (root,) = (one for one in roots(*facts))
    assert (root.code, root.severity) == ("ED100", Severity.ERROR)
    assert root.breaks == ("import:torchvision",)
    assert "torch==2.6.0+cpu" in root.fixes[0].commands[0]


def test_what_another_distribution_put_into_a_folder_is_told_of_both() -> None:
    """PyPI's functorch over the folder that torch brings: uninstalled first, or it comes back."""
    files = (resized("functorch/__init__.py", 30), missing("functorch/compile/__init__.py"))
    facts = (damaged("torch", *files), install(distribution("functorch", "0.2.1")))
    (root,) = roots(*facts)
    assert (root.code, root.subjects) == ("ED108", ("functorch", "torch"))
    out, back = root.fixes[0].commands
    assert out.endswith("pip uninstall -y functorch")
    assert "--force-reinstall --no-deps torch==2.6.0+cpu" in back
    (alone,) = roots(damaged("torch", *files))
    assert alone.code == "ED100"


def test_headers_are_for_building() -> None:
    found = the_damage(damaged("torch", missing("torch/include/ATen/ATen.h")))
    assert (found.severity, found.breaks) == (Severity.INFO, ())


@pytest.mark.parametrize(
    "file", [missing("cryptography/_openssl.abi3.so"), missing("cryptography/x.py")]
)
def test_what_torch_does_not_need_is_worth_a_word(file: DamagedFile) -> None:
    found = the_damage(
        damaged("cryptography", file, version="38.0.4"),
        install(distribution("cryptography", "38.0.4")),
        FAILS,
        name="cryptography",
    )
    assert (found.severity, found.breaks) == (Severity.INFO, ())


def test_what_debian_stripped_is_debians() -> None:
    location = "/usr/lib/python3/dist-packages"
    item = distribution("sympy", "1.11", location, installer="debian")
    facts = damaged("sympy", resized("sympy/x.so"), version="1.11", location=location)
    assert not findings(facts, Distributions(items=(TORCH, *REQUIRED, item)))


def test_an_empty_file_that_other_wheels_took_along_does_not_matter() -> None:
    """Without its empty `__init__.py`, nvidia/ is a namespace package."""
    names = [f"nvidia-{part}-cu12" for part in ("cublas", "nccl", "cufft")]
    items = [distribution(name, "12.4.1") for name in names]
    gone = missing("nvidia/__init__.py", "0")
    lists = InstalledFiles(
        damaged=tuple(damaged(name, gone, version="12.4.1").damaged[0] for name in names),
        checked_files=9,
    )
    (found,) = findings(lists, install(*items)).values()
    assert (found.severity, found.subjects) == (Severity.INFO, tuple(names))


def test_an_outdated_list_of_files_is_told_as_the_duplicate_that_it_is() -> None:
    items = install(distribution("numpy", "1.26.4"), distribution("numpy", "2.1.0"))
    facts = damaged("numpy", missing("numpy/core/x.so"), version="1.26.4")
    assert {one.code for one in findings(facts, items).values()} == {"ED101"}


# --- many at once ---


def test_wheels_that_share_a_folder_are_one_finding_with_one_command() -> None:
    names = [f"nvidia-{part}-cu12" for part in ("cublas", "nccl", "cufft")]
    items = [distribution(name, "12.4.1") for name in names]
    lists = InstalledFiles(
        damaged=tuple(
            damaged(name, missing(f"nvidia/x/lib/lib{name}.so"), version="12.4.1").damaged[0]
            for name in names
        ),
        checked_files=9,
    )
    found = findings(lists, install(*items), FAILS)
    damage = found["ED100:" + ",".join(names)]
    assert damage.severity is Severity.ERROR
    (fix,) = damage.fixes
    assert len(fix.commands) == 1
    assert all(f"{name}==12.4.1" in fix.commands[0] for name in names)


def test_a_link_in_place_of_a_shared_folder_is_named_and_removed_first() -> None:
    names = ("nvidia-cublas-cu12", "nvidia-nccl-cu12")
    wheels = tuple(distribution(name, "12.4.1") for name in names)
    damaged = tuple(
        DamagedDistribution(
            name=one.name,
            version=one.version,
            metadata_path=one.metadata_path,
            files=(
                DamagedFile(
                    path=f"nvidia/{one.name}/lib/lib.so.1", kind="missing", actual="nvidia -> /srl"
                ),
            ),
            damaged_count=1,
        )
        for one in wheels
    )
    torch = distribution("torch", "2.6.0", OWN, *(f"{name}==12.4.1" for name in names))
    failed = TorchImport(outcome="exception", seconds=1.0, exception="OSError", message="lib.so.1")
    found = findings(
        Distributions(items=(torch, *wheels)),
        InstalledFiles(damaged=damaged, checked_files=2),
        failed,
    )
    finding = next(one for one in found.values() if one.code == "ED100")
    assert "`nvidia` is a link that leads to `/srl`" in finding.message
    assert finding.fixes[0].commands[0] == f"rm {OWN}/nvidia"
    assert "--force-reinstall" in finding.fixes[0].commands[1]


def test_a_library_that_a_failed_import_names_is_its_cause() -> None:
    """Whoever brought it: pillow is none of torch's, and torchvision imports it."""
    name = "libtiff-20b7e810.so.6.3.0"
    failing = CompanionImport(
        name="torchvision",
        outcome="exception",
        message=f"{name}: cannot open shared object file: No such file or directory",
    )
    facts = (
        install(distribution("pillow", "13.0.0")),
        damaged("pillow", missing(f"pillow.libs/{name}"), version="13.0.0"),
    )
    assert the_damage(*facts, name="pillow").severity is Severity.INFO
    found = the_damage(*facts, CompanionImports(items=(failing,)), name="pillow")
    assert (found.severity, found.breaks) == (Severity.ERROR, ("import:torchvision",))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("torch/testing/_internal/common_utils.py", "No module named 'torch.testing._internal'"),
        ("torch/_C.cpython-311-x86_64-linux-gnu.so", "No module named 'torch._C'"),
        ("torch/bin/torch_shm_manager", f"Unable to find it at {OWN}/torch/bin/torch_shm_manager"),
    ],
)
def test_what_a_failed_import_names_is_its_cause(path: str, message: str) -> None:
    failing = CompanionImport(name="torchvision", outcome="exception", message=message)
    found = the_damage(
        install(), damaged("torch", missing(path)), CompanionImports(items=(failing,))
    )
    assert (found.severity, found.breaks) == (Severity.ERROR, ("import:torchvision",))


def test_a_cut_library_of_a_companion_that_was_killed() -> None:
    """The loader maps what is listed and is killed at the first page that is not there."""
    killed = CompanionImport(name="onnxruntime", outcome="signal", signal="SIGBUS")
    path = "onnxruntime/capi/onnxruntime_pybind11_state.so"
    for file, severity in ((resized(path), Severity.WARNING), (resized(path, 200), Severity.INFO)):
        found = the_damage(
            install(distribution("onnxruntime", "1.23.2")),
            damaged("onnxruntime", file, version="1.23.2"),
            CompanionImports(items=(killed,)),
            name="onnxruntime",
        )
        assert found.severity is severity


def test_what_torch_requires_for_builds_alone_is_worth_a_word() -> None:
    torch = distribution("torch", "2.6.0+cpu", OWN, "setuptools")
    items = Distributions(items=(torch, distribution("setuptools", "84.2.1")))
    lost = damaged("setuptools", missing("_distutils_hack/__init__.py"), version="84.2.1")
    found = the_damage(items, lost, name="setuptools")
    assert (found.severity, found.breaks) == (Severity.INFO, ())


def test_a_missing_module_of_another_package_is_not_blamed_for_a_killed_import() -> None:
    """`isympy.py`, a script that nothing imports, beside a libtorch that is cut."""
    torch = distribution("torch", "2.6.0+cpu", OWN, "sympy")
    items = Distributions(items=(torch, distribution("sympy", "1.14.0")))
    lost = damaged("sympy", missing("isympy.py"), version="1.14.0")
    killed = TorchImport(outcome="signal", signal="SIGBUS", seconds=1.0)
    assert the_damage(items, lost, killed, name="sympy").severity is Severity.WARNING


@pytest.mark.parametrize(
    ("file", "distribution_name", "message"),
    [
        ("numpy/__init__.py", "numpy", "module 'numpy' has no attribute 'ndarray'"),
        (
            "torch/_C.cpython-311-x86_64-linux-gnu.so",
            "torch",
            "cannot import name '_initExtension' from 'torch._C' (unknown location)",
        ),
        (
            "numpy/_core/_multi.cpython-311-x86_64-linux-gnu.so",
            "numpy",
            "cannot import name '_multi' from 'numpy._core' (/x/numpy/_core/__init__.py)",
        ),
    ],
)
def test_an_import_fails_for_a_module_whose_file_is_empty_or_gone(
    file: str, distribution_name: str, message: str
) -> None:
    failed = TorchImport(outcome="exception", seconds=1.0, exception="x", message=message)
    items = Distributions(items=(TORCH, *REQUIRED, distribution("numpy", "2.2.6")))
    change = missing(file) if file.endswith(".so") else resized(file, 0)
    found = the_damage(items, damaged(distribution_name, change), failed, name=distribution_name)
    assert (found.severity, found.breaks) == (Severity.ERROR, ("import:torch",))


def test_an_empty_init_of_torch_is_the_cause_of_all_that_fails() -> None:
    file = f"{OWN}/torch/__init__.py"
    empty = TorchImport(outcome="ok", seconds=0.1, file=file)
    text = f"cannot import name 'device' from 'torch' ({file})"
    beside = CompanionImport(name="torchvision", outcome="exception", seconds=1.0, message=text)
    files = damaged("torch", resized("torch/__init__.py", 0))
    found = the_damage(files, empty, CompanionImports(items=(beside,)), name="torch")
    assert found.breaks == ("import:torch", "import:torchvision")


def test_parts_of_another_release_that_torchvision_alone_comes_through() -> None:
    """As an upgrade that was broken off leaves: torch imports, and a name is not there."""
    beside = CompanionImport(
        name="torchvision",
        outcome="exception",
        exception="AttributeError",
        message="LOCAL_NN_MODULE",
        frames=(Frame(file=f"{OWN}/torch/_dynamo/__init__.py", line=3, function="<module>"),),
    )
    files = damaged("torch", resized("torch/_dynamo/__init__.py"))
    found = the_damage(files, CompanionImports(items=(beside,)), name="torch")
    assert (found.severity, found.breaks) == (Severity.ERROR, ("import:torchvision",))


# --- what one rule left out of several ---


def without(*lost: tuple[str, DamagedFile]) -> InstalledFiles:
    each = [damaged(name, file, version=VERSIONS[name]).damaged[0] for name, file in lost]
    return InstalledFiles(damaged=tuple(each), checked_files=1000)


VERSIONS = {"torch": "2.6.0+cpu", "numpy": "2.2.6"}
NUMPY = distribution("numpy", "2.2.6")


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        (("torch/lib/libc10.so", "numpy/lib/__init__.py"), "lib/"),
        (("torch/_C.so", "numpy/_core/_umath.so"), "*.so"),
    ],
)
def test_what_a_gitignore_left_out_is_one_finding(files: tuple[str, str], rule: str) -> None:
    lost = without(("torch", missing(files[0])), ("numpy", missing(files[1])))
    found = [one for one in diagnosed(install(NUMPY), lost, FAILS).findings if one.code == "ED100"]
    (finding,) = found
    assert finding.subjects == ("torch", "numpy")
    assert f"`{rule}`" in finding.notes[0]
    of_torch, of_numpy = finding.fixes[0].commands
    assert "torch==2.6.0+cpu --index-url https://download.pytorch.org/whl/cpu" in of_torch
    assert of_numpy.endswith("--no-deps numpy==2.2.6")


def test_damage_of_different_kinds_is_told_apart() -> None:
    lost = without(("torch", missing("torch/lib/libc10.so")), ("numpy", resized("numpy/x.py", 0)))
    found = [one for one in diagnosed(install(NUMPY), lost, FAILS).findings if one.code == "ED100"]
    assert len(found) == 2
