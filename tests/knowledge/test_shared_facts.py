"""The shipped data agrees with the gathered vendor facts, record by record."""

import json
from pathlib import Path
from typing import Any

import pytest

from envdoctor.knowledge import Knowledge, Variant, load
from envdoctor.knowledge.arch import covers
from envdoctor.knowledge.drivers import driver_runs, release_key


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def _read(shared: Path, name: str) -> Any:
    return json.loads((shared / "knowledge" / f"{name}.json").read_text())


CORRECTED_GPUS = {
    ("A10G", "fp32_tflops"): 35.0,
    ("A10G", "tf32_tensor_tflops"): 35.0,
    ("H20", "memory_gb"): 96.0,
    ("H20", "cc"): "9.0",
    ("Jetson Thor T5000", "fp32_tflops"): None,
}
"""Where a better source was found than the gathered one: A10G's own data sheet, the MIG user guide,
Thor's clock."""
CORRECTED_ARCHITECTURES = {
    ("2.7.0", "cu118", "x86_64"),
    ("2.7.1", "cu118", "x86_64"),
}
"""Unknown when it was gathered; since read in pytorch's CUDA_UPGRADE_GUIDE.MD of May 2025."""


def test_torch_builds(shared: Path, knowledge: Knowledge) -> None:
    gathered = _read(shared, "torch_releases")["releases"]
    assert [row["version"] for row in gathered] == [one.version for one in knowledge.releases]
    for row in gathered:
        release = knowledge.release(row["version"])
        assert release is not None
        assert release.date == row["release_date"]
        assert release.pypi_variant == row["pypi_linux_x86_64"]["variant"]
        cuda_tags = {one.tag for one in release.variants if not one.is_cpu}
        assert cuda_tags == {one["variant"] for one in row["cuda_variants"]}
        for one in row["cuda_variants"]:
            _same_build(knowledge, row, one)


def _same_build(knowledge: Knowledge, row: dict[str, Any], one: dict[str, Any]) -> None:
    place = (row["version"], one["variant"])
    variant = knowledge.variant(*place)
    assert variant is not None, place
    assert (variant.cudnn, variant.nccl) == (one["cudnn"], one["nccl"]), place
    assert variant.verified == one["verified_against_real_wheel"], place
    abi = one["cxx11_abi"]
    assert variant.cxx11_abi == (None if abi is None else bool(abi)), place
    if one["pypi_default"]:
        pins = row["pypi_linux_x86_64"]["requires_dist_gpu"] or {}
        for name, specifier in pins.items():
            assert variant.requires[name.partition("[")[0]] == specifier, place


def test_architectures(shared: Path, knowledge: Knowledge) -> None:
    for row in _read(shared, "torch_arch_list")["records"]:
        variant = knowledge.variant(row["torch"], row["variant"], row["host"])
        assert variant is not None, row
        if row["sm"] is None:
            known = (row["torch"], row["variant"], row["host"]) in CORRECTED_ARCHITECTURES
            assert known == (variant.arch_flags is not None), row
            continue
        assert variant.arch_flags == (*row["sm"], *(row["ptx"] or ())), row
        assert covers(variant.arch_flags, row["min_cc"], torch=row["torch"]), row


def test_device_requirements_of_torch(shared: Path) -> None:
    """Every target of DEVICE_REQUIREMENT, against every device that NVIDIA made."""
    expected = {
        "50": {"5.0", "5.2"},
        "52": {"5.2"},
        "53": {"5.3"},
        "60": {"6.0", "6.1"},
        "61": {"6.1"},
        "62": {"6.2"},
        "70": {"7.0", "7.5"},
        "72": {"7.2"},
        "75": {"7.5"},
        "80": {"8.0", "8.6", "8.9"},
        "86": {"8.6", "8.9"},
        "87": {"8.7"},
        "89": {"8.9"},
        "90": {"9.0"},
        "100": {"10.0", "10.3"},
        "101": {"10.1", "11.0"},
        "103": {"10.3"},
        "110": {"11.0"},
        "120": {"12.0", "12.1"},
        "121": {"12.1"},
    }
    assert expected.keys() == _read(shared, "torch_arch_list")["rules"]["DEVICE_REQUIREMENT"].keys()
    devices = set().union(*expected.values())
    for target, runs_on in expected.items():
        for device in devices:
            said = covers((f"sm_{target}",), device, torch="2.12.0", cuda="13.0")
            assert said == (device in runs_on), (target, device)


def test_driver_floors_agree_with_the_torch_backend_table_of_uv(
    shared: Path, knowledge: Knowledge
) -> None:
    table = _read(shared, "uv_torch_backend")
    for column, field in (("linux_cuda", "linux"), ("windows_cuda", "windows")):
        for row in table[column]:
            digits = row["backend"].removeprefix("cu")
            floor = knowledge.driver_floor(f"{digits[:-1]}.{digits[-1]}")
            assert floor is not None, row
            ours = getattr(floor, f"min_release_{field}")
            assert release_key(ours) == release_key(row["min_driver_printed"]), row


def test_branches_and_limits(shared: Path, knowledge: Knowledge) -> None:
    gathered = _read(shared, "cuda_driver")
    for row in gathered["driver_branches"]:
        branch = knowledge.driver_branch(f"{row['branch']}.10")
        assert branch is not None
        assert branch.cuda == row["nvidia_smi_cuda_version"]
        assert branch.status == row["support_status"]
    # An older copy of NVIDIA's page has August 2028; the editions 615 and 620 have June.
    assert (knowledge.driver_branch("580.65.06") or pytest.fail("x")).end_of_life == "2028-06"
    assert (knowledge.driver_branch("535.54.03") or pytest.fail("unknown")).end_of_life == "2026-06"
    for toolkit in gathered["toolkits"]:
        bundled = toolkit["min_linux_driver_bundled"]
        numbers = toolkit["toolkit"].split(maxsplit=1)[0].split(".")
        cuda = f"{numbers[0]}.{numbers[1]}"
        if bundled:
            assert driver_runs(bundled, cuda, knowledge), toolkit


def test_companions(shared: Path, knowledge: Knowledge) -> None:
    gathered = _read(shared, "companions")
    for row in gathered["pairs"]:
        pair = knowledge.companions(row["torch"])
        assert pair is not None
        for name in ("torchvision", "torchaudio", "torchtext"):
            assert list(getattr(pair, name)) == row[name], row["torch"]
        assert list(pair.triton) == ([row["triton"]] if row["triton"] else [])
    for name, rows in gathered["extensions"].items():
        for row in rows:
            extension = knowledge.extension(name, row["version"])
            assert extension is not None, row
            assert extension.requires_torch == row["torch_requirement"], row


def test_gpus(shared: Path, knowledge: Knowledge) -> None:
    ours = {gpu.model: gpu for gpu in knowledge.gpus}
    for row in _read(shared, "gpus")["gpus"]:
        if not row["source"]:
            assert row["model"] not in ours, "a GPU of which nothing is sourced is left out"
            continue
        gpu = ours[row["model"]]
        assert gpu.compute_capability == CORRECTED_GPUS.get((gpu.model, "cc"), row["cc"])
        for field in ("memory_gb", "memory_bandwidth_gb_s", "fp32_tflops", "tf32_tensor_tflops"):
            expected = CORRECTED_GPUS.get((gpu.model, field), row[field])
            assert getattr(gpu, field) == expected, (gpu.model, field)


def test_resnet50_references(shared: Path, knowledge: Knowledge) -> None:
    gathered = _read(shared, "resnet50_reference")["training"]
    rates = [(one.precision, one.images_per_s_per_gpu) for one in knowledge.resnet50_references]
    assert rates == [(row["precision"], row["images_per_s_per_gpu"]) for row in gathered]


# The facts that were checked in two sources, as the data must have them.
VERIFIED = [
    ("2.6.0", "cu124", {"cudnn": "9.1.0.70", "nccl": "2.21.5", "triton": "3.2.0"}),
    ("2.3.1", "cu121", {"cudnn": "8.9.2.26"}),
    ("2.4.0", "cu121", {"cudnn": "9.1.0.70"}),
    ("2.11.0", "cu130", {"cudnn": "9.19.0.56"}),
    ("2.6.0", "cu118", {"cxx11_abi": False}),
    ("2.6.0", "cu126", {"cxx11_abi": True, "glibc": "2.28", "status": "experimental"}),
    ("2.7.0", "cu126", {"cxx11_abi": True, "glibc": "2.28"}),
    ("2.13.0", "cu129", {"cuda": "12.9"}),
    ("2.14.1", "cu126", {"cudnn": "9.10.2.21"}),
]


@pytest.mark.parametrize(("version", "tag", "facts"), VERIFIED)
def test_verified_facts(
    knowledge: Knowledge, version: str, tag: str, facts: dict[str, object]
) -> None:
    variant = knowledge.variant(version, tag)
    assert isinstance(variant, Variant)
    assert {name: getattr(variant, name) for name in facts} == facts
