"""The rules of drivers, architectures and names, as tables from published documents."""

import pytest

from envdoctor.knowledge import Knowledge, WheelTarget, load
from envdoctor.knowledge.arch import covers
from envdoctor.knowledge.drivers import (
    cudnn_serves,
    driver_runs,
    driver_serves,
    may_use_forward_compat,
    release_key,
)


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def _flags(knowledge: Knowledge, version: str, tag: str) -> tuple[str, ...]:
    variant = knowledge.variant(version, tag)
    assert variant is not None
    assert variant.arch_flags is not None
    return variant.arch_flags


# --- named traps ---


def test_driver_535_runs_cu126_by_minor_version_compatibility(knowledge: Knowledge) -> None:
    assert driver_runs("535.183.01", "12.6", knowledge) is True


def test_driver_470_runs_cu118(knowledge: Knowledge) -> None:
    assert driver_runs("470.82.01", "11.8", knowledge) is True


def test_driver_570_is_too_old_for_cu130(knowledge: Knowledge) -> None:
    assert driver_runs("570.124.06", "13.0", knowledge) is False


def test_sm_120_needs_cu128_or_later(knowledge: Knowledge) -> None:
    for release in knowledge.releases:
        for variant in release.variants:
            if variant.arch_flags and covers(variant.arch_flags, "12.0"):
                assert variant.cuda is not None
                assert tuple(map(int, variant.cuda.split("."))) >= (12, 8)
    assert covers(_flags(knowledge, "2.7.0", "cu128"), "12.0")
    assert not covers(_flags(knowledge, "2.7.0", "cu126"), "12.0")


def test_sm_70_left_the_cu13_builds(knowledge: Knowledge) -> None:
    for release in knowledge.releases:
        for variant in release.variants:
            if variant.cuda and variant.cuda.startswith("13") and variant.arch_flags:
                assert not covers(variant.arch_flags, "7.0"), (release.version, variant.tag)


def test_sm_70_came_back_in_2_8_to_2_10_cu128(knowledge: Knowledge) -> None:
    has = {
        version: covers(_flags(knowledge, version, "cu128"), "7.0")
        for version in ("2.7.1", "2.8.0", "2.9.1", "2.10.0", "2.11.0")
    }
    assert has == {"2.7.1": False, "2.8.0": True, "2.9.1": True, "2.10.0": True, "2.11.0": False}


def test_driver_525_is_too_old_for_torch_2_15(knowledge: Knowledge) -> None:
    release = knowledge.release("2.15.0")
    assert release is not None
    for variant in release.variants:
        if variant.cuda:
            assert driver_runs("525.147.05", variant.cuda, knowledge) is False


def test_python_3_13_has_no_torch_2_4(knowledge: Knowledge) -> None:
    assert "3.13" not in knowledge.wheels.pythons("torch", "2.4.1", WheelTarget())
    assert "3.13" in knowledge.wheels.pythons("torch", "2.5.0", WheelTarget())


def test_a_gtx_1080_cannot_have_driver_590(knowledge: Knowledge) -> None:
    assert driver_serves("590.48.01", "6.1", knowledge) is False
    assert driver_serves("580.95.05", "6.1", knowledge) is True
    assert driver_serves("590.48.01", "7.5", knowledge) is True


# --- tables ---


@pytest.mark.parametrize(
    ("release", "cuda", "runs"),
    [
        ("525.60.13", "12.8", True),
        ("525.60.12", "12.8", False),
        ("520.61.05", "12.1", False),
        ("450.80.02", "11.8", True),
        ("450.51.06", "11.8", False),
        ("450.51.06", "11.0", True),
        ("440.33.01", "10.2", True),
        ("430.40", "10.2", False),
        ("580.65.06", "13.2", True),
        ("580", "13.0", True),
        ("575.57.08", "13.0", False),
        ("610.10", "11.8", True),
        ("610.10", "10.2", True),
        ("535.05", "99.0", None),
        ("not a driver", "12.1", None),
    ],
)
def test_driver_runs(knowledge: Knowledge, release: str, cuda: str, runs: bool | None) -> None:
    assert driver_runs(release, cuda, knowledge) is runs


def test_under_wsl_the_windows_floor_counts(knowledge: Knowledge) -> None:
    assert driver_runs("527.41", "12.1", knowledge) is True
    assert driver_runs("527.41", "12.1", knowledge, os="windows") is False
    assert driver_runs("528.33", "12.1", knowledge, os="windows") is True


def test_driver_releases_compare_as_numbers() -> None:
    assert (release_key("570.124.06") or ()) > (release_key("570.26") or ())
    assert release_key("535.183.01") == (535, 183, 1)
    assert release_key("N/A") is None


@pytest.mark.parametrize(
    ("flags", "device", "runs"),
    [
        (("sm_80",), "8.6", True),
        (("sm_86",), "8.0", False),
        (("sm_80",), "9.0", False),
        (("sm_90a",), "9.0", True),
        (("sm_100a",), "10.3", False),
        (("sm_100f",), "10.3", True),
        (("sm_120",), "12.1", True),
        (("compute_80",), "9.0", True),
        (("compute_80",), "8.0", True),
        (("compute_80",), "7.5", False),
        (("compute_90a",), "10.0", False),
        (("compute_100f",), "12.0", False),
        (("compute_120",), "13.0", True),
        (("sm_37",), "3.7", True),
        (("sm_37",), "3.5", False),
        (("gfx90a",), "9.0", False),
        ((), "9.0", False),
    ],
)
def test_covers(flags: tuple[str, ...], device: str, runs: bool) -> None:
    assert covers(flags, device) is runs


@pytest.mark.parametrize(
    ("flags", "device", "torch", "cuda", "runs"),
    [
        (("sm_80",), "8.7", "2.13.0", "13.2", False),
        (("sm_80",), "8.7", "2.14.0", "13.0", False),
        (("sm_80",), "8.7", "2.14.0", "13.2", True),
        (("sm_86",), "8.7", "2.15.0", "13.2", True),
        (("sm_70",), "7.2", "2.14.0", "13.2", True),
        (("sm_50",), "5.3", "2.15.0", "13.2", False),
        (("sm_110",), "10.1", "2.13.0", "13.0", False),
        (("sm_110",), "10.1", "2.14.0", "13.0", True),
        (("sm_101",), "11.0", "2.11.0", "13.0", True),
        (("sm_100",), "10.1", "2.15.0", "13.2", False),
    ],
)
def test_systems_on_a_chip(
    flags: tuple[str, ...], device: str, torch: str, cuda: str, runs: bool
) -> None:
    assert covers(flags, device, torch=torch, cuda=cuda) is runs


def test_a_compute_capability_must_be_one() -> None:
    with pytest.raises(ValueError, match="no compute capability"):
        covers(("sm_80",), "eight")


@pytest.mark.parametrize(
    ("name", "gigabytes", "model"),
    [
        ("NVIDIA A100-SXM4-40GB", None, "A100 SXM4 40 GB"),
        ("A100-SXM4-80GB", 85.9, "A100 SXM4 80 GB"),
        ("NVIDIA A100 80GB PCIe", None, "A100 PCIe 80 GB"),
        ("NVIDIA H100 80GB HBM3", 85.5, "H100 SXM5 80 GB"),
        ("NVIDIA GeForce RTX 3090", None, "GeForce RTX 3090"),
        ("NVIDIA GeForce RTX 4060 Ti", None, None),
        ("NVIDIA GeForce RTX 4060 Ti", 17.2, "GeForce RTX 4060 Ti 16 GB"),
        ("NVIDIA GeForce RTX 3060", 8.6, None),
        ("NVIDIA GeForce RTX 3060 8GB", None, None),
        ("NVIDIA GeForce RTX 3080", 12.9, "GeForce RTX 3080 12 GB"),
        ("NVIDIA GeForce RTX 3090 Laptop GPU", None, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 5.1, None),
        ("GeForce GTX 1060 6GB", None, "GeForce GTX 1060 6 GB"),
        ("NVIDIA TITAN X (Pascal)", None, "TITAN X Pascal"),
        ("NVIDIA RTX 6000 Ada Generation", None, "RTX 6000 Ada Generation"),
        ("NVIDIA L4", 24.2, "L4"),
        ("NVIDIA L40S", None, "L40S"),
        ("Matrox G200", None, None),
        ("", None, None),
    ],
)
def test_names_as_nvidia_smi_prints_them(
    knowledge: Knowledge, name: str, gigabytes: float | None, model: str | None
) -> None:
    memory = None if gigabytes is None else int(gigabytes * 1e9)
    found = knowledge.gpu(name, memory)
    assert (found and found.model) == model


@pytest.mark.parametrize(
    ("version", "known", "newer"),
    [
        ("2.6.0+cu124", True, False),
        ("2.6", True, False),
        ("2.15.0", True, False),
        ("2.15.0+cu132", True, False),
        ("2.15.1", False, True),
        ("2.16.0.dev20261120+cu132", False, True),
        ("2.6.0a0+git1234", False, False),
        ("1.7.1", False, False),
        ("a nightly", False, False),
    ],
)
def test_versions(knowledge: Knowledge, version: str, known: bool, newer: bool) -> None:
    assert (knowledge.release(version) is not None) is known
    assert knowledge.is_newer_than_data(version) is newer


@pytest.mark.parametrize(
    ("torch", "os", "fits"),
    [
        ("2.2.2", "linux", False),
        ("2.3.0", "linux", True),
        ("2.3.1", "windows", False),
        ("2.4.1", "windows", True),
        ("2.4.1", "macos", None),
        ("1.13.1+cu117", "windows", False),
    ],
)
def test_numpy_2(knowledge: Knowledge, torch: str, os: str, fits: bool | None) -> None:
    assert knowledge.fits_numpy_2(torch, os) is fits


@pytest.mark.parametrize(
    ("version", "capability", "serves"),
    [
        ("9.10.2.21", "7.0", True),
        ("9.11.0.98", "7.0", False),
        ("9.19.0.56", "6.1", False),
        ("9.19.0.56", "7.5", True),
        ("8.9.2.26", "5.2", True),
        ("unknown", "7.0", None),
    ],
)
def test_the_last_cudnn_for_old_gpus(
    knowledge: Knowledge, version: str, capability: str, serves: bool | None
) -> None:
    assert cudnn_serves(version, capability, knowledge) is serves


def test_no_published_build_pins_a_cudnn_without_its_gpus(knowledge: Knowledge) -> None:
    for release in knowledge.releases:
        for variant in release.variants:
            if variant.cudnn and variant.arch_flags and covers(variant.arch_flags, "7.0"):
                assert cudnn_serves(variant.cudnn, "7.0", knowledge), (release.version, variant.tag)


@pytest.mark.parametrize(
    ("gpu", "may"),
    [
        ("NVIDIA A100-SXM4-40GB", True),
        ("Tesla T4", True),
        ("NVIDIA GeForce RTX 4090", False),
        ("NVIDIA RTX A6000", None),
        ("unheard of", None),
    ],
)
def test_forward_compatibility_is_for_data_center_gpus(
    knowledge: Knowledge, gpu: str, may: bool | None
) -> None:
    assert may_use_forward_compat(gpu, knowledge) is may
