"""What must hold of the shipped data whatever it says."""

import re
from datetime import date

import msgspec
import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envdoctor.knowledge import Knowledge, WheelTarget, load
from envdoctor.knowledge.arch import capability_of, covers
from envdoctor.knowledge.builds import TorchRelease, Variant
from envdoctor.knowledge.drivers import release_key

DATE = re.compile(r"20\d\d-(0[1-9]|1[0-2])(-([0-2]\d|3[01]))?")


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def _records(knowledge: Knowledge) -> list[tuple[str, dict[str, object]]]:
    found: list[tuple[str, dict[str, object]]] = []
    for path in sorted(knowledge.folder.glob("*.json")):
        for name, value in msgspec.json.decode(path.read_bytes()).items():
            values = value if isinstance(value, list) else [value]
            found += [(f"{path.name}:{name}", one) for one in values if isinstance(one, dict)]
    return found


def test_every_record_has_a_source_and_a_retrieval_date_that_is_not_in_the_future(
    knowledge: Knowledge,
) -> None:
    records = _records(knowledge)
    assert len(records) > 600
    for where, record in records:
        assert record.get("source"), (where, record)
        retrieved = str(record["retrieved"])
        assert DATE.fullmatch(retrieved), (where, record)
        assert retrieved <= date.today().isoformat(), (where, record)


def test_every_file_carries_the_same_date(knowledge: Knowledge) -> None:
    files = (knowledge.torch, knowledge.drivers, knowledge.companions_file, knowledge.references)
    assert {file.as_of for file in files} == {knowledge.as_of}
    assert DATE.fullmatch(knowledge.as_of)


def test_sources_name_public_things(knowledge: Knowledge) -> None:
    for path in knowledge.folder.glob("*.json"):
        assert not re.search(r"stored|read_file|\bids? \d{6,}", path.read_text()), path.name


def test_releases_are_ordered_by_version_and_by_date_within_a_minor(knowledge: Knowledge) -> None:
    versions = [Version(release.version) for release in knowledge.releases]
    assert versions == sorted(set(versions))
    dates = [release.date for release in knowledge.releases]
    assert dates == sorted(dates)
    assert max(dates) <= date.today().isoformat()
    assert knowledge.newest_torch == str(versions[-1])


def test_pythons_agree_with_requires_python(knowledge: Knowledge) -> None:
    for release in knowledge.releases:
        allowed = SpecifierSet(release.requires_python)
        for python in knowledge.wheels.pythons("torch", release.version, WheelTarget()):
            assert Version(f"{python}.9") in allowed, (release.version, python)


def _variants(knowledge: Knowledge) -> list[tuple[TorchRelease, Variant]]:
    return [
        (release, variant)
        for release in knowledge.releases
        for variant in (*release.variants, *release.aarch64)
    ]


def test_every_build_has_a_consistent_tag_and_a_driver_floor(knowledge: Knowledge) -> None:
    for release, variant in _variants(knowledge):
        place = f"{release.version}+{variant.tag}"
        if variant.is_cpu:
            assert variant.tag == "cpu", place
            assert variant.arch_flags == (), place
            continue
        assert variant.cuda is not None
        assert variant.tag == "cu" + variant.cuda.replace(".", ""), place
        assert knowledge.driver_floor(variant.cuda) is not None, place
        assert variant.cuda_release is None or variant.cuda_release.startswith(variant.cuda + ".")


def test_the_pypi_build_of_every_release_exists_and_was_read_from_the_wheel(
    knowledge: Knowledge,
) -> None:
    for release in knowledge.releases:
        variant = knowledge.variant(release.version, release.pypi_variant)
        assert variant is not None, release.version
        assert variant.verified, release.version
        if release.pypi_variant_aarch64:
            assert knowledge.variant(release.version, release.pypi_variant_aarch64, "aarch64")


def test_pins_are_specifiers_and_agree_with_the_fields(knowledge: Knowledge) -> None:
    for release, variant in _variants(knowledge):
        for name, specifier in variant.requires.items():
            assert SpecifierSet(specifier) is not None, (release.version, name)
        suffix = f"-cu{(variant.cuda or '').split('.', maxsplit=1)[0]}"
        for field, name in (("cudnn", "nvidia-cudnn"), ("nccl", "nvidia-nccl")):
            pin = variant.requires.get(name + suffix)
            if pin is not None:
                assert pin == f"=={getattr(variant, field)}", (release.version, variant.tag)


def test_architectures_are_named_and_ordered(knowledge: Knowledge) -> None:
    for release, variant in _variants(knowledge):
        if variant.arch_flags is None or variant.is_cpu:
            continue
        capabilities = [capability_of(flag) for flag in variant.arch_flags]
        assert None not in capabilities, (release.version, variant.tag)
        machine = [capability_of(flag) for flag in variant.arch_flags if flag.startswith("sm_")]
        assert machine == sorted(set(machine)), (release.version, variant.tag)


def test_newest_architecture_never_shrinks_from_release_to_release(knowledge: Knowledge) -> None:
    """Old GPUs are dropped over time, the newest target only grows."""
    newest = (0, 0)
    for release in knowledge.releases:
        tops = [
            capability_of(flag) or (0, 0)
            for variant in release.variants
            for flag in variant.arch_flags or ()
        ]
        assert max(tops) >= newest, release.version
        newest = max(tops)


def test_ampere_is_in_every_build_from_cuda_11_1_on(knowledge: Knowledge) -> None:
    for release, variant in _variants(knowledge):
        if variant.cuda and variant.arch_flags and Version(variant.cuda) >= Version("11.1"):
            if variant.machine == "aarch64" and Version(release.version) < Version("2.8"):
                continue  # built for Grace Hopper, and for Blackwell, alone
            assert covers(variant.arch_flags, "8.0"), (release.version, variant.tag)


def test_cudnn_grows_with_the_releases_of_one_variant(knowledge: Knowledge) -> None:
    last: dict[str, Version] = {}
    for _, variant in _variants(knowledge):
        if variant.cudnn is None or variant.machine != "x86_64":
            continue
        version = Version(variant.cudnn)
        assert version >= last.get(variant.tag, version), variant.tag
        last[variant.tag] = version


def test_driver_floors_grow_with_cuda_and_branches_with_their_numbers(
    knowledge: Knowledge,
) -> None:
    floors = sorted(knowledge.drivers.floors, key=lambda floor: release_key(floor.cuda_major) or ())
    linux = [release_key(floor.min_release_linux) or () for floor in floors]
    # The 11.x floor is keyed "11" and the older one of 11.0 "11.0", which sorts after it.
    eleven = [floor.cuda_major for floor in floors].index("11")
    assert linux[eleven + 1] < linux[eleven]
    linux[eleven], linux[eleven + 1] = linux[eleven + 1], linux[eleven]
    assert linux == sorted(linux)
    branches = knowledge.drivers.branches
    assert [int(one.branch) for one in branches] == sorted({int(one.branch) for one in branches})
    cudas = [Version(one.cuda) for one in branches if one.cuda]
    assert cudas == sorted(cudas)


def test_every_release_has_companions_and_each_pairs_with_one_minor(
    knowledge: Knowledge,
) -> None:
    for release in knowledge.releases:
        pair = knowledge.companions(release.version)
        assert pair is not None, release.version
        assert pair.torchvision, release.version
    owners: dict[str, set[str]] = {}
    for pair in knowledge.companions_file.pairs:
        for version in pair.torchvision:
            owners.setdefault(version, set()).add(pair.torch)
    assert all(len(torches) == 1 for torches in owners.values())


def test_gpus_name_the_source_of_each_number(knowledge: Knowledge) -> None:
    for gpu in knowledge.gpus:
        if gpu.memory_bandwidth_gb_s is not None:
            assert gpu.provenance.get("memory_bandwidth_gb_s"), gpu.model
        for rate in (gpu.fp32_tflops, gpu.tf32_tensor_tflops, gpu.bf16_tensor_tflops):
            assert rate is None or rate > 0, gpu.model


def test_references_are_below_the_peak_of_their_gpu(knowledge: Knowledge) -> None:
    """A rate above what the data sheet allows would be a wrong unit or a wrong GPU."""
    models = {gpu.model: gpu for gpu in knowledge.gpus}
    cost = knowledge.resnet50.train_step_gflop_per_image
    checked = 0
    for reference in knowledge.resnet50_references:
        gpu = models.get(reference.gpu)
        rates = [] if gpu is None else [gpu.fp16_tensor_tflops, gpu.fp32_tflops]
        peak = max((rate for rate in rates if rate), default=None)
        if peak is not None:
            checked += 1
            assert reference.images_per_s_per_gpu * cost / 1000 < peak, reference
    assert checked > 50
