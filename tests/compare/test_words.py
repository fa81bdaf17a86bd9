"""What a reader is told: one line for each difference, in his words, with what it means."""

import pytest

from envdoctor.api import Distributions, Snapshot, Toolkit, Toolkits, TorchImport
from envdoctor.compare.packages import plain_versions
from envdoctor.compare.records import Comparison
from envdoctor.comparing import compared
from envdoctor.facts.libraries import Owner, Problem
from envdoctor.formats import Look
from envdoctor.render.comparison import render_comparison, render_comparison_markdown
from tests.compare.test_pairs import CUDNN, _library, gpu_machine, other_build, package, resolution
from tests.support.cases import CASES
from tests.support.machines import SITE, distribution, machine
from tests.support.pairs import changed, comparison, session, side


def sentences(found: Comparison) -> list[str]:
    return [one.sentence for one in found.differences]


def with_driver(release: str, cuda: str = "12.4") -> Snapshot:
    library = f"/usr/lib/libcuda.so.{release}"
    return changed(
        machine(),
        Driver={"release": release},
        Nvml={"driver_release": release, "driver_cuda": cuda},
        CudaInit={"driver_cuda": cuda, "library": library},
    )


NEEDS = "cu124 needs 525.60.13, which only the driver in A reaches"


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (with_driver("550.54.14"), "550.54.14 in B: both run cu124 (from 525.60.13)"),
        (CASES["driver-470-cuda-12"].snapshot, f"470.82.01 in B: {NEEDS}"),
        # By forward compatibility, as nobody who only compares numbers would expect.
        (with_driver("470.82.01"), f"470.82.01 in B: {NEEDS}; it works in B all the same"),
    ],
)
def test_two_drivers_with_the_published_floor(other: Snapshot, says: str) -> None:
    assert f"driver 535.183.01 in A, {says}" in sentences(comparison(machine(), other))


def test_libraries_beside_another_module() -> None:
    old = {"library": "/usr/lib/x86_64-linux-gnu/libcuda.so.535.161.07"}
    other = changed(machine(), CudaInit=old)
    assert sentences(comparison(machine(), other)) == [
        "the driver's libraries are 535.161.07 beside a kernel module 535.183.01, in B alone"
    ]


def test_a_library_of_the_system_and_one_of_a_wheel() -> None:
    of_system = _library(CUDNN, f"/usr/lib/x86_64-linux-gnu/{CUDNN}", None)
    found = comparison(gpu_machine(), changed(gpu_machine(), resolution(of_system)))
    assert sentences(found) == [
        "libcudnn.so.9 comes from the wheel nvidia-cudnn-cu12 9.1.0.70 in A, from "
        "`/usr/lib/x86_64-linux-gnu/libcudnn.so.9` in B"
    ]


def test_a_library_that_lacks_something_for_another_follows_from_that() -> None:
    """The same libtorch_cpu.so is loaded; beside another libc10.so symbols are missing."""
    torch = Owner(kind="wheel", name="torch", version="2.6.0+cu124", intact=True)
    c10, cpu = (f"{SITE}/torch/lib/{name}" for name in ("libc10.so", "libtorch_cpu.so"))
    lack = Problem(
        kind="symbol",
        library="libtorch_cpu.so",
        path=cpu,
        needed_by=f"{SITE}/torch/lib/libtorch_python.so",
        names=("_ZN3c106detail",),
    )
    sound = resolution(_library("libc10.so", c10, torch), _library("libtorch_cpu.so", cpu, torch))
    shadowed = resolution(
        _library("libc10.so", "/opt/other/libc10.so", None),
        _library("libtorch_cpu.so", cpu, torch, problems=(lack,)),
    )
    text = "libtorch_cpu.so: undefined symbol: _ZN3c106detail"
    failed = TorchImport(outcome="exception", seconds=1, exception="ImportError", message=text)
    broken = changed(gpu_machine(), shadowed, failed)
    found = comparison(changed(gpu_machine(), sound), broken)
    assert [(one.name, one.follows) for one in found.differences][:1] == [("libc10.so", "")]
    assert ("libtorch_cpu.so", "libc10.so") in [
        (one.name, one.follows) for one in found.differences
    ]
    text = render_comparison(found, Look(width=100))
    assert "explains undefined-symbol (ED305), found in B alone" in text
    assert "follows from libc10.so: libtorch_cpu.so" in text


def test_the_parts_of_one_component_are_one_line() -> None:
    names = ("libcudnn.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9")
    sides = []
    for kind, name in (("wheel", "nvidia-cudnn-cu12"), ("conda", "cudnn")):
        owner = Owner(kind=kind, name=name, version="9.1.0.70")  # type: ignore[arg-type]
        parts = (_library(one, f"/x/{name}/{one}", owner) for one in names)
        sides.append(changed(gpu_machine(), resolution(*parts)))
    (line,) = sentences(comparison(*sides))
    assert line.startswith("libcudnn.so.9 and 2 more of its parts come from the wheel")


def test_another_version_of_a_wheel_is_told_once_with_the_package() -> None:
    owner = Owner(kind="wheel", name="nvidia-cudnn-cu12", version="9.5.0.50")
    newer = changed(
        package("nvidia-cudnn-cu12", "9.5.0.50")(gpu_machine()),
        resolution(_library(CUDNN, f"/venv/nvidia/{CUDNN}", owner)),
    )
    assert sentences(comparison(gpu_machine(), newer)) == [
        "nvidia-cudnn-cu12 9.1.0.70 in A, 9.5.0.50 in B"
    ]


def test_what_a_torch_pins_follows_from_it() -> None:
    other = other_build("2.5.1+cu124", "12.4", "cu124")(gpu_machine())
    other = package("torchvision", "0.20.1")(other)
    found = comparison(gpu_machine(), other)
    assert [(one.name, one.follows) for one in found.differences] == [
        ("torch", ""),
        ("torchvision", "torch"),
    ]
    text = render_comparison(found)
    assert "follows from torch: torchvision" in text


def test_that_no_array_can_be_made_follows_from_the_numpy_that_is_not_there() -> None:
    without = changed(
        package("numpy", None)(machine()), TorchRuntime={"numpy_error": "Numpy is not available"}
    )
    found = comparison(machine(), without)
    assert {one.name: one.follows for one in found.differences}["numpy_error"] == "numpy"
    text = " ".join(render_comparison(found).split())
    assert "follows from numpy: turning tensors into NumPy arrays fails in B alone" in text


def test_a_variable_is_shown_as_it_is_on_each_side() -> None:
    first = changed(machine(), Environment={"variables": {"NCCL_DEBUG": "INFO"}})
    second = changed(machine(), Environment={"variables": {"OMP_NUM_THREADS": ""}})
    assert sorted(sentences(comparison(first, second))) == [
        "NCCL_DEBUG: `INFO` in A, not set in B",
        "OMP_NUM_THREADS: not set in A, empty in B",
    ]


def test_this_machine_is_here() -> None:
    other = changed(machine(), Environment={"variables": {"NCCL_DEBUG": "INFO"}})
    live, file = side(machine(), "/venv/bin/python", "live"), side(other, "b.json")
    (line,) = sentences(compared(session(), live, file))
    assert line == "NCCL_DEBUG: not set here, `INFO` there"
    (line,) = sentences(compared(session(), file, live))
    assert line == "NCCL_DEBUG: `INFO` there, not set here"
    both = compared(session(), live, side(other, "/other/bin/python", "live"))
    assert sentences(both) == ["NCCL_DEBUG: not set in A, `INFO` in B"]


# --- the whole page ---


def test_the_page_says_what_explains_what() -> None:
    found = comparison(CASES["healthy-gpu"].snapshot, CASES["driver-470-cuda-12"].snapshot)
    lines = render_comparison(found, Look(width=100)).splitlines()
    assert lines[:3] == [
        "different: in A healthy, in B broken",
        "  A  a.json",
        "  B  b.json",
    ]
    assert lines[4].startswith("  1  driver 535.183.01 in A, 470.82.01 in B")
    assert "       explains driver-too-old (ED201), found in B alone" in lines
    assert any(line.startswith("same: Python 3.11.9, torch 2.6.0+cu124,") for line in lines)
    assert max(map(len, lines)) <= 100


def test_in_brief_the_differences_that_explain() -> None:
    found = comparison(CASES["healthy-gpu"].snapshot, CASES["driver-470-cuda-12"].snapshot)
    brief = render_comparison(found, Look(width=100, detail="brief"))
    assert "same:" not in brief
    assert "driver-too-old" in brief
    assert "import torch" not in brief


def test_markdown_says_the_same() -> None:
    found = comparison(CASES["healthy-gpu"].snapshot, CASES["driver-470-cuda-12"].snapshot)
    text = render_comparison_markdown(found)
    assert text.startswith("# envdoctor: different: in A healthy, in B broken\n")
    assert "\n1. driver 535.183.01 in A, 470.82.01 in B" in text
    assert "\n   - explains driver-too-old (ED201), found in B alone" in text


def test_packages_that_torch_does_not_need_are_counted_and_all_in_the_document() -> None:
    few = gpu_machine().value(Distributions)
    assert few is not None
    items = (*few.items, *(distribution(f"extra-{number}", "1.0") for number in range(30)))
    found = comparison(gpu_machine(), changed(gpu_machine(), Distributions={"items": items}))
    assert len(found.differences) == 30
    text = render_comparison(found, Look(width=100))
    assert "30 other packages: extra-0 1.0 is installed in B and not in A" in text
    assert "; and 26" in " ".join(text.split())
    assert render_comparison(found, Look(width=100, detail="full")).count("is installed") == 30


def test_a_toolkit_is_told_for_those_who_build() -> None:
    tool = Toolkit(path="/usr/local/cuda", version="12.4", source="version.json")
    (one,) = comparison(machine(), changed(machine(), Toolkits(items=(tool,)))).differences
    assert (one.can_break, one.sentence) == (
        ("extend",),
        "the CUDA toolkit is none in A, 12.4 in B",
    )


@pytest.mark.parametrize(
    ("version", "each"),
    [
        ("1.14.0", ["1.14.0"]),
        ("1.14.0 (editable)", ["1.14.0"]),
        ("1.0 and 2.0 (editable)", ["1.0", "2.0"]),
    ],
)
def test_versions_in_words_are_compared_as_they_are(version: str, each: list[str]) -> None:
    assert plain_versions(version) == each
