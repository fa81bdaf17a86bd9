"""Two texts of collect_env, as people paste them: what is a cause, and what only goes with it."""

import pytest

from envdoctor.compare.records import Comparison
from envdoctor.comparing import compared
from envdoctor.importers.collect_env import snapshot_of
from envdoctor.render.comparison import render_comparison
from tests.support.pairs import session, side

TEXT = """\
Collecting environment information...
PyTorch version: {torch}
Is debug build: False
CUDA used to build PyTorch: {cuda}
ROCM used to build PyTorch: N/A

OS: Ubuntu 22.04.4 LTS (x86_64)
GCC version: (Ubuntu {gcc}) {gcc}
Clang version: Could not collect
CMake version: Could not collect
Libc version: glibc-{glibc}

Python version: 3.10.14 (main, Mar 21 2024, 16:24:04) [GCC 11.2.0] (64-bit runtime)
Python platform: Linux-5.15.0-94-generic-x86_64-with-glibc{glibc}
Is CUDA available: {works}
CUDA runtime version: 12.1.105
GPU models and configuration: {gpu}
Nvidia driver version: 550.54.14
cuDNN version: Could not collect

Versions of relevant libraries:
{packages}
"""


def text(**fields: str) -> str:
    """A text of collect_env. `packages` are requirements, with blanks between them."""
    values = {
        "torch": "2.4.0+cu121",
        "cuda": "12.1",
        "gcc": "11.4.0",
        "glibc": "2.35",
        "works": "True",
        "gpu": "GPU 0: NVIDIA A10G",
        **fields,
    }
    own = "No relevant packages" if values["torch"] == "N/A" else f"torch=={values['torch']}"
    installed = sorted([*fields.get("packages", "").split(), own])
    values["packages"] = "\n".join(f"[pip3] {one}" for one in installed)
    return TEXT.format(**values)


def differences(first: dict[str, str], second: dict[str, str]) -> Comparison:
    texts = (text(**first), text(**second))
    sides = (side(snapshot_of(one), "a text", "collect_env") for one in texts)
    return compared(session(), *sides)


def in_numbers(found: Comparison) -> list[str]:
    """What is told by itself."""
    return [one.name for one in found.differences if one.weight != "little" and not one.follows]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"gcc": "11.4.0"}, {"gcc": "11.3.0"}, []),
        ({"gcc": "11.4.0"}, {"gcc": "9.3.1"}, ["version"]),
        # The wheels of 2.4 run from 2.17 on.
        ({"glibc": "2.35"}, {"glibc": "2.31"}, []),
        ({"glibc": "2.35"}, {"glibc": "2.12"}, ["glibc"]),
        # From where this one has to be run, nobody has published.
        ({"torch": "2.4.0"}, {"torch": "2.4.0", "glibc": "2.31"}, ["glibc"]),
    ],
)
def test_another_version_that_does_the_same_matters_little(
    first: dict[str, str], second: dict[str, str], told: list[str]
) -> None:
    found = differences(first, second)
    assert in_numbers(found) == told
    assert len(found.differences) == 1


@pytest.mark.parametrize(
    ("torch", "packages"),
    [
        ("2.5.1+cu124", "torchvision==0.20.1 torchaudio==2.5.1"),
        ("2.5.1a0+git6fc067b", "torchvision==0.20.1a0+3ac97aa torchaudio==2.5.1a0+1661daf"),
        ("2.6.0.dev20241126+cu124", "torchvision==0.20.0.dev20241126+cu124"),
    ],
)
def test_what_was_built_with_a_torch_follows_from_it(torch: str, packages: str) -> None:
    usual = {"packages": "torchvision==0.19.0 torchaudio==2.4.0"}
    other = {"torch": torch, "cuda": "12.4", "packages": packages}
    found = differences(usual, other)
    follow = {one.name for one in found.differences if one.follows == "torch"}
    assert follow == {"torchvision", "torchaudio"}
    assert in_numbers(found) == ["torch"]


def test_the_wheels_of_cuda_that_go_with_a_torch_are_counted() -> None:
    parts = ("cublas", "cudnn", "cufft", "curand", "nccl")
    first, second = (" ".join(f"nvidia-{part}-cu12=={v}.0" for part in parts) for v in (1, 2))
    other = {"torch": "2.3.0+cu121", "packages": f"{second} triton==2.3.0"}
    text = " ".join(render_comparison(differences({"packages": first}, other)).split())
    assert "follows from torch: 5 wheels of CUDA, triton" in text


def test_what_was_built_for_another_torch_does_not_follow() -> None:
    usual = {"packages": "torchvision==0.19.0"}
    other = {"torch": "2.5.1a0+git6fc067b", "packages": "torchvision==0.19.0a0+3ac97aa"}
    assert "torchvision" in in_numbers(differences(usual, other))


def test_not_all_that_is_called_like_it_is_of_cuda() -> None:
    """A client of an inference server goes with no torch; what brings other devices does matter."""
    others = "tritonclient==2.55.0 nvidia-pytriton==0.5.14"
    other = {"torch": "2.3.1+cu121", "packages": f"{others} torch-xla==2.3.0"}
    found = differences({}, other)
    assert {one.name for one in found.differences if one.follows} == set()
    assert in_numbers(found) == ["torch", "torch-xla"]


def test_two_builds_of_one_release_are_called_so() -> None:
    """As conda and pip have them."""
    found = differences({"torch": "2.4.0"}, {})
    assert found.differences[0].sentence == (
        "torch 2.4.0 with CUDA 12.1 is another build: 2.4.0 in A, 2.4.0+cu121 in B"
    )


def test_that_no_torch_is_not_imported_follows() -> None:
    found = differences({"torch": "N/A", "cuda": "N/A", "works": "N/A"}, {})
    assert in_numbers(found) == ["torch"]
    text = " ".join(render_comparison(found).split())
    assert "follows from torch: `import torch` works in B and fails in A" in text


def test_what_was_compiled_for_a_torch_matters() -> None:
    builds = [f"flashinfer==0.1.6+{one} transformers==4.4{i}.0" for i, one in enumerate(BUILDS)]
    found = differences({"packages": builds[0]}, {"packages": builds[1]})
    assert in_numbers(found) == ["flashinfer"]


BUILDS = ("cu121torch2.4", "cu118torch2.4")
