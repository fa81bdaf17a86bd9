"""The imports of PyTorch's domain libraries beside a torch, with small packages that misbehave."""

import shutil
import subprocess
from pathlib import Path

import pytest

from envdoctor.api import CompanionImports, LoadedLibraries, Reason, TorchFirstUse, TorchImport
from envdoctor.collect import collect
from envdoctor.companions import Extent
from envdoctor.facts import Observed, Snapshot, Unknown
from envdoctor.options import Options
from envdoctor.plugin_loading import load_plugins
from envdoctor.probes.run import Children
from tests.conftest import require
from tests.probes.test_stages import FINE, target_only
from tests.support.patients import Patient, empty_patient, fake_torch

NMS = """
__version__ = "0.28.0+cpu"
class ops:
    @staticmethod
    def nms(boxes, scores, threshold):
        {}
"""
CHECK_FAIL = (
    "_ZN3c106detail14torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
)
"""`c10::detail::torchCheckFail(..., std::string const &)` by the new ABI of C++."""

TENSOR = """
class cuda:
    is_available = staticmethod(lambda: False)
class Kept(list):
    def tolist(self): return list(self)
def tensor(values): return values
"""


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    """An environment with a small torch."""
    made = empty_patient(tmp_path / "venv")
    fake_torch(made, FINE + TENSOR)
    return made


def install(patient: Patient, name: str, init: str) -> None:
    folder = patient.site_packages / name
    folder.mkdir()
    (folder / "__init__.py").write_text(init)


def examined(
    children: Children,
    patient: Patient,
    timeout_s: float = 60.0,
    companions: Extent = "light",
) -> Snapshot:
    return collect(
        Options(python=str(patient.python), timeout_s=timeout_s, companions=companions),
        target_only(load_plugins()),
        children=children,
        services={},
    )


def imports(snapshot: Snapshot) -> CompanionImports:
    found = snapshot.value(CompanionImports)
    assert found is not None
    return found


def test_what_is_not_installed_is_no_item(children: Children, patient: Patient) -> None:
    (patient.site_packages / "torchaudio").mkdir()
    assert imports(examined(children, patient)) == CompanionImports(items=())


def test_each_is_imported_and_says_its_version(children: Children, patient: Patient) -> None:
    install(patient, "torchvision", NMS.format("import torch; return torch.Kept([1])"))
    install(patient, "torchcodec", "__version__ = '0.8'\n")
    found = imports(examined(children, patient))
    assert [(one.name, one.outcome, one.version) for one in found.items] == [
        ("torchvision", "ok", "0.28.0+cpu"),
        ("torchcodec", "ok", "0.8"),
    ]
    vision = found.named("torchvision")
    assert vision is not None
    assert vision.file == str(patient.site_packages / "torchvision" / "__init__.py")


@pytest.mark.parametrize(
    ("nms", "words"),
    [
        ("raise RuntimeError('no custom C++ ops')", "no custom C++ ops"),
        ("import torch; return torch.Kept([0, 1])", "wrong result"),
    ],
)
def test_an_operator_that_fails_after_a_good_import(
    children: Children, patient: Patient, nms: str, words: str
) -> None:
    install(patient, "torchvision", NMS.format(nms))
    (one,) = imports(examined(children, patient)).items
    assert (one.outcome, one.operation) == ("exception", "torchvision.ops.nms")
    assert words in one.message
    assert one.version == "0.28.0+cpu"


@pytest.mark.parametrize(
    ("init", "outcome", "signal", "words"),
    [
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "exception",
            None,
            "nms does not exist",
        ),
        ("import ctypes; ctypes.string_at(0)", "signal", "SIGSEGV", "ended by SIGSEGV"),
        ("import os; os._exit(3)", "exit", None, "code 3"),
        ("import sys; sys.exit(4)", "exit", None, "4"),
    ],
)
def test_one_that_breaks_costs_neither_torch_nor_the_next(
    children: Children,
    patient: Patient,
    init: str,
    outcome: str,
    signal: str | None,
    words: str,
) -> None:
    install(patient, "torchvision", init)
    install(patient, "torchaudio", "__version__ = '2.11.0'\n")
    snapshot = examined(children, patient)
    broken, fine = imports(snapshot).items
    assert (broken.name, broken.outcome, broken.signal) == ("torchvision", outcome, signal)
    assert words in broken.message
    assert (fine.name, fine.outcome) == ("torchaudio", "ok")
    imported = snapshot.value(TorchImport)
    assert imported is not None
    assert (imported.outcome, imported.exit_outcome) == ("ok", "ok")
    assert isinstance(snapshot.get(LoadedLibraries), Observed)
    assert isinstance(snapshot.get(TorchFirstUse), Observed)


def test_the_traceback_of_an_exception_names_the_library(
    children: Children, patient: Patient
) -> None:
    install(patient, "torchaudio", "import ctypes\nctypes.CDLL('libmissing.so')\n")
    (one,) = imports(examined(children, patient)).items
    assert one.exception == "OSError"
    assert one.frames[0].file.endswith("torchaudio/__init__.py")


def test_one_that_hangs_leaves_time_and_what_was_seen(children: Children, patient: Patient) -> None:
    for name in ("torchvision", "torchaudio", "torchtext", "torchcodec"):
        install(patient, name, "import time; time.sleep(600)")
    snapshot = examined(children, patient, timeout_s=4.0)
    found = imports(snapshot)
    assert (found.items[0].name, found.items[0].outcome) == ("torchvision", "hang")
    assert "torchcodec" in found.unseen
    assert {one.name for one in found.items} | set(found.unseen) >= {
        "torchvision",
        "torchaudio",
        "torchtext",
        "torchcodec",
    }
    imported = snapshot.value(TorchImport)
    assert imported is not None
    assert imported.outcome == "ok"


def test_without_torch_none_is_imported(children: Children, tmp_path: Path) -> None:
    patient = empty_patient(tmp_path / "venv")
    install(patient, "torchvision", "raise RuntimeError('not to be seen')")
    fact = examined(children, patient).get(CompanionImports)
    assert fact == Unknown(reason=Reason.NOT_APPLICABLE, detail="`import torch` did not succeed")


def compiled(patient: Patient, name: str, source: str) -> None:
    """A compiled module of that path below the site-packages."""
    gcc = shutil.which("gcc")
    require(gcc is not None, "a compiler")
    if gcc is None:
        pytest.skip("needs a compiler")
    path = patient.site_packages / name
    subprocess.run(
        [gcc, "-shared", "-fPIC", "-o", str(path), "-x", "c", "-"],
        input=source,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(
    ("source", "outcome"),
    [("int one = 1;", "ok"), ("int gone(void); int one(void) { return gone(); }", "exception")],
)
def test_of_one_that_takes_seconds_the_compiled_modules_are_loaded(
    children: Children, patient: Patient, source: str, outcome: str
) -> None:
    install(patient, "vllm", "raise RuntimeError('it was imported')")
    compiled(patient, "vllm/_C.abi3.so", source)
    (one,) = imports(examined(children, patient)).items
    assert (one.name, one.outcome) == ("vllm", outcome)
    if outcome != "ok":
        assert one.operation == "loading _C.abi3.so"
        assert "undefined symbol: gone" in one.message


def test_all_are_imported_where_that_is_wanted(children: Children, patient: Patient) -> None:
    install(patient, "vllm", "raise RuntimeError('it was imported')")
    (one,) = imports(examined(children, patient, companions="all")).items
    assert (one.name, one.message) == ("vllm", "it was imported")


def test_none_is_imported_where_that_is_wanted(children: Children, patient: Patient) -> None:
    install(patient, "torchvision", "raise RuntimeError('it was imported')")
    fact = examined(children, patient, companions="none").get(CompanionImports)
    assert fact == Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --companions none")


def test_another_name_is_imported_than_is_installed(children: Children, patient: Patient) -> None:
    install(patient, "flash_attn", "import flash_attn_2_cuda\n")
    compiled(
        patient,
        "flash_attn_2_cuda.so",
        f"void {CHECK_FAIL}(void); void *PyInit_flash_attn_2_cuda(void)"
        f" {{ {CHECK_FAIL}(); return 0; }}",
    )
    (one,) = imports(examined(children, patient)).items
    assert (one.name, one.outcome) == ("flash-attn", "exception")
    assert f"undefined symbol: {CHECK_FAIL}" in one.message
