"""What torch and its domain libraries require: one finding, and the one command that heals it."""

from msgspec.structs import replace

from envdoctor.facts.libraries import LibraryResolution, ResolvedLibrary
from envdoctor.facts.machine import Expectation
from envdoctor.facts.python import Distributions, Installer, Target
from envdoctor.facts.torch import CompanionImport, CompanionImports, TorchImport
from envdoctor.findings import Severity
from tests.repair.facts import (
    OWN,
    PREFIX,
    REQUIRED,
    TORCH,
    distribution,
    findings,
    interpreter,
    roots,
    unrun,
)

WHEELS = tuple(f"nvidia-{part}-cu12" for part in ("cublas", "nccl", "cufft", "cudnn", "curand"))
CUDA_TORCH = distribution("torch", "2.6.0", OWN, *(f"{name}==12.4.1" for name in WHEELS))
WITHOUT_LIBRARIES = LibraryResolution(root="/x", libraries=(), import_error="libcudnn.so.9")


def failed(message: str) -> TorchImport:
    return TorchImport(outcome="exception", seconds=1.0, exception="ImportError", message=message)


def test_all_wheels_of_nvidia_that_are_gone_are_one_finding_with_one_command() -> None:
    imported = failed("libcudnn.so.9: cannot open shared object file")
    facts = (Distributions(items=(CUDA_TORCH,)), WITHOUT_LIBRARIES, imported)
    (first,) = roots(*facts)
    assert (first.code, first.subjects) == ("ED361", WHEELS)
    assert first.severity is Severity.ERROR
    assert "import:torch" in first.breaks
    (fix,) = first.fixes
    assert fix.commands == (f"{PREFIX}/bin/python -m pip install torch==2.6.0",)


def test_wheels_whose_libraries_are_found_elsewhere_are_worth_a_word() -> None:
    """`pip install --no-deps torch` beside a CUDA that is installed by itself."""
    names = ("libcudart.so.12", "libcublas.so.12", "libcudnn.so.9")
    found = [ResolvedLibrary(soname=one, path=f"/usr/local/cuda/lib64/{one}") for one in names]
    facts = (Distributions(items=(CUDA_TORCH,)), Expectation(device="gpu", evidence="test"))

    def severity() -> Severity:
        seen = findings(*facts, LibraryResolution(root="/x", libraries=tuple(found)))
        return next(one.severity for one in seen.values() if one.code == "ED361")

    assert severity() is Severity.INFO
    found[1] = ResolvedLibrary(soname="libcublas.so.12", path=None, when="use")
    assert severity() is Severity.WARNING


def test_a_wheel_of_another_release_is_the_cause_where_its_library_is_missed() -> None:
    """An older tensorflow put cuDNN 8 into the place of cuDNN 9."""
    torch = distribution("torch", "2.6.0", OWN, "nvidia-cudnn-cu12==9.1.0.70")
    older = distribution("nvidia-cudnn-cu12", "8.9.2.26")
    imported = failed("libcudnn.so.9: cannot open shared object file")
    (first,) = roots(Distributions(items=(torch, older)), WITHOUT_LIBRARIES, imported)
    assert (first.code, first.severity) == ("ED360", Severity.ERROR)
    assert first.fixes[0].commands[0].endswith("nvidia-cudnn-cu12==9.1.0.70")


def test_the_wheels_of_a_toolkit_are_brought_back_by_torch() -> None:
    """torch 2.15 asks for the extras of `cuda-toolkit`, which ask for the wheels."""
    extras = [f'{name}==13.2; extra == "all"' for name in WHEELS]
    toolkit = distribution("cuda-toolkit", "13.2.2", OWN, *extras)
    torch = distribution("torch", "2.15.0", OWN, "cuda-toolkit[all]==13.2.2")
    (first,) = roots(Distributions(items=(torch, toolkit)), WITHOUT_LIBRARIES, failed("no"))
    assert first.fixes[0].commands == (f"{PREFIX}/bin/python -m pip install torch==2.15.0",)


def test_a_project_of_uv_brings_them_back_by_its_lock() -> None:
    project = "/home/me/project"
    lock = Installer(name="uv", evidence=f"{project}/uv.lock")
    target = Target(path=f"{project}/.venv/bin/python", chosen_because="test", version="3.11.7")
    own = replace(interpreter(), prefix=f"{project}/.venv")
    location = f"{project}/.venv/lib/python3.11/site-packages"
    torch = distribution("torch", "2.6.0", location, *(f"{name}==12.4.1" for name in WHEELS))
    found = findings(Distributions(items=(torch,)), WITHOUT_LIBRARIES, lock, target, own)
    finding = next(one for one in found.values() if one.code == "ED361")
    assert finding.fixes[0].commands == (f"uv sync --project {project} --inexact",)


def test_a_missing_triton_breaks_compiling_and_no_more() -> None:
    torch = distribution("torch", "2.6.0", OWN, "triton==3.2.0")
    found = findings(Distributions(items=(torch,)), failed("anything"))["ED361:triton"]
    assert (found.severity, found.breaks) == (Severity.WARNING, ("compile",))


def test_a_missing_module_that_the_import_names_is_the_cause() -> None:
    """`pip install --no-deps torch`: one cause, one finding, and one command for all."""
    torch = distribution("torch", "2.6.0", OWN, "jinja2", "filelock", "typing-extensions>=4.10.0")
    facts = (Distributions(items=(torch,)), failed("No module named 'typing_extensions'"))
    (found,) = roots(*facts)
    assert (found.code, found.severity) == ("ED361", Severity.ERROR)
    assert found.subjects == ("typing-extensions", "jinja2", "filelock")
    assert found.breaks == ("import:torch",)
    assert "typing-extensions, like 2 more packages, is not installed" in found.message
    packages = "'typing-extensions>=4.10.0' jinja2 filelock"
    assert found.fixes[0].commands == (f"{PREFIX}/bin/python -m pip install {packages}",)


def test_an_old_version_that_the_import_names_is_the_cause() -> None:
    items = (TORCH, distribution("typing-extensions", "4.5.0"), distribution("sympy", "1.13.1"))
    message = "cannot import name 'TypeIs' from 'typing_extensions' (/x/typing_extensions.py)"
    (first,) = roots(Distributions(items=items), failed(message))
    assert (first.code, first.severity) == ("ED360", Severity.ERROR)
    assert "4.5.0 is installed, and torch 2.6.0+cpu requires >=4.10.0" in first.message


def test_another_version_with_which_torch_works_is_worth_a_word() -> None:
    items = (TORCH, distribution("typing-extensions", "4.12.2"), distribution("sympy", "1.13.3"))
    found = findings(Distributions(items=items))
    assert found["ED360:sympy"].severity is Severity.INFO


def test_build_tools_of_another_version_do_not_matter_before_anything_is_run() -> None:
    torch = distribution("torch", "2.13.0", OWN, "setuptools>=77.0.3", "sympy>=1.13.3")
    items = (torch, distribution("setuptools", "75.1.0"), distribution("sympy", "1.12"))
    found = {one.id: one.severity for one in unrun(Distributions(items=items))}
    assert found["ED360:setuptools"] is Severity.INFO
    assert found["ED360:sympy"] is Severity.WARNING


def test_what_a_domain_library_requires_breaks_that_library() -> None:
    vision = distribution("torchvision", "0.21.0", OWN, "numpy", "pillow>=5", "torch==2.6.0")
    torch = distribution("torch", "2.6.0")
    failing = CompanionImport(
        name="torchvision",
        outcome="exception",
        exception="ModuleNotFoundError",
        message="No module named 'numpy'",
    )
    found = findings(Distributions(items=(torch, vision)), CompanionImports(items=(failing,)))
    both = found["ED361:numpy,pillow"]
    assert (both.severity, both.breaks) == (Severity.ERROR, ("import:torchvision",))
    assert both.fixes[0].commands[0].endswith("install numpy 'pillow>=5'")
    assert "ED361:torch" not in found
    without_pillow = replace(failing, message="No module named 'PIL'")
    found = findings(
        Distributions(items=(torch, vision)), CompanionImports(items=(without_pillow,))
    )
    assert found["ED361:pillow,numpy"].severity is Severity.ERROR


def test_a_fork_that_stands_in_is_what_is_required() -> None:
    vision = distribution("torchvision", "0.21.0", OWN, "pillow>=5")
    fork = distribution("pillow-simd", "9.5.0.post1")
    assert "ED361:pillow" in findings(Distributions(items=(TORCH, *REQUIRED, vision)))
    assert "ED361:pillow" not in findings(Distributions(items=(TORCH, *REQUIRED, vision, fork)))


def test_what_a_requirement_of_torch_requires_in_turn() -> None:
    """SymPy says itself that it lacks mpmath; jinja2 is imported late and says nothing."""
    torch = distribution("torch", "2.6.0", OWN, "sympy==1.13.1", "jinja2")
    sympy = distribution("sympy", "1.13.1", OWN, "mpmath<1.4,>=1.1.0", "pytest; extra == 'dev'")
    jinja2 = distribution("jinja2", "3.1.6", OWN, "MarkupSafe>=2.0")
    items = Distributions(items=(torch, sympy, jinja2))
    found = findings(items, failed("SymPy now depends on mpmath as an external library."))
    mpmath, markupsafe = found["ED361:mpmath"], found["ED361:markupsafe"]
    assert (mpmath.severity, mpmath.breaks) == (Severity.ERROR, ("import:torch",))
    assert "sympy 1.13.1 requires" in mpmath.message
    assert markupsafe.severity is Severity.WARNING
    assert "ED361:pytest" not in found


def test_what_others_require_in_turn_matters_where_an_import_names_it() -> None:
    vllm = distribution("vllm", "0.8.5", OWN, "fastapi")
    fastapi = distribution("fastapi", "0.115", OWN, "starlette")
    items = Distributions(items=(TORCH, *REQUIRED, vllm, fastapi))
    assert "ED361:starlette" not in findings(items)
    failing = CompanionImport(
        name="vllm", outcome="exception", message="No module named 'starlette'"
    )
    found = findings(items, CompanionImports(items=(failing,)))
    assert found["ED361:starlette"].breaks == ("import:vllm",)


def test_an_empty_folder_in_place_of_numpy() -> None:
    """Torch does not ask for numpy, and takes what is called so."""
    items = Distributions(items=(TORCH, *REQUIRED))
    found = findings(items, failed("module 'numpy' has no attribute 'ndarray'"))["ED361:numpy"]
    assert (found.severity, found.breaks) == (Severity.ERROR, ("import:torch",))
    assert found.fixes[0].commands[0].endswith("install numpy")
    assert "ED361:numpy" not in findings(items)


def test_wheels_that_were_exchanged_together_are_one_finding_with_one_command() -> None:
    """Colab's image: torch pins the wheels of CUDA 12.4, and those of 12.5 are there."""
    others = [distribution(name, "12.5.3") for name in WHEELS]
    items = Distributions(items=(CUDA_TORCH, *others))
    (root,) = roots(items)
    assert (root.code, root.subjects, root.severity) == ("ED360", WHEELS, Severity.WARNING)
    assert root.fixes[0].commands == (f"{PREFIX}/bin/python -m pip install torch==2.6.0",)
    missed = failed("libcudnn.so.9: cannot open shared object file")
    named = list(findings(items, missed, WITHOUT_LIBRARIES).values())
    assert ("nvidia-cudnn-cu12",) in [one.subjects for one in named if one.code == "ED360"]
