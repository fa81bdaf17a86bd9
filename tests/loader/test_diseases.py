"""Broken miniatures: the prediction is what is mapped, and the finding names the cause."""

from pathlib import Path

import pytest

from envdoctor.findings import Severity
from envdoctor.loader.truth import differences, is_cuda
from tests.loader.build import Workshop
from tests.loader.miniature import (
    Miniature,
    build,
    copied,
    findings_of,
    snapshot_with_maps,
    unlinked,
)


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
        assert differences(resolution, truth.paths) == ()
        predicted = {one.path for one in resolution.libraries if one.mapped and one.path}
        assert {p for p in predicted if is_cuda(p)} == {p for p in truth.paths if is_cuda(p)}
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
    assert any(f.subject == name for f in findings)


@pytest.mark.parametrize("part", ["graph", "ops", "engines_precompiled"])
def test_a_missing_part_of_cudnn_is_found_although_the_import_works(torch26: Miniature, part: str):
    unlinked(torch26.find(f"libcudnn_{part}.so.9"))
    findings, truth = agree(torch26)
    assert truth.error is None
    (finding,) = findings
    assert (finding.code, finding.subject) == ("ED350", f"libcudnn_{part}.so.9")
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
    from envdoctor.core_facts import Distributions, Interpreter
    from envdoctor.facts import Observed, Snapshot

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
    assert {(f.code, f.subject) for f in findings} == {
        ("ED360", "nvidia-cudnn-cu12"),
        ("ED361", "nvidia-nccl-cu12"),
    }
    (pin,) = [f for f in findings if f.code == "ED360"]
    assert "9.5.1.17 is installed, and torch 2.6.0 requires ==9.1.0.70" in pin.message


def test_two_majors_of_one_component(torch26: Miniature):
    torch26.installed = (("nvidia-nccl-cu11", "2.21.5"), ("nvidia-nccl-cu12", "2.21.5"))
    torch26.requires = ("nvidia-nccl-cu12==2.21.5",)
    (finding,) = torch26.findings()
    assert (finding.code, finding.severity) == ("ED314", Severity.WARNING)
    assert "uninstall nvidia-nccl-cu11" in finding.fixes[0].commands[0]


def test_a_difference_between_prediction_and_truth_is_told(torch26: Miniature):
    snapshot = snapshot_with_maps(torch26)
    assert findings_of(snapshot) == ()
    nccl = torch26.find("libnccl.so.2")
    elsewhere = Path(torch26.other("libnccl.so.2")) / "libnccl.so.2"
    from envdoctor.core_facts import LoadedLibraries
    from envdoctor.facts import Observed

    loaded = snapshot.value(LoadedLibraries)
    assert loaded is not None
    paths = tuple(str(elsewhere) if path == str(nccl) else path for path in loaded.paths)
    changed = snapshot.with_facts(
        {LoadedLibraries: Observed(value=LoadedLibraries(paths=paths), source="test")}
    )
    (finding,) = findings_of(changed)
    assert (finding.code, finding.severity) == ("ED349", Severity.INFO)
    assert finding.data["mapped"] == str(elsewhere)
