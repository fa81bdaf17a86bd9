"""Findings of libraries: what each breaks, by when torch opens it, and what repairs it."""

import pytest
from msgspec.structs import replace

from envdoctor.facts.libraries import (
    Extension,
    LibraryResolution,
    Offer,
    Owner,
    Problem,
    ResolvedLibrary,
)
from envdoctor.facts.machine import Environment, Host, Toolkit, Toolkits
from envdoctor.facts.python import Distributions, Installer
from envdoctor.facts.torch import (
    CompanionImport,
    CompanionImports,
    ImportTrial,
    ImportTrials,
    TorchBuild,
    TorchImport,
)
from envdoctor.findings import Finding, Severity
from tests.repair.facts import OWN, PREFIX, TORCH, distribution, findings, interpreter, roots

BASE = "/opt/python/lib/python3.11/site-packages"


def resolution(library: ResolvedLibrary, **fields: object) -> LibraryResolution:
    return replace(LibraryResolution(root="/x", libraries=(library,)), **fields)


def missing(soname: str, when: str = "import", **fields: object) -> ResolvedLibrary:
    problem = Problem(kind="missing", library=soname, needed_by=f"{OWN}/torch/lib/libtorch_cpu.so")
    made = ResolvedLibrary(soname=soname, path=None, problems=(problem,))
    return replace(made, when=when, **fields)


def of_code(found: dict[str, Finding], code: str) -> Finding:
    return next(one for one in found.values() if one.code == code)


@pytest.mark.parametrize(
    ("when", "breaks"),
    [
        ("start", "import:torch"),
        ("import", "import:torch"),
        ("query", "compute:gpu"),
        ("use", "compute:gpu"),
    ],
)
def test_a_library_breaks_what_it_is_opened_for(when: str, breaks: str) -> None:
    finding = of_code(findings(resolution(missing("libcusolver.so.11", when))), "ED301")
    assert finding.breaks == (breaks,)


def test_a_module_of_a_companion_breaks_that_companion() -> None:
    problem = Problem(kind="symbol", library="libtorch_cpu.so", needed_by="x", names=("_ZN2at",))
    module = Extension(distribution="flash-attn", path=f"{OWN}/flash.so", problems=(problem,))
    facts = resolution(
        ResolvedLibrary(soname="libc10.so", path="/x/libc10.so"), extensions=(module,)
    )
    finding = of_code(findings(facts), "ED345")
    assert finding.breaks == ("import:flash-attn",)


def test_a_companion_that_was_imported_is_not_broken() -> None:
    problem = Problem(kind="missing", library="libtorchaudio.so", needed_by="x")
    module = Extension(distribution="torchaudio", path=f"{OWN}/a.so", problems=(problem,))
    facts = resolution(
        ResolvedLibrary(soname="libc10.so", path="/x/libc10.so"), extensions=(module,)
    )
    assert of_code(findings(facts), "ED347").severity is not Severity.INFO
    works = CompanionImports(items=(CompanionImport(name="torchaudio", outcome="ok"),))
    assert not [one for one in findings(facts, works).values() if one.code == "ED347"]


def test_a_companion_for_cuda_beside_a_torch_for_the_cpu() -> None:
    problem = Problem(kind="missing", library="libcudart.so.13", needed_by=f"{OWN}/_C.so")
    module = Extension(distribution="torchvision", path=f"{OWN}/_C.so", problems=(problem,))
    facts = resolution(
        ResolvedLibrary(soname="libc10.so", path="/x/libc10.so"), extensions=(module,)
    )
    vision = distribution("torchvision", "0.21.0")
    finding = of_code(findings(facts, Distributions(items=(TORCH, vision))), "ED346")
    assert "it is built for CUDA (it needs `libcudart.so.13`), and torch for the CPU" in (
        finding.message
    )
    assert finding.fixes[0].commands == (
        f"{PREFIX}/bin/python -m pip install --force-reinstall --no-deps torchvision==0.21.0 "
        "--index-url https://download.pytorch.org/whl/cpu",
    )


# --- one cause ---


def test_wheels_in_folders_of_their_own_are_one_finding() -> None:
    """ED326"""
    names = ("nvidia-nccl-cu12", "nvidia-cublas-cu12")
    torch = distribution("torch", "2.6.0", OWN, *(f"{name}==12.4" for name in names))
    wheels = (distribution(name, "12.4", f"/wheels/{name}/site-packages") for name in names)
    libraries = (missing("libnccl.so.2"), missing("libcublas.so.12"))
    facts = replace(resolution(libraries[0], import_error="libcublas.so.12"), libraries=libraries)
    found = findings(facts, Distributions(items=(torch, *wheels)))
    finding = of_code(found, "ED326")
    assert finding.subjects == ("libcublas.so.12", "libnccl.so.2"), "what the loader names is first"
    assert "into one site-packages" in finding.fixes[0].summary
    assert not {"ED301", "ED303"} & {one.code for one in found.values()}


def test_a_wheel_beside_torch_that_lost_its_library_is_put_back() -> None:
    torch = distribution("torch", "2.6.0", OWN, "nvidia-nccl-cu12==2.21.5")
    nccl = distribution("nvidia-nccl-cu12", "2.21.5")
    found = findings(resolution(missing("libnccl.so.2")), Distributions(items=(torch, nccl)))
    assert of_code(found, "ED301").fixes[0].commands[0].endswith("nvidia-nccl-cu12==2.21.5")


def test_libraries_that_a_variable_hides_are_one_finding() -> None:
    libraries = tuple(
        missing(name, clean_path=f"{OWN}/nvidia/{name}")
        for name in ("libcusparseLt.so.0", "libcudnn.so.9")
    )
    facts = replace(
        resolution(libraries[0], library_path=("/usr/local/cuda/lib64",)), libraries=libraries
    )
    found = findings(facts)
    finding = of_code(found, "ED301")
    assert finding.subjects == ("libcusparseLt.so.0", "libcudnn.so.9")
    assert finding.fixes[0].commands == ("unset LD_LIBRARY_PATH",)
    assert "ED350" not in {one.code for one in found.values()}


def test_a_companion_of_a_torch_that_is_hidden_is_left_alone() -> None:
    """Its own torch lies beside it; what hides that is told by itself."""
    problem = Problem(kind="symbol", library="libc10.so", needed_by="x", names=("_ZN3c10",))
    module = Extension(distribution="torchvision", path=f"{OWN}/_C.so", problems=(problem,))
    facts = resolution(
        ResolvedLibrary(soname="libc10.so", path="/x/libc10.so"), extensions=(module,)
    )
    hiding = distribution("torch", "2.13.0+cpu", "/home/me/.local/lib/python3.11/site-packages")
    items = (hiding, distribution("torch", "2.6.0"), distribution("torchvision", "0.21.0"))
    codes = {one.code for one in findings(facts, Distributions(items=items)).values()}
    assert "ED346" not in codes


# --- variables ---


def _shadowed(rule: str) -> LibraryResolution:
    library = ResolvedLibrary(
        soname="libcublas.so.12",
        path="/opt/cuda/libcublas.so.12",
        rule=rule,  # type: ignore[arg-type]
        clean_path=f"{OWN}/nvidia/cublas/lib/libcublas.so.12",
    )
    return resolution(library, import_error="no luck", library_path=("/opt/cuda", "/mine"))


@pytest.mark.parametrize("variable", ["LD_LIBRARY_PATH", "LD_PRELOAD"])
def test_what_was_tried_without_the_variable_is_the_proof(variable: str) -> None:
    trial = ImportTrial(change="unset", variable=variable, outcome="ok")
    finding = of_code(findings(_shadowed(variable), ImportTrials(items=(trial,))), "ED310")
    (fix,) = finding.fixes
    assert fix.commands == (f"unset {variable}",)
    assert fix.proof == f"`import torch` works without {variable}"
    assert finding.breaks == ("import:torch",)
    untried = of_code(findings(_shadowed(variable)), "ED310")
    assert untried.fixes[0].proof == ""


def test_what_lacks_the_symbols_of_a_replaced_library_is_not_to_be_restored() -> None:
    """Another libc10.so wins by the variable, and torch's own libtorch_cpu.so, which is the same
    without, would be said to lack symbols. Where torch fails without it, too, that is the fault."""
    needs = Problem(kind="symbol", library="libtorch_cpu.so", needed_by="x", names=("_ZN3c10",))
    cpu = ResolvedLibrary(
        soname="libtorch_cpu.so", path=f"{OWN}/torch/lib/libtorch_cpu.so", problems=(needs,)
    )
    c10 = replace(cpu, soname="libc10.so", path="/mine/libc10.so", problems=())
    c10 = replace(c10, rule="LD_LIBRARY_PATH", clean_path=f"{OWN}/torch/lib/libc10.so")
    facts = replace(_shadowed("LD_LIBRARY_PATH"), libraries=(c10, cpu))
    failed = TorchImport(outcome="exception", seconds=1, exception="ImportError", message="no luck")
    (first,) = roots(facts, failed)
    assert first.code == "ED310"
    assert first.fixes[0].commands == ("unset LD_LIBRARY_PATH",)
    anyway = replace(facts, clean_import_error="no luck either")
    assert "ED305" in {one.code for one in roots(anyway, failed)}


def test_a_preloaded_library_that_is_gone() -> None:
    problem = Problem(kind="missing", library="/x/libjemalloc.so.2", needed_by="/usr/bin/python3")
    facts = resolution(
        ResolvedLibrary(soname="libc10.so", path="/x/libc10.so"), preload_problems=(problem,)
    )
    two = Environment(variables={"LD_PRELOAD": "/x/libjemalloc.so.2 /y/other.so"})
    assert of_code(findings(facts, two), "ED332").fixes[0].commands == (
        "export LD_PRELOAD=/y/other.so",
    )
    of_the_system = of_code(findings(facts), "ED332")
    assert "/etc/ld.so.preload" in of_the_system.message


def test_what_torch_itself_loads_first_is_not_blamed_on_a_file_that_does_not_exist() -> None:
    problem = Problem(
        kind="version", library="/old/libstdc++.so.6", needed_by=f"{OWN}/nvidia/libnvrtc.so.12"
    )
    facts = resolution(
        ResolvedLibrary(soname="libc10.so", path="/x/libc10.so"), preload_problems=(problem,)
    )
    assert not [one for one in findings(facts).values() if one.code == "ED332"]


# --- what puts a library back ---


def test_the_owner_of_a_library_puts_it_back() -> None:
    bad = Problem(kind="unreadable", library="/x/libfoo.so.1", needed_by="y", detail="cut")
    for owner, line in (
        (
            Owner(kind="dpkg", name="libfoo1", version="1.0"),
            "sudo apt-get install --reinstall libfoo1",
        ),
        (
            Owner(kind="conda", name="libfoo", version="1.0"),
            f"conda install --yes --prefix {PREFIX} --force-reinstall libfoo=1.0",
        ),
        (
            Owner(kind="wheel", name="torch", version="2.6.0+cpu"),
            f"{PREFIX}/bin/python -m pip install --force-reinstall --no-deps torch==2.6.0+cpu "
            "--index-url https://download.pytorch.org/whl/cpu",
        ),
    ):
        library = ResolvedLibrary(
            soname="libfoo.so.1", path="/x/libfoo.so.1", owner=owner, problems=(bad,)
        )
        found = findings(resolution(library), *_debian())
        assert of_code(found, "ED304").fixes[0].commands == (line,)


def _debian() -> tuple[Host, ...]:
    host = Host(
        os="Debian GNU/Linux 12",
        os_id="debian",
        os_version="12",
        kernel="6.1.0",
        machine="x86_64",
        glibc="2.36",
        cpu_name="made up",
        cpu_flags=(),
        logical_cpus=4,
        physical_cpus=4,
        memory_bytes=2**33,
        memory_available_bytes=2**32,
    )
    return (host,)


def test_a_wheel_in_the_base_is_put_back_there() -> None:
    torch = distribution("torch", "2.6.0", BASE, "nvidia-cuda-runtime-cu12==12.4.127")
    runtime = distribution("nvidia-cuda-runtime-cu12", "12.4.127", BASE)
    found = findings(
        resolution(missing("libcudart.so.12"), import_error="no"),
        Distributions(items=(torch, runtime)),
        interpreter(after=(BASE,)),
    )
    assert of_code(found, "ED300").fixes[0].commands == (
        "/opt/python/bin/python3 -m pip install --force-reinstall --no-deps "
        "nvidia-cuda-runtime-cu12==12.4.127",
    )


def test_wheels_in_folders_of_their_own_are_not_installed_again() -> None:
    """Each is whole, and torch looks for their libraries beside itself (Bazel, pants)."""
    owner = Owner(kind="wheel", name="nvidia-cuda-runtime-cu12", version="12.4.127", intact=True)
    offer = Offer(path="/w/cudart/lib/libcudart.so.12", rule="installed wheel", owner=owner)
    torch = distribution("torch", "2.6.0", "/w/torch", "nvidia-cuda-runtime-cu12==12.4.127")
    runtime = distribution("nvidia-cuda-runtime-cu12", "12.4.127", "/w/cudart")
    library = missing("libcudart.so.12", alternatives=(offer,))
    found = findings(resolution(library, import_error="no"), Distributions(items=(torch, runtime)))
    one_folder, named = of_code(found, "ED326").fixes
    assert "one site-packages" in one_folder.summary
    assert named.commands == ("export LD_LIBRARY_PATH=/w/cudart/lib",)


def _apart(soname: str, name: str) -> ResolvedLibrary:
    owner = Owner(kind="wheel", name=name, version="12.4.127", intact=True)
    path = f"/w/{name}/lib/{soname}"
    offer = Offer(path=path, rule="installed wheel", owner=owner)
    return missing(soname, alternatives=(offer,))


def test_the_folders_of_wheels_that_lie_apart_are_named() -> None:
    nccl, cudnn = _apart("libnccl.so.2", "nvidia-nccl"), _apart("libcudnn.so.9", "nvidia-cudnn")
    facts = replace(resolution(nccl, import_error="no"), libraries=(nccl, cudnn))
    torch = distribution("torch", "2.6.0", "/w/torch")
    found = findings(facts, Distributions(items=(torch,)))
    finding = of_code(found, "ED326")
    assert finding.subjects == ("libnccl.so.2", "libcudnn.so.9")
    assert finding.message.startswith("`libnccl.so.2` and 1 more, which libtorch_cpu.so needs, are")
    assert "in another folder than torch" in finding.message
    assert finding.fixes[1].commands == (
        "export LD_LIBRARY_PATH=/w/nvidia-nccl/lib:/w/nvidia-cudnn/lib",
    )


def test_what_one_variable_hides_is_one_finding() -> None:
    libraries = tuple(
        missing(name, clean_path=f"{OWN}/nvidia/lib/{name}")
        for name in ("libnccl.so.2", "libcudnn.so.9")
    )
    facts = replace(resolution(libraries[0], import_error="no"), libraries=libraries)
    (finding,) = (one for one in findings(facts).values() if "libcudnn.so.9" in one.subjects)
    assert finding.subjects == ("libnccl.so.2", "libcudnn.so.9")
    assert finding.fixes[0].commands == ("unset LD_LIBRARY_PATH",)


def test_two_wheels_that_are_gone_are_two_findings() -> None:
    libraries = tuple(missing(name) for name in ("libnccl.so.2", "libcublas.so.12"))
    facts = replace(resolution(libraries[0], import_error="no"), libraries=libraries)
    found = [one for one in findings(facts).values() if one.code == "ED301"]
    assert {one.subjects for one in found} == {("libnccl.so.2",), ("libcublas.so.12",)}


def test_a_library_that_torch_then_opened_itself_is_not_missing() -> None:
    path = "/w/cudart/lib/libcudart.so.12"
    opened = missing("libcudart.so.12", path=path, rule="preloaded by torch", mapped=True)
    assert not [one for one in findings(resolution(opened)).values() if one.code == "ED300"]


def test_a_newer_libstdcxx_comes_from_conda_only_in_conda() -> None:
    old = Problem(
        kind="version", library="libstdc++.so.6", needed_by="x", names=("GLIBCXX_3.4.99",)
    )
    library = ResolvedLibrary(
        soname="libstdc++.so.6", path="/lib/libstdc++.so.6", rule="ld.so.cache", problems=(old,)
    )
    outside = of_code(findings(resolution(library)), "ED320")
    assert outside.fixes[0].commands == ()
    conda = Installer(name="conda", evidence=f"{PREFIX}/conda-meta", in_conda=True)
    inside = of_code(findings(resolution(library), conda), "ED320")
    assert inside.fixes[0].commands == (
        f"conda install --yes --prefix {PREFIX} -c conda-forge libstdcxx-ng",
    )


def test_an_mkl_of_conda_without_the_profiling_interface_is_not_installed_again() -> None:
    """The same release would lack it again (pytorch/pytorch#123097)."""
    lacks = Problem(
        kind="symbol", library="libmkl_core.so.2", needed_by="x", names=("iJIT_NotifyEvent",)
    )
    library = ResolvedLibrary(
        soname="libmkl_core.so.2",
        path=f"{PREFIX}/lib/libmkl_core.so.2",
        rule="RUNPATH",
        owner=Owner(kind="conda", name="mkl", version="2024.1.0"),
        problems=(lacks,),
    )
    conda = Installer(name="conda", evidence=f"{PREFIX}/conda-meta", in_conda=True)
    finding = of_code(findings(resolution(library), conda), "ED322")
    line = f"conda install --yes --prefix {PREFIX} -c conda-forge 'mkl<2024.1'"
    assert finding.fixes[0].commands == (line,)


def test_cuda_home_points_at_a_toolkit_that_is_here() -> None:
    build = TorchBuild(
        version="2.6.0+cu124",
        cuda="12.4",
        hip=None,
        path=f"{OWN}/torch",
        variant="cu124",
        version_source="version.py",
    )
    old = Toolkit(path="/usr/local/cuda-11.8", version="11.8", source="version.json")
    other = Toolkit(path="/opt/my cuda", version="12.6", source="version.json")
    for items, commands in (
        ((old,), ()),
        ((old, other), ("export CUDA_HOME=/opt/'my cuda'",)),
    ):
        fact = Toolkits(items=items, cuda_home=None, nvcc="/usr/local/cuda-11.8/bin/nvcc")
        found = findings(build, fact, Distributions(items=(TORCH,)))
        assert of_code(found, "ED375").fixes[0].commands == commands


def test_what_the_loaders_own_file_preloads_is_taken_out_there() -> None:
    """/etc/ld.so.preload is of no variable: `unset LD_LIBRARY_PATH` would change nothing."""
    old = "/opt/conda/lib/libstdc++.so.6"
    found = ResolvedLibrary(
        soname="libstdc++.so.6",
        path=old,
        named=old,
        rule="ld.so.preload",
        how="preload",
        when="start",
        clean_path="/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
        problems=(
            Problem(
                kind="version",
                library="libstdc++.so.6",
                needed_by=f"{OWN}/torch/lib/libtorch_python.so",
                path=old,
                names=("GLIBCXX_3.4.22",),
            ),
        ),
    )
    error = f"{old}: version `GLIBCXX_3.4.22' not found"
    looked = LibraryResolution(root="/x", libraries=(found,), import_error=error)
    failed = TorchImport(outcome="exception", seconds=1.0, exception="ImportError", message=error)
    (first,) = roots(looked, failed)
    assert (first.code, first.fixes[0].commands) == ("ED320", ("sudoedit /etc/ld.so.preload",))
    assert f"`{old}`" in first.fixes[0].summary
