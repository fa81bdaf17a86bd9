"""Claims about combinations: which were published, what is wrong with the others."""

import pytest

from envdoctor.fits import BadClaim, Fit, fit, parse_claims
from envdoctor.knowledge import load

KNOWLEDGE = load()


def _fit(text: str) -> Fit:
    return fit(text, KNOWLEDGE)


def _verdicts(text: str) -> dict[str, bool | None]:
    return {part.name: part.ok for part in _fit(text).parts}


@pytest.mark.parametrize(
    "claim",
    [
        "torch==2.6.0 cuda==12.1 cudnn==8.9",
        "PyTorch v2.6 + CUDA 12.1 + cuDNN 8.9 on Ubuntu 20.04",
    ],
)
def test_the_article_of_torch_2_6_with_cuda_12_1_and_cudnn_8_9(claim: str) -> None:
    """It calls this combination officially verified; it was never published.

    Source: pytorch RELEASE.md and the METADATA of the 2.6.0 wheel: CUDA 11.8, 12.4, 12.6; cuDNN
    9.1.0.70 and 9.5.1.17. The last build for CUDA 12.1 is 2.5.1, and cuDNN 8.9 ended with 2.3.1.
    """
    found = _fit(claim)
    verdicts = {part.name: part.ok for part in found.parts}
    assert not found.fits
    assert verdicts["torch"] is True
    assert verdicts["cuda"] is False
    assert verdicts["cudnn"] is False
    cuda = next(part for part in found.parts if part.name == "cuda")
    assert "11.8, 12.4 and 12.6" in cuda.reason
    assert "2.5.1" in cuda.reason
    assert cuda.source
    nearest = {(one.torch, one.variant, one.cudnn) for one in found.nearest}
    assert nearest == {("2.6.0", "cu124", "9.1.0.70"), ("2.3.1", "cu121", "8.9.2.26")}


def test_the_article_is_right_that_ubuntu_20_04_is_new_enough() -> None:
    part = next(one for one in _fit("torch 2.6 on Ubuntu 20.04").parts if one.name == "os")
    assert part.ok is True
    assert "2.31" in part.reason
    assert "no list of verified systems" in part.reason


@pytest.mark.parametrize(
    "claim",
    [
        "torch==2.6.0 cuda==12.4 cudnn==9.1",
        "torch==2.6.0+cu124",
        "torch==2.3.1 cuda==12.1 cudnn==8.9.2.26 nccl==2.20.5 triton==2.3.1 python==3.12",
        "torch==2.13.0 cuda==12.9.1",
        "torch 2.13, driver 535.183.01, gpu RTX 3090",
        "driver==470.82.01 cuda==11.8",
        "torch==2.8.0 cuda==12.8 gpu==V100",
        "torch==2.6.0 torchvision==0.21.0 torchaudio==2.6.0",
        "torch==2.2.2 numpy==1.26.4",
        "torch==2.7 glibc==2.28",
        "cuda==12.4 gcc==13",
        "torch==2.15.0 gpu=sm_120 driver=580.65.06",
    ],
)
def test_what_was_published_fits(claim: str) -> None:
    found = _fit(claim)
    assert found.fits, found.parts
    assert not found.nearest
    assert all(part.reason for part in found.parts)


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        ("torch==2.13.0 cuda==13.0 driver==570.124.06", "driver"),
        ("torch==2.11.0 cuda==12.8 gpu==V100", "gpu"),
        ("torch==2.6 gpu==RTX 5090", "gpu"),
        ("gpu==GTX 1080 driver==590.48", "driver"),
        ("cuda==12.7", "cuda"),
        ("torch==2.6.0+cu126 glibc==2.17", "glibc"),
        ("torch==2.14 os==CentOS 7", "os"),
        ("torch==2.4 python==3.13", "python"),
        ("torch==2.5.1 torchvision==0.21.0", "torchvision"),
        ("torch==2.2 numpy==2.0", "numpy"),
        ("torch==2.6.0 cuda==12.4 nccl==2.26", "nccl"),
        ("torch==2.6.0 triton==3.1.0", "triton"),
        ("torch==2.6.1", "torch"),
        ("torch==2.8.0 torchtext==0.18.0", "torchtext"),
        ("cuda==12.1 gcc==13", "gcc"),
    ],
)
def test_the_part_that_is_wrong_is_named(claim: str, wrong: str) -> None:
    found = _fit(claim)
    assert not found.fits
    assert [part.name for part in found.parts if part.ok is False] == [wrong]


def test_the_nearest_works_with_what_cannot_be_chosen() -> None:
    found = _fit("gpu=V100 torch==2.11.0 cuda==12.8")
    assert {(one.torch, one.variant) for one in found.nearest} == {
        ("2.11.0", "cu126"),
        ("2.10.0", "cu128"),
    }
    assert [(one.torch, one.variant) for one in _fit("torch==2.4 python==3.13").nearest] == [
        ("2.5.1", "cu124")
    ]
    assert _fit("gpu==GTX 1080 driver==590.48").nearest == ()


@pytest.mark.parametrize(
    ("claim", "unknown"),
    [
        ("torch==2.99.0", "torch"),
        ("torch==2.13.0 cuda==12.9 nccl==2.28", "nccl"),
        ("torch==2.6 gpu==Voodoo2", "gpu"),
        ("torch==2.6 os==Plan 9", "os"),
        ("torch==1.12.1 cuda==11.3 gcc==9", "gcc"),
    ],
)
def test_what_the_data_does_not_say_is_neither_right_nor_wrong(claim: str, unknown: str) -> None:
    assert _verdicts(claim)[unknown] is None
    assert not _fit(claim).fits


@pytest.mark.parametrize(
    ("claim", "as_in"),
    [
        ("torch==2.6.0 glibc==2.\u0663\u0665", "torch==2.6.0 glibc==2.35"),
        ("torch==\uff12.\uff16 cuda==12.\u0664", "torch==2.6 cuda==12.4"),
    ],
)
def test_digits_of_other_scripts_are_digits(claim: str, as_in: str) -> None:
    assert _verdicts(claim) == _verdicts(as_in)


def test_numbers_that_are_no_compute_capability() -> None:
    for claim in ("torch==2.6 gpu==45503.4", "torch==2.6 sm_45503.4", "torch==2.6 X 455.4"):
        assert _verdicts(claim).get("gpu") is None, claim


def test_an_rtx_name_and_a_compute_capability_mean_the_same() -> None:
    for name in ("RTX 3090", "NVIDIA GeForce RTX 3090", "8.6", "sm_86"):
        part = _fit(f"torch==2.6 gpu=={name}").parts[1]
        assert (part.ok, "sm_86" in part.reason) == (True, True), name


@pytest.mark.parametrize(
    "text", ["", "nothing here", "torch==abc", "2.6.0", "gcc 9x", "cuda==12." + "9" * 5000]
)
def test_a_claim_without_parts_is_refused(text: str) -> None:
    with pytest.raises(BadClaim):
        parse_claims(text, KNOWLEDGE)


def test_claims_are_read_in_any_common_form() -> None:
    written = parse_claims(
        "PyTorch v2.6.0, CUDA: 12.4; cudnn=9.1 and Python 3.11 with RTX 3090", KNOWLEDGE
    )
    assert written.unread == ()
    assert [(one.name, one.value) for one in written.claims] == [
        ("torch", "2.6.0"),
        ("cuda", "12.4"),
        ("cudnn", "9.1"),
        ("python", "3.11"),
        ("gpu", "RTX 3090"),
    ]
