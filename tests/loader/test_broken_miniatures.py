"""Broken miniatures: the prediction is what is mapped, and the finding names the cause."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.libraries import LibraryResolution, Owner, ResolvedLibrary
from envdoctor.facts.machine import Driver
from envdoctor.facts.python import Distributions, Interpreter
from envdoctor.facts.torch import FirstUse, LoadedLibraries, TorchFirstUse
from envdoctor.findings import Severity
from envdoctor.loader.mapped import differences
from tests.loader.build import Workshop
from tests.loader.miniature import (
    KNOWLEDGE,
    Miniature,
    build,
    copied,
    findings_of,
    snapshot_with_maps,
    unlinked,
)

LIBRARIES = KNOWLEDGE.libraries


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, compiler: str) -> Path:
    """The miniature, compiled once; its RPATHs are relative, so that copies work."""
    folder = tmp_path_factory.mktemp("miniature")
    build(Workshop(folder=folder, compiler=compiler))
    return folder


@pytest.fixture
def torch24(template: Path, workshop: Workshop) -> Miniature:
    """Without preloading, as torch 2.4."""
    return copied(template, workshop, preloads=False)


@pytest.fixture
def torch26(template: Path, workshop: Workshop) -> Miniature:
    """Preloads nvJitLink, as torch 2.6."""
    return copied(template, workshop, preloads=True)


@pytest.fixture(params=["torch24", "torch26"])
def miniature(request: pytest.FixtureRequest) -> Miniature:
    """Either."""
    found: Miniature = request.getfixturevalue(request.param)
    return found


def agree(miniature: Miniature, variables: dict[str, str] | None = None):
    """Prediction and truth, which must be the same; the findings and the truth."""
    resolution, truth = miniature.resolve(variables), miniature.run(variables)
    if truth.error is None:
        assert resolution.import_error is None
        assert differences(resolution, truth.paths, LIBRARIES) == ()
        predicted = {one.path for one in resolution.libraries if one.mapped and one.path}
        assert {p for p in predicted if LIBRARIES.uses_cuda(p)} == {
            p for p in truth.paths if LIBRARIES.uses_cuda(p)
        }
    else:
        assert resolution.import_error is not None, truth.error
    return miniature.findings(variables), truth


def codes(findings, severity: Severity | None = None) -> set[str]:
    return {f.code for f in findings if severity is None or f.severity is severity}


def test_a_healthy_one_is_silent(miniature: Miniature):
    findings, truth = agree(miniature)
    assert truth.error is None
    assert truth.query == 1
    assert findings == ()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("libcudart.so.12", "ED300"),
        ("libcusparse.so.12", "ED301"),
        ("libnvJitLink.so.12", "ED301"),
        ("libnccl.so.2", "ED301"),
        ("libcudnn.so.9", "ED350"),
    ],
)
def test_a_missing_library_is_named_with_its_disease(miniature: Miniature, name: str, code: str):
    unlinked(miniature.find(name))
    findings, truth = agree(miniature)
    assert truth.error is not None
    assert name in truth.error or name.split(".", maxsplit=1)[0] in truth.error
    assert code in codes(findings, Severity.ERROR)
    assert any(f.subjects == (name,) for f in findings)


@pytest.mark.parametrize("part", ["graph", "ops", "engines_precompiled"])
def test_a_missing_part_of_cudnn_is_found_although_the_import_works(torch26: Miniature, part: str):
    unlinked(torch26.find(f"libcudnn_{part}.so.9"))
    findings, truth = agree(torch26)
    assert truth.error is None
    (finding,) = findings
    assert (finding.code, finding.subjects) == ("ED350", (f"libcudnn_{part}.so.9",))
    assert "imports without it" in finding.notes[0]


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01\x01", b"version https://git-lfs" * 9])
def test_an_unreadable_library(torch26: Miniature, content: bytes):
    path = torch26.find("libnccl.so.2")
    unlinked(path)
    path.write_bytes(content)
    findings, truth = agree(torch26)
    assert truth.error is not None
    assert codes(findings) == {"ED304"}
    assert str(path) in findings[0].message


def old_nvjitlink(miniature: Miniature) -> dict[str, str]:
    folder = miniature.other(
        "libnvJitLink.so.12",
        source="int __nvJitLinkComplete_12_1(void) { return 1; }",
        versions="libnvJitLink.so.12 { global: *; };",
    )
    return {"LD_LIBRARY_PATH": folder}


def test_an_older_nvjitlink_on_the_path_breaks_24(torch24: Miniature):
    findings, truth = agree(torch24, old_nvjitlink(torch24))
    assert "undefined symbol: __nvJitLinkComplete_12_4" in str(truth.error)
    assert codes(findings, Severity.ERROR) == {"ED311", "ED310"}
    (finding,) = [f for f in findings if f.code == "ED311"]
    assert "__nvJitLinkComplete_12_4" in finding.message
    assert finding.fixes[0].commands == ("unset LD_LIBRARY_PATH",)


def test_an_older_nvjitlink_on_the_path_changes_nothing_in_26(torch26: Miniature):
    findings, truth = agree(torch26, old_nvjitlink(torch26))
    assert truth.error is None
    assert findings == ()


def test_a_shadow_that_still_fits_is_a_warning(torch24: Miniature):
    folder = torch24.other(
        "libnvJitLink.so.12",
        source="int __nvJitLinkComplete_12_4(void) { return 1; } int more(void) { return 2; }",
        versions="libnvJitLink.so.12 { global: *; };",
    )
    findings, truth = agree(torch24, {"LD_LIBRARY_PATH": folder})
    assert truth.error is None
    assert codes(findings, Severity.WARNING) == codes(findings) == {"ED310"}
    assert "libnvJitLink.so.12" in findings[0].message


@pytest.mark.parametrize(
    "name", ["libnccl.so.2", "libcudart.so.11.0", "libcublas.so.12", "libcudnn.so.8"]
)
def test_other_cuda_libraries_on_the_path_change_nothing(miniature: Miniature, name: str):
    folder = miniature.other(name, source="int nothing(void) { return 0; }")
    findings, truth = agree(miniature, {"LD_LIBRARY_PATH": folder})
    assert truth.error is None
    assert findings == ()


def test_a_preloaded_old_nccl_lacks_the_symbol(torch26: Miniature):
    folder = torch26.other("libnccl.so.2", source="int ncclOld(void) { return 0; }")
    findings, truth = agree(torch26, {"LD_PRELOAD": f"{folder}/libnccl.so.2"})
    assert "undefined symbol: ncclCommRegister" in str(truth.error)
    assert "ED312" in codes(findings, Severity.ERROR)


def test_cudnn_of_two_versions(torch26: Miniature):
    folder = torch26.other(
        "libcudnn_graph.so.9", source="int cudnnGraphVersion(void) { return 90501; }"
    )
    findings, truth = agree(torch26, {"LD_LIBRARY_PATH": folder})
    assert truth.query == 90501
    assert "ED351" in codes(findings, Severity.ERROR)
    assert "ED310" in codes(findings, Severity.WARNING)


def test_wheels_elsewhere_are_preloaded_by_the_fallback(torch24: Miniature):
    """torch loads by path what no RPATH reaches; cuDNN's parts then come from beside it."""
    elsewhere = torch24.site.parent / "elsewhere"
    elsewhere.mkdir()
    (torch24.site / "nvidia").rename(elsewhere / "nvidia")
    resolution = torch24.resolve()
    assert resolution.import_error is not None
    assert "ED300" in codes(torch24.findings())


def test_a_missing_ld_preload_is_a_warning(torch26: Miniature):
    findings, truth = agree(torch26, {"LD_PRELOAD": "/nowhere/libjemalloc.so.2"})
    assert truth.error is None
    (finding,) = findings
    assert (finding.code, finding.severity) == ("ED332", Severity.WARNING)


def test_a_pin_that_is_violated_and_a_wheel_that_is_missing(torch26: Miniature):
    torch26.requires = (
        'nvidia-cudnn-cu12==9.1.0.70; platform_system == "Linux"',
        "nvidia-nccl-cu12==2.21.5",
        'pywin32; sys_platform == "win32"',
    )
    torch26.installed = (("nvidia-cudnn-cu12", "9.5.1.17"),)
    interpreter = Interpreter(
        executable="/x/python",
        version="3.11.7",
        version_info=(3, 11, 7),
        implementation="CPython",
        soabi=None,
        machine="x86_64",
        prefix="/x",
        base_prefix="/x",
        sys_path=(),
        site_packages=(),
        user_site=None,
        user_site_enabled=False,
        safe_path=False,
        stdlib="/x",
        cwd="/",
    )
    findings = findings_of(
        Snapshot(
            {
                Distributions: Observed(value=torch26.distributions(), source="test"),
                Interpreter: Observed(value=interpreter, source="test"),
            }
        )
    )
    assert {(f.code, f.subjects) for f in findings} == {
        ("ED360", ("nvidia-cudnn-cu12",)),
        ("ED361", ("nvidia-nccl-cu12",)),
    }
    (pin,) = [f for f in findings if f.code == "ED360"]
    assert "9.5.1.17 is installed, and torch 2.6.0 requires ==9.1.0.70" in pin.message


def test_two_majors_of_one_component(torch26: Miniature):
    torch26.installed = (("nvidia-nccl-cu11", "2.21.5"), ("nvidia-nccl-cu12", "2.21.5"))
    torch26.requires = ("nvidia-nccl-cu12==2.21.5",)
    (finding,) = torch26.findings()
    assert (finding.code, finding.severity) == ("ED314", Severity.WARNING)
    assert "uninstall -y nvidia-nccl-cu11" in finding.fixes[0].commands[0]
    assert "nvidia-nccl-cu12==2.21.5" in finding.fixes[0].commands[1], "its files went with it"


def test_a_difference_between_prediction_and_truth_is_told(torch26: Miniature):
    snapshot = snapshot_with_maps(torch26)
    assert findings_of(snapshot) == ()
    nccl = torch26.find("libnccl.so.2")
    elsewhere = Path(torch26.other("libnccl.so.2")) / "libnccl.so.2"
    loaded = snapshot.value(LoadedLibraries)
    assert loaded is not None
    paths = tuple(str(elsewhere) if path == str(nccl) else path for path in loaded.paths)
    changed = snapshot.with_facts(
        {LoadedLibraries: Observed(value=LoadedLibraries(paths=paths), source="test")}
    )
    (finding,) = findings_of(changed)
    assert (finding.code, finding.severity) == ("ED349", Severity.INFO)
    assert finding.data["mapped"] == str(elsewhere)


def extension(torch26: Miniature, name: str, source: str) -> None:
    """A distribution that requires torch and has one module linked with it."""
    torch26.shop.library(
        f"site-packages/{name}/_C.so",
        source=source,
        needs=["site-packages/torch/lib/libtorch_cuda.so"],
        flags=["-Wl,-rpath,$ORIGIN/../torch/lib"],
    )
    info = torch26.site / f"{name}.dist-info"
    info.mkdir()
    (info / "RECORD").write_text(f"{name}/_C.so,sha256=x,1\n")
    torch26.installed = ((name, "0.1"),)
    torch26.extra_requires = {name: ("torch==2.6.0",)}


@pytest.mark.parametrize(
    ("name", "code"),
    [("torchvision", "ED346"), ("torchaudio", "ED347"), ("flash-attn", "ED345")],
)
def test_an_extension_built_for_another_torch(torch26: Miniature, name: str, code: str):
    extension(
        torch26, name, "int _ZN3c105Error4oldEv(void); int f(void){return _ZN3c105Error4oldEv();}"
    )
    found = [f for f in torch26.findings() if f.code != "ED361"]
    assert [(f.code, f.subjects) for f in found] == [(code, (name,))]
    assert "_ZN3c105Error4oldEv" in found[0].message


@pytest.mark.parametrize(("name", "told"), [("mmcv", True), ("something", False)])
def test_an_extension_that_does_not_say_that_it_needs_torch(
    torch26: Miniature, name: str, told: bool
):
    """mmcv requires no torch in its metadata, and its module is opened late."""
    extension(torch26, name, "int _ZN2at5emptyEv(void); int f(void) { return _ZN2at5emptyEv(); }")
    torch26.extra_requires = {name: ("numpy",)}
    found = [one.subjects for one in torch26.findings() if one.code == "ED345"]
    assert found == [(name,)] * told


def test_an_extension_that_fits_is_silent(torch26: Miniature):
    extension(torch26, "torchvision", "int cuda_use(void); int f(void) { return cuda_use(); }")
    assert torch26.findings() == ()


def test_a_module_that_lacks_a_library_of_the_system_is_no_misfit(torch26: Miniature):
    """torchaudio 2.6 brings a module for SoX, and works without SoX."""
    shop = torch26.shop
    shop.library("elsewhere/libsox.so.3", source="int sox(void) { return 1; }")
    shop.library(
        "site-packages/torchaudio/libtorchaudio_sox.so",
        source="int sox(void); int g(void) { return sox(); }",
        needs=["elsewhere/libsox.so.3"],
    )
    shop.library(
        "site-packages/torchaudio/_sox.so",
        source="int g(void); int cuda_use(void); int f(void) { return g() + cuda_use(); }",
        needs=[
            "site-packages/torchaudio/libtorchaudio_sox.so",
            "site-packages/torch/lib/libtorch_cuda.so",
        ],
        flags=["-Wl,-rpath,$ORIGIN/../torch/lib"],
    )
    shutil.rmtree(shop.folder / "elsewhere")
    info = torch26.site / "torchaudio.dist-info"
    info.mkdir()
    names = ("_sox.so", "libtorchaudio_sox.so")
    (info / "RECORD").write_text("".join(f"torchaudio/{name},sha256=x,1\n" for name in names))
    torch26.installed = (("torchaudio", "0.1"),)
    torch26.extra_requires = {"torchaudio": ("torch==2.6.0",)}
    assert torch26.findings() == ()


def test_a_module_for_a_torch_with_other_libraries_is_a_misfit(torch26: Miniature):
    """A module for ROCm beside a torch for CUDA: what it lacks is torch's, not the system's."""
    shop = torch26.shop
    shop.library("elsewhere/libtorch_hip.so", source="int hip(void) { return 1; }")
    shop.library(
        "site-packages/torchaudio/_rocm.so",
        source="int hip(void); int f(void) { return hip(); }",
        needs=["elsewhere/libtorch_hip.so"],
    )
    shutil.rmtree(shop.folder / "elsewhere")
    info = torch26.site / "torchaudio.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("torchaudio/_rocm.so,sha256=x,1\n")
    torch26.installed = (("torchaudio", "0.1"),)
    torch26.extra_requires = {"torchaudio": ("torch==2.6.0",)}
    assert codes(torch26.findings()) == {"ED347"}


def test_a_stub_that_wins_is_told(torch26: Miniature):
    torch26.shop.library("lib64/stubs/libcuda.so.1", source="int cuInit(void) { return 34; }")
    variables = {"LD_LIBRARY_PATH": str(torch26.shop.folder / "lib64" / "stubs")}
    (finding,) = torch26.findings(variables)
    assert (finding.code, finding.family) == ("ED330", "driver-stub-34")


def test_a_compat_library_that_is_not_newer_than_the_driver(torch26: Miniature):
    for release, told in (("550.54.15", {"ED331"}), ("470.82.01", set())):
        torch26.shop.library("cuda/compat/libcuda.so.535.104.05", soname="libcuda.so.1")
        link = torch26.shop.folder / "cuda/compat/libcuda.so.1"
        link.unlink(missing_ok=True)
        link.symlink_to("libcuda.so.535.104.05")
        resolution = torch26.resolve({"LD_LIBRARY_PATH": str(link.parent)})
        driver = Driver(loaded=True, release=release, release_source="test")
        snapshot = Snapshot(
            {
                LibraryResolution: Observed(value=resolution, source="test"),
                Driver: Observed(value=driver, source="test"),
            }
        )
        assert codes(findings_of(snapshot)) == told


def test_two_copies_of_an_openmp_runtime(torch26: Miniature):
    paths = tuple(torch26.other(f"{folder}/libiomp5.so") for folder in ("one", "two"))
    mapped = tuple(f"{path}/libiomp5.so" for path in paths)
    snapshot = snapshot_with_maps(torch26).with_facts(
        {LoadedLibraries: Observed(value=LoadedLibraries(paths=mapped), source="test")}
    )
    assert "ED325" in codes(findings_of(snapshot))


def test_old_c_plus_plus_and_old_glibc(torch26: Miniature):
    """A library that asks for versions that no system has."""
    for name, node, code in (
        ("libstdc++.so.6", "GLIBCXX_3.4.99", "ED320"),
        ("libc.so.6", "GLIBC_2.99", "ED321"),
    ):
        shop = torch26.shop
        shop.library(
            f"new/{name}", source="int newer(void){return 1;}", versions=f"{node} {{ *; }};"
        )
        path = torch26.find("libnccl.so.2")
        unlinked(path)
        shop.library(
            "site-packages/nvidia/nccl/lib/libnccl.so.2",
            source="int newer(void); int ncclCommRegister(void) { return newer(); }",
            needs=[f"new/{name}"],
            flags=["-nodefaultlibs"],
        )
        resolution = torch26.resolve()
        found = [f for f in torch26.findings() if f.severity is Severity.ERROR]
        assert codes(found) == {code}, resolution.import_error
        assert node in found[0].message


def test_an_mkl_without_the_profilers_symbol(torch26: Miniature):
    path = torch26.find("libnccl.so.2")
    unlinked(path)
    torch26.shop.library(
        "site-packages/nvidia/nccl/lib/libnccl.so.2",
        source="int iJIT_NotifyEvent(void); int ncclCommRegister(void){return iJIT_NotifyEvent();}",
    )
    findings, truth = agree(torch26)
    assert "undefined symbol: iJIT_NotifyEvent" in str(truth.error)
    assert codes(findings) == {"ED322"}


def test_a_convolution_that_worked_on_a_gpu_makes_two_cudnns_a_warning(torch26: Miniature):
    folder = torch26.other(
        "libcudnn_graph.so.9", source="int cudnnGraphVersion(void) { return 90501; }"
    )
    resolution = torch26.resolve({"LD_LIBRARY_PATH": folder})
    for error, severity in ((None, Severity.WARNING), ("mismatch", Severity.ERROR)):
        use = FirstUse(device="cuda:0", operation="convolution", error=error)
        snapshot = Snapshot(
            {
                LibraryResolution: Observed(value=resolution, source="test"),
                TorchFirstUse: Observed(value=TorchFirstUse(operations=(use,)), source="test"),
            }
        )
        (finding,) = [f for f in findings_of(snapshot) if f.code == "ED351"]
        assert finding.severity is severity


def test_what_a_library_opened_later_needs_is_told(torch26: Miniature):
    """As libtorch_cuda_linalg, opened at the first solve, needs libcusolver."""
    shop = torch26.shop
    shop.library("site-packages/torch/lib/libtorch_cpu.so")
    shop.library("solver/libcusolver.so.11")
    path = torch26.find("libtorch_cuda.so")
    unlinked(path)
    shop.library(
        "site-packages/torch/lib/libtorch_cuda.so",
        source="int cuda_use(void) { return 1; }",
        needs=["site-packages/torch/lib/libtorch_cpu.so"],
        flags=["-Wl,-rpath,$ORIGIN"],
    )
    cpu = torch26.find("libtorch_cpu.so")
    unlinked(cpu)
    shop.library("site-packages/torch/lib/libtorch_cpu.so", flags=["-Wl,-rpath,$ORIGIN"])
    shop.library(
        "site-packages/torch/lib/libtorch_cuda_linalg.so",
        needs=["solver/libcusolver.so.11"],
        flags=["-Wl,-rpath,$ORIGIN"],
    )
    findings, truth = agree(torch26)
    assert truth.error is None
    assert {(f.code, f.subjects) for f in findings} == {("ED301", ("libcusolver.so.11",))}
    assert "first operation on a GPU" in findings[0].notes[0]


def test_what_a_library_that_needs_the_driver_would_open_is_told_without_a_driver(
    torch26: Miniature,
):
    """As libcaffe2_nvrtc needs libcuda: the libnvrtc that it brings opens its builtins by name."""
    shop = torch26.shop
    stub = shop.library("driver/libcuda.so.1")
    nvrtc = "site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"
    shop.library(
        nvrtc,
        source='const char *nvrtcBuiltins(void) { return "libnvrtc-builtins.so.12.4"; }',
        flags=["-Wl,-rpath,$ORIGIN"],
    )
    shop.library(
        "site-packages/torch/lib/libcaffe2_nvrtc.so",
        needs=["driver/libcuda.so.1", nvrtc],
        flags=["-Wl,-rpath,$ORIGIN/../../nvidia/cuda_nvrtc/lib"],
    )
    cpu, cuda = ("site-packages/torch/lib/libtorch_cpu.so", torch26.find("libtorch_cuda.so"))
    shop.library(cpu, flags=["-Wl,-rpath,$ORIGIN"])
    unlinked(cuda)
    shop.library(
        "site-packages/torch/lib/libtorch_cuda.so",
        source="int cuda_use(void) { return 1; }",
        needs=[cpu],
        flags=["-Wl,-rpath,$ORIGIN"],
    )
    stub.unlink()
    missing = ("libnvrtc-builtins.so.12.4",)
    found = [one for one in torch26.findings() if one.subjects == missing]
    assert codes(found) == {"ED301"}
    shop.library("site-packages/nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.4")
    assert not [one for one in torch26.findings() if one.subjects == missing]


def test_the_wheels_own_library_in_place_of_the_systems_is_no_shadow(torch26: Miniature):
    """A recipe puts the wheels' folders on LD_LIBRARY_PATH; what they replace was not torch's."""
    own = torch26.find("libnvJitLink.so.12")
    library = ResolvedLibrary(
        soname="libnvperf_host.so",
        path=str(own),
        rule="LD_LIBRARY_PATH",
        clean_path="/usr/local/cuda/lib64/libnvperf_host.so",
        owner=Owner(kind="wheel", name="nvidia-cuda-cupti", version="13.2.86", intact=True),
    )
    for owner, told in ((library.owner, set()), (None, {"ED310"})):
        fact = LibraryResolution(
            root="/x", libraries=(msgspec.structs.replace(library, owner=owner),)
        )
        snapshot = Snapshot({LibraryResolution: Observed(value=fact, source="synthetic")})
        assert codes(findings_of(snapshot)) == told


def test_another_openmp_of_gcc_with_all_that_is_needed_is_worth_a_word(torch26: Miniature):
    """torch 2.13's CPU wheel brings `libgomp.so.1` under that name; the system's serves as well."""
    own = torch26.site / "torch/lib/libgomp.so.1"
    library = ResolvedLibrary(
        soname=own.name,
        path="/usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0",
        rule="LD_LIBRARY_PATH",
        clean_path=str(own),
    )
    fact = LibraryResolution(root="/x", libraries=(library,))
    findings = findings_of(Snapshot({LibraryResolution: Observed(value=fact, source="synthetic")}))
    assert codes(findings, Severity.INFO) == codes(findings) == {"ED310"}


@pytest.mark.parametrize("copy", [shutil.copy2, os.link])
def test_an_identical_cudnn_on_the_path_is_worth_a_word(
    torch26: Miniature, copy: Callable[[str, str], object]
):
    """A copy, or what uv's hard links to its store make of two environments."""
    folder = torch26.shop.folder / "copy"
    shutil.copytree(torch26.find("libcudnn.so.9").parent, folder, copy_function=copy)
    own = torch26.site / "nvidia_cudnn_cu12.dist-info"
    own.mkdir()
    parts = sorted(torch26.find("libcudnn.so.9").parent.glob("*.so.9"))
    lines = [f"{p.relative_to(torch26.site)},sha256=x,{p.stat().st_size}" for p in parts]
    (own / "RECORD").write_text("\n".join(lines) + "\n")
    torch26.installed = (("nvidia_cudnn_cu12", "9.1.0.70"),)
    findings, truth = agree(torch26, {"LD_LIBRARY_PATH": str(folder)})
    assert truth.error is None
    assert codes(findings) == codes(findings, Severity.INFO) == {"ED310"}
