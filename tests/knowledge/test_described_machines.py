"""Machines as their owners describe them, and what they have; answers written from documents.

The rows of a column of sources: `matrix` is pytorch RELEASE.md with the release matrices of
pytorch/test-infra; `flags` the CUDAConfig.h of PyPI's wheels and, for CUDA 12.6, the runtime table
`PYTORCH_RELEASES_CODE_CC` of torch 2.13 and 2.14; `floors` CUDA 13.2's release notes, tables 2 and
3; `PyPI` its file lists and METADATA; `ends` NVIDIA's page of supported drivers; `page`
pytorch.org, Previous Versions.
"""

from typing import Any

import msgspec
import pytest

from envdoctor.knowledge import load
from envdoctor.prescribe import BadMachine, Prescription, machine_elsewhere, prescribe

KNOWLEDGE = load()
ARM, WINDOWS, MAC, INTEL_MAC = "linux-aarch64", "windows-x86_64", "macos-arm64", "macos-x86_64"
INDEX = "https://download.pytorch.org/whl"

# GPUs, driver, Python, platform; the build, what the command or the reason holds, the source.
DESCRIBED: list[tuple[str, str | None, str, str, tuple[str, str] | None, str, str]] = [
    ("V100", "535", "3.13", "", ("2.14.1", "cu126"), f"{INDEX}/cu126", "flags, floors, PyPI"),
    ("Tesla V100-PCIE-16GB", "535.216.01", "3.14", "", ("2.14.1", "cu126"), "", "flags, PyPI"),
    ("GTX 980", "535", "3.10", "", ("2.14.1", "cu126"), f"{INDEX}/cu126", "flags"),
    ("GTX 750 Ti", "590", "3.12", "", None, "580", "ends: Maxwell"),
    ("K80", "470", "3.11", "", ("2.3.1", "cu118"), "torch==2.3.1", "cuDNN 9 matrix; PyPI: cp311"),
    ("K80", "470", "3.13", "", None, "Python 3.12 would run it", "PyPI: 2.3.1 up to cp312"),
    ("rtx5090", "550", "3.12", "", None, "driver 570 or later", "Blackwell came with R570"),
    ("RTX 5090", "570", "3.12", "", ("2.13.0", "cu129"), f"{INDEX}/cu129", "matrix, floors"),
    ("RTX PRO 6000 Blackwell Workstation Edition", "580", "3.12", "", ("2.15.0", "cu132"),
     "pip install torch==2.15.0", "PyPI, flags: 12.0"),
    ("NVIDIA RTX PRO 4000 Blackwell", "575.57.08", "3.11", "", ("2.13.0", "cu129"), "", "matrix"),
    ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "550.54.15", "3.11", "", ("2.14.1", "cu126"), "",
     "floors"),
    ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", "525.147.05", "3.11", "", ("2.14.1", "cu126"), "",
     "floors"),
    ("NVIDIA A40-48Q", "535.161.08", "3.10", "", ("2.14.1", "cu126"), "", "vGPU types, floors"),
    ("NVIDIA RTX Pro 6000 Blackwell DC-4-96Q", "580.105.08", "3.12", "", ("2.15.0", "cu132"), "",
     "vGPU types, flags"),
    ("NVIDIA GeForce MX450", "580.65.06", "3.12", "", ("2.15.0", "cu132"), "", "pci.ids: TU117"),
    ("A100", "470", "3.12", "", ("2.7.1", "cu118"), f"{INDEX}/cu118", "page: 2.7 is the last"),
    ("A100", "450.80.02", "3.9", "", ("2.7.1", "cu118"), "", "floors, page"),
    ("L4", "535", "3.8", "", ("2.4.1", "cu121"), "torch==2.4.1", "PyPI: the last with cp38"),
    ("T4", "525", "3.14", "", ("2.14.1", "cu126"), "", "floors, PyPI"),
    ("T4", "418.67", "3.8", "", ("1.8.1", "cu101"), "cu101", "floors: 10.1 from 418.39 on"),
    ("GTX 1650", "470.256.02", "3.12", "", ("2.7.1", "cu118"), "", "CUDA_UPGRADE_GUIDE.MD"),
    ("B300", "580", "3.12", "", ("2.15.0", "cu132"), "pip install torch==2.15.0", "flags: 10.0"),
    ("B200", "570.172.08", "3.12", "", ("2.13.0", "cu129"), f"{INDEX}/cu129", "matrix"),
    ("GTX 1080 + RTX 4090", "535", "3.12", "", ("2.14.1", "cu126"), "", "flags: 6.1 and 8.6"),
    ("H100", None, "3.12", "", ("2.15.0", "cu132"), "driver 580 or later", "floors"),
    ("RTX 4090", "580.65.06", "3.15", "", ("2.15.0", "cu132"), "", "PyPI: cp315"),
    ("RTX 4090", "580.65.06", "3.16", "", None, "3.15", "PyPI: up to cp315"),
    ("RTX 5090", "580.65.06", "3.8", "", None, "Python", "PyPI: cp38 ended with 2.4"),
    ("GH200", "535", "3.11", ARM, ("2.14.1", "cu126"), f"{INDEX}/cu126", "matrix, floors"),
    ("GH200", "580", "3.12", ARM, ("2.15.0", "cu132"), "pip install torch==2.15.0", "PyPI"),
    ("GB200", "570", "3.12", ARM, ("2.13.0", "cu129"), f"{INDEX}/cu129", "matrix, flags"),
    ("DGX Spark", "580", "3.13", ARM, ("2.15.0", "cu132"), "pip install torch==2.15.0", "flags"),
    ("Jetson AGX Thor", "580", "3.12", ARM, ("2.15.0", "cu132"), "", "flags for aarch64: 11.0"),
    ("Jetson Orin Nano", "540", "3.10", ARM, None, "JetPack", "NVIDIA: torch for JetPack"),
    ("Jetson Xavier NX", None, "3.8", ARM, None, "JetPack", "NVIDIA: torch for JetPack"),
    ("RTX 4070", "566.36", "3.12", WINDOWS, ("2.14.1", "cu126"),
     f"python -m pip install torch==2.14.1 --index-url {INDEX}/cu126", "page, floors"),
    ("GTX 1070", "581.57", "3.13", WINDOWS, ("2.14.1", "cu126"), "", "flags: 6.1 in 12.6 alone"),
    ("RTX 3060", "531.79", "3.9", WINDOWS, ("2.8.0", "cu126"), "", "PyPI: the last with cp39"),
    ("", None, "3.12", WINDOWS, ("2.15.0", "pypi"), "pip install torch==2.15.0", "PyPI"),
    ("", None, "3.9", MAC, ("2.8.0", "pypi"), "torch==2.8.0", "PyPI: the last with cp39"),
    ("", None, "3.14", MAC, ("2.15.0", "pypi"), "torch==2.15.0", "PyPI"),
    ("", None, "3.12", INTEL_MAC, ("2.2.2", "pypi"), "torch==2.2.2", "PyPI: the last there"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "driver", "python", "platform", "best", "says", "source"), DESCRIBED
)
def test_a_machine_in_its_owners_words(
    gpus: str,
    driver: str | None,
    python: str,
    platform: str,
    best: tuple[str, str] | None,
    says: str,
    source: str,
) -> None:
    machine = machine_elsewhere(
        KNOWLEDGE,
        gpus=filter(None, gpus.split(" + ")),
        driver=driver,
        python=python,
        platform=platform or "linux-x86_64",
    )
    answer = prescribe(machine, KNOWLEDGE, limit=1)
    assert _named(answer) == best
    assert says in _text(answer)


def _named(answer: Prescription) -> tuple[str, str] | None:
    return (answer.best.torch, answer.best.variant) if answer.best else None


def _text(answer: Prescription) -> str:
    build = answer.best
    if build is None:
        return answer.none_because or ""
    return "\n".join([*build.commands, build.why, *build.changes])


def _with(**facts: Any) -> Prescription:
    wanted = facts.pop("wanted", None)
    known = {
        name: facts.pop(name) for name in ("gpus", "driver", "python", "platform") if name in facts
    }
    if "gpus" in known:
        known["gpus"] = [known["gpus"]]
    machine = machine_elsewhere(KNOWLEDGE, **known)
    return prescribe(msgspec.structs.replace(machine, **facts), KNOWLEDGE, wanted, limit=1)


# What is there, the build, what the commands hold, what they do not; the source.
CHANGED: list[tuple[dict[str, Any], tuple[str, str], list[str], list[str], str]] = [
    (
        {"gpus": "RTX 4090", "driver": "535.183.01", "python": "3.12", "installer": "uv",
         "torch": "2.13.0+cu130", "variant": "cu130", "installed": {"torchvision": "0.28.0"}},
        ("2.13.0", "cu126"),
        ["uv pip uninstall", "torchvision==0.28.0", f"--index-url {INDEX}/cu126"],
        [],
        "floors; METADATA of torchvision",
    ),
    (
        {"gpus": "RTX 3090", "driver": "535.183.01", "python": "3.11", "installer": "uv",
         "project": "/p", "interpreter": "/p/.venv/bin/python", "locked": True,
         "torch": "2.9.1+cpu", "variant": "cpu", "installed": {"torchvision": "0.24.1"}},
        ("2.9.1", "cu128"),
        ["uv add --project /p torch==2.9.1 torchvision==0.24.1"],
        ["tool.uv.index"],
        "PyPI's 2.9.1 is for CUDA 12.8",
    ),
    (
        {"gpus": "RTX 3090", "driver": "580.65.06", "python": "3.11", "installer": "poetry",
         "project": "/p", "torch": "2.9.1+cpu", "variant": "cpu"},
        ("2.9.1", "cu128"),
        ["poetry --directory /p add torch==2.9.1"],
        ["source add"],
        "PyPI's 2.9.1 is for CUDA 12.8",
    ),
    (
        {"gpus": "A10", "driver": "550.90.07", "python": "3.11", "installer": "poetry",
         "project": "/p", "torch": "2.12.0+cu130", "variant": "cu130"},
        ("2.12.0", "cu126"),
        ["poetry --directory /p source add --priority=explicit", "add --source pytorch-cu126"],
        [],
        "floors, matrix",
    ),
    (
        {"gpus": "A10", "driver": "550.90.07", "python": "3.11", "installer": "pixi",
         "project": "/p", "torch": "2.12.0+cu130", "variant": "cu130"},
        ("2.12.0", "cu126"),
        ["# in /p/pixi.toml", f'index = "{INDEX}/cu126"', "pixi install --manifest-path /p"],
        [],
        "floors, matrix",
    ),
    (
        {"gpus": "RTX 5080", "driver": "572.16", "python": "3.12", "installer": "conda",
         "conda_prefix": "/c", "torch": "2.5.1", "variant": "cu124", "torch_by_conda": True,
         "vendor": "the conda channel that it came from"},
        ("2.7.1", "cu128"),
        ["conda remove --yes --prefix /c pytorch", "torch==2.7.1", "conda channel"],
        [],
        "pytorch PR #147607: 12.0 from 2.7 for CUDA 12.8 on",
    ),
    (
        {"gpus": "H100", "driver": "535.183.01", "python": "3.12", "torch": "2.14.0+cu130",
         "variant": "cu130", "installed": {"vllm": "0.33.0"}},
        ("2.10.0", "cu128"),
        ["vllm==0.19.1"],
        [],
        "ELF needs of vLLM; METADATA of 0.19.1: torch==2.10.0",
    ),
    (
        {"gpus": "V100", "driver": "580.65.06", "python": "3.12", "torch": "2.14.0+cu130",
         "variant": "cu130", "installed": {"vllm": "0.33.0"}},
        ("2.10.0", "cu128"),
        ["vllm==0.19.1"],
        [],
        "flags: 2.10 for CUDA 12.8 has 7.0; ELF needs of vLLM",
    ),
    (
        {"gpus": "RTX 5090", "driver": "570.124.06", "python": "3.11", "torch": "2.6.0+cu124",
         "variant": "cu124",
         "installed": {"xformers": "0.0.29.post3", "torchvision": "0.21.0"}},
        ("2.7.1", "cu128"),
        ["torchvision==0.22.1", "xformers==0.0.31"],
        [],
        "METADATA of xformers 0.0.31: torch==2.7.1",
    ),
    (
        {"gpus": "A100", "driver": "535.183.01", "python": "3.12", "torch": "2.13.0+cu130",
         "variant": "cu130", "installed": {"torchcodec": "0.17.0"}},
        ("2.13.0", "cu126"),
        ["torchcodec==0.13"],
        [],
        "ELF needs: 0.14 and later libcudart.so.13, 0.13 none",
    ),
    (
        {"gpus": "A100", "driver": "535.183.01", "python": "3.11", "torch": "2.13.0+cu130",
         "variant": "cu130", "installed": {"bitsandbytes": "0.50.2"}},
        ("2.13.0", "cu126"),
        ["torch==2.13.0"],
        ["bitsandbytes=="],
        "bitsandbytes 0.50.2 has code for CUDA 11.8 to 13",
    ),
    (
        {"python": "3.12", "wants_gpu": False, "torch": "2.13.0+cu130", "variant": "cu130",
         "installed": {"torchaudio": "2.11.0", "torchvision": "0.28.0"}, "wanted": "2.13"},
        ("2.13.0", "cpu"),
        [f"{INDEX}/cpu", "torchaudio==2.11.0", "torchvision==0.28.0"],
        [],
        "PyPI's torchaudio 2.11.0 needs libcudart.so.13",
    ),
    (
        {"python": "3.11", "platform": MAC, "macos": "13.6", "torch": "2.15.0",
         "installed": {"torchvision": "0.29.2"}},
        ("2.11.0", "pypi"),
        ["torchvision==0.26.0"],
        [],
        "PyPI: macosx_14_0 from 2.12 on",
    ),
    (
        {"gpus": "GB200", "driver": "580.65.06", "python": "3.12", "platform": ARM,
         "torch": "2.9.1+cpu", "variant": "cpu"},
        ("2.9.1", "cu130"),
        [f"{INDEX}/cu130"],
        [],
        "matrix: 2.9.1 for aarch64 with CUDA 13.0",
    ),
    (
        {"gpus": "P100-PCIE-16GB", "driver": "550.54.15", "python": "3.11",
         "torch": "2.8.0+cu128", "variant": "cu128", "installed": {"torchvision": "0.23.0"}},
        ("2.8.0", "cu126"),
        ["uninstall -y torch torchvision", "torchvision==0.23.0"],
        [],
        "flags: 2.8.0 from 7.0 on",
    ),
    (
        {"gpus": "T4", "driver": "535.183.01", "python": "3.11", "torch": "2.6.0+cpu",
         "variant": "cpu", "installed": {"torchvision": "0.21.0"}},
        ("2.6.0", "cu124"),
        ["uninstall -y torch torchvision", "torch==2.6.0 torchvision==0.21.0"],
        ["--index-url"],
        "PyPI's 2.6.0 is for CUDA 12.4",
    ),
    (
        {"gpus": "A100", "driver": "535.183.01", "python": "3.11", "wanted": "2.2.2",
         "installed": {"numpy": "2.1.0", "torchvision": "0.20.0"}},
        ("2.2.2", "cu121"),
        ["numpy<2", "torchvision==0.17.2"],
        [],
        "torch before 2.3 was compiled for numpy 1",
    ),
    (
        {"gpus": "V100", "driver": "570.124.06", "python": "3.11", "wanted": "2.7.1+cu128"},
        ("2.7.1", "cu126"),
        ["has no code for V100"],
        [],
        "flags: 2.7.1 for CUDA 12.8 has no 7.0",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "best", "has", "lacks", "source"), CHANGED)
def test_what_is_installed_moves_along(
    facts: dict[str, Any], best: tuple[str, str], has: list[str], lacks: list[str], source: str
) -> None:
    answer = _with(**facts)
    assert _named(answer) == best
    assert all(words in _text(answer) for words in has), _text(answer)
    assert not any(words in _text(answer) for words in lacks), _text(answer)


@pytest.mark.parametrize(
    ("gpu", "driver", "torch", "tag", "installed"),
    [
        ("H100", "580.65.06", "2.10.0", "cu128", {"vllm": "0.19.1"}),
        ("H100", "580.65.06", "2.14.0", "cu130", {"vllm": "0.33.0", "torchaudio": "2.11.0"}),
        ("RTX 5090", "570.124.06", "2.8.0", "cu128", {"vllm": "0.11.0", "torchvision": "0.23.0"}),
        ("H100", "570.124.06", "2.8.0", "cu129", {"flash-attn": "2.8.3"}),
        ("V100", "580.95.05", "2.6.0", "cu124", {"flash-attn": "2.7.4.post1"}),
        ("H100", "535.183.01", "2.10.0", "cu128", {"xformers": "0.0.35"}),
    ],
)
def test_a_healthy_machine_stays_as_it_is(
    gpu: str, driver: str, torch: str, tag: str, installed: dict[str, str]
) -> None:
    """METADATA and ELF needs of each on PyPI; flags and floors of the builds."""
    answer = _with(
        gpus=gpu,
        driver=driver,
        python="3.12",
        torch=f"{torch}+{tag}",
        variant=tag,
        installed=installed,
    )
    assert answer.best is not None
    assert (answer.best.torch, answer.best.variant, answer.best.commands) == (torch, tag, ())


def test_a_card_that_was_sold_with_two_chips_is_asked_for() -> None:
    """pci.ids: GeForce GT 730 with Fermi and with Kepler."""
    with pytest.raises(BadMachine, match="GT 730"):
        machine_elsewhere(KNOWLEDGE, gpus=["GeForce GT 730"])
