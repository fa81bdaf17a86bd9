"""Claims in free words, each judged as a published document has it."""

import pytest

from envdoctor.fits import Fit, fit, parse_claims
from envdoctor.fits.text import render_fit
from envdoctor.knowledge import load

KNOWLEDGE = load()


def _fit(text: str) -> Fit:
    return fit(text, KNOWLEDGE)


# Each with the document that has it.
TRUE = [
    ("torch 2.6 cu124", "pytorch RELEASE.md, release compatibility matrix"),
    ("pytorch 2.6.0 with cuda 12.4 on an RTX 3090", "CUDAConfig.h of the wheel: sm_86"),
    ("torch 2.9.1 cu130 on RTX 4090 with driver 580.65.06", "CUDA 13 from driver 580 on"),
    ("torch 2.9.1 cu128 on an rtx4090, driver 535", "CUDA 12 from 525.60.13 on"),
    ("torch2.8.0 py312 cu128 h100", "PyPI: cp312; CUDAConfig.h: sm_90"),
    ("torch 2.14.1 cu126 V100 R535", "runtime table of the wheel: 12.6 has 7.0"),
    ("torch 2.10 cu128 on Tesla V100-SXM2-16GB", "CUDAConfig.h of 2.10.0: sm_70"),
    ("torch 2.7.1 cu128 RTX 5090 driver 570.86.16", "pytorch PR #147607; R570"),
    ("GH200 torch 2.5.1 cu124", "index: torch-2.5.1-cp312-cp312-linux_aarch64.whl in cu124"),
    ("GH200 torch 2.6.0 cu126", "index: torch-2.6.0+cu126-cp312-cp312-linux_aarch64.whl"),
    ("torch 2.7.0 cu128 aarch64", "index page quoted in astral-sh/uv#13195"),
    ("GB200 torch 2.8 cu129 driver 570", "aarch64_ci_build.sh: 12.9 has 10.0"),
    ("torch 2.12.1 cu130 on GB10", "METADATA of the wheel for aarch64: CUDA 13.0"),
    ("DGX Spark torch 2.9.1 cu130", "index: torch-2.9.1+cu130-cp312-...aarch64.whl; sm_120"),
    ("torch 2.9.1 rocm 6.4", "pytorch RELEASE.md: 2.9 has ROCm 6.4"),
    ("torch 2.6 vllm 0.8.5", "METADATA of vllm 0.8.5: torch==2.6.0"),
    ("vllm 0.19.1 torch 2.10 cu128", "METADATA of vllm 0.19.1: torch==2.10.0"),
    ("xformers 0.0.31 and torch 2.7.1", "METADATA of xformers 0.0.31"),
    ("torchcodec 0.10 torch 2.10", "torchcodec README, table of versions"),
    ("torch 2.13 with torchcodec 0.17.0", "torchcodec README: 0.12 and later, torch >= 2.11"),
    ("torch 2.6 torchvision 0.21.0 torchaudio 2.6.0", "METADATA of the wheels"),
    ("torch 2.4.1 numpy 2.1", "pytorch#131668: Linux from 2.3 on"),
    ("torch 2.14 on Debian 13", "glibc 2.41 and manylinux_2_28"),
    ("torch 2.14 Ubuntu 26.04", "glibc 2.43 and manylinux_2_28"),
    ("torch 2.8 RHEL 10", "glibc 2.39 and manylinux_2_28"),
    ("cuda 13.2 gcc 15", "crt/host_config.h of nvidia-cuda-crt 13.2"),
    ("cuda 12.8 gcc 14", "CUDA installation guide, host compilers"),
    ("torch 2.6 on Windows with cuda 12.4", "pytorch.org, previous versions: Linux and Windows"),
    ("Windows torch 2.7.1+cu128", "pytorch.org, previous versions: Linux and Windows"),
    ("torch 2.9 on a MacBook M2", "PyPI: macosx_11_0_arm64"),
    ("torch 2.11 on macOS python 3.14", "PyPI: macosx_12_0_arm64 cp314"),
    ("torch 2.7.1+cu118 GTX 1650 driver 470.256.02", "CUDA_UPGRADE_GUIDE.MD, May 2025"),
    ("torch 2.3.1 cu118 on a Tesla K80 with driver 470", "builder@55d40b1b: 11.8 has 3.7"),
    ("torch 1.13.1 python 3.11", "PyPI: cp311 for manylinux1_x86_64"),
    ("torch==2.0.1 CUDA 11.7 A100 80GB PCIe", "pytorch.org, previous versions: 11.7 and 11.8"),
    ("RTX 2060 with torch 2.8.0 cu128, nvidia driver 550.120", "CUDAConfig.h of 2.8.0: 7.5"),
    ("xformers 0.0.33.post2 torch 2.9.1", "METADATA of xformers 0.0.33.post2: torch==2.9.1"),
    ("Windows 11, Python 3.12, torch 2.5.1+cu124, RTX 3060, driver 566.03", "PyPI; R565"),
    ("WSL2 Ubuntu 22.04: torch 2.7.1 cu128, an RTX 5080, driver 572.16", "R570 on Windows"),
    ("does torch 2.9.1 cu126 run on my GTX 1060?", "pytorch PR #147607: 5.0 to 9.0 in 12.6"),
    ("torch 2.11 cu130 on a Jetson AGX Thor", "CUDAConfig.h of the wheel for aarch64: 11.0"),
    ("torch-2.3.0 cuda12.1 cudnn8.9", "METADATA: nvidia-cudnn-cu12 8.9.2.26"),
    ("pytorch 2.5 with ROCm 6.2", "pytorch.org, previous versions"),
    ("NVIDIA A100-SXM4-80GB MIG 1g.10gb torch 2.6 cu124", "NVIDIA MIG user guide; 8.0"),
    ("torch 2.7.1 & triton 3.3.1", "METADATA: triton==3.3.1"),
    ("MacBook Pro M1, torch 2.1.0, python 3.11", "PyPI: cp311 for macosx_11_0_arm64"),
    ("torch 2.8, Mac Studio M2 Ultra, python 3.13", "PyPI: cp313 for macosx_11_0_arm64"),
    ("torch1.9.0 cuda11.1 rtx3080", "pytorch.org, previous versions: 1.9.0+cu111; 8.6"),
    ("torch 2.10.0 cuda 13.0 gb200 driver 580.82.07", "release matrix of 2.10.0 for aarch64"),
    (
        "pip install torch==2.6.0 --index-url https://download.pytorch.org/whl/cu124",
        "pytorch.org, previous versions",
    ),
    ("torch 2.9.1+cu128, Driver Version: 550.54.15", "CUDA 12 from 525.60.13 on"),
    ("torch>=2.4,<2.6 cu124", "RELEASE.md: 2.4 and 2.5 have 12.4"),
    ("pytorch 2.5.1 pytorch-cuda=12.4", "RELEASE.md: 2.5 has 12.4"),
    ("PyTorch 2.9.1, CUDA 12.8, Python 3.14t", "PyPI: cp314t for manylinux_2_28_x86_64"),
    ("MX450 laptop, torch 2.8 cu128", "pci.ids: TU117, 7.5"),
    ("torchvision 0.29.1 torch 2.15.0", "METADATA of torchvision 0.29.1: torch>=2.14.0"),
    ("torch 2.4.1 numpy 2.1 on Windows", "pytorch#131668: from 2.4.1 on"),
    ("numpy<2 torch 2.2.2", "torch before 2.3 was compiled for numpy 1"),
    ("compute capability 5.0, torch 2.7 cu126", "CUDAConfig.h of 2.7.1: 5.0 to 9.0"),
    ("vllm 0.33.0, torch 2.14.0, cu130", "METADATA of vllm 0.33.0: torch==2.14.0"),
]
FALSE = [
    ("torch 2.6 cu121", "cuda", "RELEASE.md: 11.8, 12.4, 12.6"),
    ("torch 2.9.1 cu130 on RTX 4090 with driver 550", "driver", "CUDA 13 from 580 on"),
    ("RTX 5090 driver 550 torch 2.7 cu128", "driver", "Blackwell came with CUDA 12.8, R570"),
    ("B200 torch 2.8 cu128 driver 535", "driver", "GPU Operator: B200 from 570.133.20 on"),
    ("GTX 1080 driver 595 torch 2.7", "driver", "R580 is the last for Pascal"),
    ("K80 driver 535 torch 2.3 cu118", "driver", "R470 is the last for Kepler"),
    ("torch 2.11 cu128 on a V100", "gpu", "runtime table of 2.12: 12.8 has no 7.0"),
    ("GB200 torch 2.5.1", "gpu", "builder: 12.4 for aarch64 has 9.0 alone"),
    ("torch 2.6 RTX 5090", "gpu", "CUDAConfig.h of 2.6: up to sm_90"),
    ("torch 2.5.1 python 3.13 aarch64", "python", "PyPI: cp39 to cp312 for aarch64"),
    ("torch 2.5.1 on macos with python 3.13", "python", "PyPI: cp39 to cp312 for macOS"),
    ("torch 2.8 cuda 12.8 on macOS", "cuda", "there is no CUDA on macOS"),
    ("torch 2.9 cu128 apple silicon", "cuda", "there is no CUDA on macOS"),
    ("torch 2.9 on macos intel", "platform", "PyPI: 2.2.2 is the last for macOS on x86-64"),
    ("torch 2.9 intel mac", "platform", "PyPI: 2.2.2 is the last for macOS on x86-64"),
    ("torch 2.9.1 rocm 5.7", "rocm", "RELEASE.md: 2.9 has ROCm 6.3 and 6.4"),
    ("torch 2.11 vllm 0.19.1", "vllm", "METADATA of vllm 0.19.1: torch==2.10.0"),
    ("torch 2.11 cu128 vllm 0.21.0", "vllm", "ELF needs of the wheels: libcudart.so.13"),
    ("torch 2.14 torchcodec 0.10", "torchcodec", "torchcodec README: 0.10 is for 2.10"),
    ("torch 2.8 torchvision 0.22", "torchvision", "METADATA: 0.22 requires torch 2.7"),
    ("torch 2.14 on CentOS 7", "os", "glibc 2.17 and manylinux_2_28"),
    ("cuda 12.1 gcc 13", "gcc", "CUDA installation guide, host compilers"),
    ("cuda 13.4 gcc 17", "gcc", "crt/host_config.h of nvidia-cuda-crt 13.4"),
    ("torch 2.0.1 cu121", "cuda", "pytorch.org, previous versions: 11.7 and 11.8"),
    ("torch 1.13.1 cu117 on a Tesla T4, driver 418.67", "driver", "CUDA 11 from 450.80.02 on"),
    ("bitsandbytes 0.46.0, torch 2.1.2", "bitsandbytes", "METADATA: torch<3,>=2.2"),
    ("RTX PRO 6000 Blackwell Workstation Edition, torch 2.8 cu126", "gpu", "12.6 ends with 9.0"),
    ("GTX 1060 6GB torch 2.9.1 cu128", "gpu", "CUDAConfig.h of 2.9.1: 7.0 and later"),
    ("python3.9 torch 2.9.0", "python", "PyPI: 2.9.0 needs Python 3.10"),
    ("torch 2.5.1 cp313t", "python", "PyPI: 2.5.1 has cp313, and no cp313t"),
    ("torch 2.4.1 with cuDNN 8.9.7", "cudnn", "METADATA: nvidia-cudnn-cu12 9.1.0.70"),
    ("torch 1.12.1 numpy 2.0.2", "numpy", "torch before 2.3 was compiled for numpy 1"),
    ("torch 2.4.0 numpy 2.1 on Windows", "numpy", "pytorch#131668: from 2.4.1 on"),
    ("vLLM v0.11.0 on torch 2.9", "vllm", "METADATA of vllm 0.11.0: torch==2.8.0"),
    ("CUDA 12.6 with gcc 14", "gcc", "CUDA 12.6 installation guide: up to gcc 13"),
    ("Amazon Linux 2 torch 2.7", "os", "glibc 2.26 and manylinux_2_28"),
    ("torch 2.6 on WSL2 with driver 526.86 cu124", "driver", "Windows: CUDA 12 from 528.33 on"),
    ("torch 2.3 on an Intel MacBook", "platform", "PyPI: 2.2.2 is the last there"),
    ("torchvision 0.29.1 torch 2.13", "torchvision", "METADATA: torch>=2.14.0"),
    ("tesla k40m torch 1.12.1 cu113", "gpu", "builder@049415d4: 3.7 is the lowest"),
    ("Quadro P2000, driver 595.45, torch 2.14 cu126", "driver", "R580 is the last for Pascal"),
]
UNKNOWN = [
    ("torch==1.7.1 cuda==11.0", "torch", "older than my data"),
    ("torch==1.7.1 cuda==11.0", "cuda", "not in my data"),
    ("torch 2.99 cu140", "torch", "newer than my data"),
    ("torch 2.15 cuda 13.0", "cuda", "no source confirms"),
    ("torch 2.5.0 cu124 aarch64", "cuda", "for Arm"),
    ("tensorflow 2.15 cuda 12.2", "cuda", "tensorflow 2.15"),
    ("Jetson Orin torch 2.8", "gpu", "JetPack"),
    ("torch 2.8 MI300X", "gpu", "a GPU of AMD"),
    ("torch 2.12.1 cu129 H100", "gpu", "no source in my data lists the GPUs"),
    ("torch 2.6 vllm 0.99", "vllm", "not in my data"),
    ("torch 2.8.0.dev20250601 cu128", "torch", "no stable release"),
    ("torch 2.10.0a0+b558c986e8.nv25.11", "torch", "no stable release"),
    ("torch>=2.99", "torch", "newer than my data"),
    ("torch<1.8 cu101", "torch", "older than my data"),
    ("torchaudio 2.11.0 with torch 2.15.0", "torchaudio", "requires no particular torch"),
    ("torch 2.6 numpy 2.1 on a MacBook M2", "numpy", "not in my data"),
    ("torch 2.13 cu129 on Windows", "cuda", "no source says so of Windows"),
    ("torch 2.8 on Windows arm64", "platform", "Windows on Arm"),
    ("torch 2.6 on Alpine 3.20", "os", "not in my data"),
]


@pytest.mark.parametrize(("claim", "source"), TRUE)
def test_what_was_published(claim: str, source: str) -> None:
    found = _fit(claim)
    assert found.unread == ()
    assert found.fits, [part for part in found.parts if not part.ok]


@pytest.mark.parametrize(("claim", "wrong", "source"), FALSE)
def test_what_was_not(claim: str, wrong: str, source: str) -> None:
    found = _fit(claim)
    assert found.unread == ()
    assert not found.fits
    assert wrong in [part.name for part in found.parts if part.ok is False]


@pytest.mark.parametrize(("claim", "unknown", "said"), UNKNOWN)
def test_unknown_is_never_no(claim: str, unknown: str, said: str) -> None:
    found = _fit(claim)
    part = next(one for one in found.parts if one.name == unknown)
    assert part.ok is None
    assert said in part.reason
    assert not part.source, "nothing is cited for what is not known"
    assert not any(one.ok is False for one in found.parts)


def test_there_are_sixty() -> None:
    claims = {claim for claim, *_ in (*TRUE, *FALSE, *UNKNOWN)}
    assert len(claims) >= 60


def test_words_that_are_not_understood_are_named() -> None:
    found = _fit("torch 2.6 cu124 frobnicated on a Zorb")
    assert found.unread == ("frobnicated", "Zorb")
    assert not found.fits, "it cannot be told whether all of the claim is true"
    text = render_fit(found, 80)
    assert "published, as far as it was understood" in text
    assert "not understood, and not judged: frobnicated, Zorb" in text


@pytest.mark.parametrize(
    ("claim", "unread"),
    [
        ("RTX 3090 and GTX 1080 torch 2.11 cu128", "GTX 1080"),
        ("torch 2.6 and torch 2.7 cu126", "torch 2.7"),
        ("torch 2.6 Pro", "Pro"),
        ("torch 2.6 or 8.6", "8.6"),
        ("torch 2.6 driver >= 550", ">=550"),
    ],
)
def test_what_is_not_judged_is_named(claim: str, unread: str) -> None:
    """One GPU and one torch are judged; neither a bare number nor a series is a GPU."""
    found = _fit(claim)
    assert unread in found.unread
    assert not found.fits
    assert all(part.ok for part in found.parts)


def test_a_free_word_never_becomes_a_part_of_a_version() -> None:
    reading = parse_claims("torch 2.6 cu124 python 3.11 gpu RTX 4090 driver 550", KNOWLEDGE)
    assert [(one.name, one.value) for one in reading.claims] == [
        ("torch", "2.6"),
        ("cuda", "12.4"),
        ("python", "3.11"),
        ("gpu", "RTX 4090"),
        ("driver", "550"),
    ]


def test_the_nearest_is_for_the_same_host() -> None:
    """A GB10 is in an Arm machine: no wheel for x86_64 helps it."""
    found = _fit("GB10 torch 2.6 cu126")
    assert not found.fits
    assert ("2.7.0", "cu128") in {(one.torch, one.variant) for one in found.nearest} or (
        found.nearest[0].torch >= "2.7"
    )
    for one in found.nearest:
        assert KNOWLEDGE.variant(one.torch, one.variant, "aarch64")


def test_sources_are_whole() -> None:
    text = render_fit(_fit("torch 2.6 cu124"), 80)
    assert text.count("(") == text.count(")")


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (
            "torch 2.9 cu130 on RTX 3090 with driver 550",
            "published, but does not run with that driver",
        ),
        ("torch 2.9 cu130 on V100", "published, but does not run with that gpu"),
        ("torch 2.6.0 cuda 12.1", "not published in this combination"),
    ],
)
def test_the_first_line_tells_what_was_published_from_what_runs_here(
    claim: str, verdict: str
) -> None:
    assert render_fit(_fit(claim), 100).splitlines()[0].endswith(f": {verdict}")
