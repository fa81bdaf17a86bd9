"""GPUs by their PCI device id: the shipped data, and how it is made again."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from envdoctor.knowledge import Knowledge, load
from envdoctor.knowledge.arch import capability_of, parsed_capability
from envdoctor.knowledge.refresh_chips import devices_of, main, written

KNOWLEDGE = load()
RANGES = KNOWLEDGE.chips_file.devices.ranges
FAMILIES = KNOWLEDGE.chips_file.families
WITHOUT_SOURCE = {"GB102", "GB112", "GB120", "GK11x", "GR100", "GR102", "MCP89"}
"""Chips whose compute capability no source tells."""

PCI_IDS = """\
#
#\tVersion: 2026.10.24
#
10dd  Enhanced Software, Inc.
\t1140  no GPU of NVIDIA
10de  NVIDIA Corporation
# a remark
\t0fb8  GP108 High Definition Audio Controller
\t1140  GF117M [GeForce 610M]
\t\t1019 0799  GeForce 820M
\t1d01  GP108 [GeForce GT 1030]
\t1d02  GP108 [GeForce GT 1010]
\t1d10  GP108M [GeForce MX150]
\t1d11  NVSwitch
\t1d12  GP108M
\t1d81  GV100 [TITAN V]
10df  Emulex Corporation
\t1d10  another vendor's
"""


@pytest.mark.parametrize(
    ("device_id", "chip", "architecture", "capability"),
    [
        ("0008", "NV1", None, None),
        ("0191", "G80", "Tesla", "1.0"),
        ("06c0", "GF100", "Fermi", "2.0"),
        ("1140", "GF117", "Fermi", "2.1"),
        ("0f02", "GF108", "Fermi", "2.1"),
        ("128b", "GK208", "Kepler", "3.5"),
        ("102d", "GK210", "Kepler", "3.7"),
        ("1c8d", "GP107", "Pascal", "6.1"),
        ("1db4", "GV100", "Volta", "7.0"),
        ("20b2", "GA100", "Ampere", "8.0"),
        ("2684", "AD102", "Ada Lovelace", "8.9"),
        ("2342", "GH100", "Hopper", "9.0"),
        ("2941", "GB100", "Blackwell", "10.0"),
        ("3182", "GB110", "Blackwell Ultra", "10.3"),
        ("2b85", "GB202", "Blackwell", "12.0"),
        ("2e12", "GB20B", "Blackwell", "12.1"),
    ],
)
def test_the_chip_of_a_device(
    device_id: str, chip: str, architecture: str | None, capability: str | None
) -> None:
    found = KNOWLEDGE.chip(device_id)
    assert found is not None
    assert (found.chip, found.architecture, found.compute_capability) == (
        chip,
        architecture,
        capability,
    )


def test_a_device_id_is_read_as_sysfs_and_lspci_write_it() -> None:
    assert KNOWLEDGE.chip("0x20B2") == KNOWLEDGE.chip("20b2")
    assert KNOWLEDGE.chip("20b2").name == "A100 SXM4 80GB"  # type: ignore[union-attr]


@pytest.mark.parametrize("device_id", ["ffff", "0000", "", "A100", "1aef"])
def test_what_is_no_gpu_of_nvidia_has_no_chip(device_id: str) -> None:
    assert KNOWLEDGE.chip(device_id) is None


def test_an_id_between_two_of_a_chip_is_that_chip_without_a_name() -> None:
    unlisted = KNOWLEDGE.chip("2686")
    assert unlisted is not None
    assert (unlisted.chip, unlisted.name) == ("AD102", None)


def test_chips_before_cuda_say_so() -> None:
    assert KNOWLEDGE.chip("0040").cuda is False  # type: ignore[union-attr]
    assert KNOWLEDGE.chip("0191").cuda is True  # type: ignore[union-attr]


def test_every_nvidia_gpu_of_the_recorded_machines_is_known(shared: Path) -> None:
    seen = {
        device["device_id"]
        for path in (shared / "cases" / "machines").glob("*.json")
        for device in _pci_devices(json.loads(path.read_text()))
        if device["vendor_id"] == "10de"
    }
    assert len(seen) > 20
    unknown = {one for one in seen if not _capability(one)}
    assert not unknown


def _pci_devices(value: object) -> list[dict[str, str]]:
    """Every PCI device in a recorded machine, wherever its schema keeps them."""
    if isinstance(value, list):
        return [device for one in value for device in _pci_devices(one)]
    if not isinstance(value, dict):
        return []
    if "device_id" in value:
        return [value]
    return _pci_devices(list(value.values()))


def _capability(device_id: str) -> str | None:
    chip = KNOWLEDGE.chip(device_id)
    return chip.compute_capability if chip else None


# --- invariants ---


def test_ranges_are_sorted_and_never_overlap() -> None:
    ends = [(int(one.first, 16), int(one.last, 16)) for one in RANGES]
    assert all(first <= last for first, last in ends)
    assert all(last < first for (_, last), (first, _) in pairwise(ends))


def test_every_name_is_of_an_id_in_a_range() -> None:
    names = KNOWLEDGE.chips_file.devices.names
    assert len(names) > 1000
    assert list(names) == sorted(names)
    assert all(KNOWLEDGE.chip(number) for number in names)


def test_a_chip_is_in_one_family_and_every_chip_but_those_without_a_source_is() -> None:
    chips = [chip for family in FAMILIES for chip in family.chips]
    assert len(chips) == len(set(chips))
    listed = {one.chip for one in RANGES}
    assert listed - set(chips) == WITHOUT_SOURCE
    assert set(chips) <= listed


def test_capability_and_architecture_of_families_are_those_of_the_gpu_models() -> None:
    pairs = {family.compute_capability: family.architecture for family in FAMILIES}
    models = {one.compute_capability: one.architecture for one in KNOWLEDGE.gpus}
    both = pairs.keys() & models.keys() - {None}
    assert len(both) >= 12
    assert {one: pairs[one] for one in both} == {one: models[one] for one in both}


def test_the_file_stays_small() -> None:
    assert (KNOWLEDGE.folder / "pci_chips.json").stat().st_size < 60_000


# --- which torch serves them ---


@pytest.mark.parametrize("capability", ["1.0", "1.3", "2.0", "2.1", "3.0", "3.5"])
def test_no_torch_serves_gpus_older_than_a_k80(capability: str) -> None:
    assert KNOWLEDGE.served_by_some_torch(capability) is False


@pytest.mark.parametrize(
    "capability", ["3.7", "5.0", "6.1", "7.0", "8.0", "8.9", "9.0", "10.3", "11.0", "12.1"]
)
def test_some_torch_serves_every_later_gpu(capability: str) -> None:
    assert KNOWLEDGE.served_by_some_torch(capability) is True


@pytest.mark.parametrize("capability", ["5.3", "6.2", "7.2"])
def test_nobody_knows_all_builds_for_the_old_jetsons(capability: str) -> None:
    """NVIDIA publishes torch for them itself; its builds are not in the data."""
    assert KNOWLEDGE.served_by_some_torch(capability) is None


def test_what_is_no_compute_capability_is_refused() -> None:
    with pytest.raises(ValueError, match="no compute capability"):
        KNOWLEDGE.served_by_some_torch("sm_80")


def test_every_build_in_the_data_respects_the_floor() -> None:
    floor = parsed_capability(KNOWLEDGE.torch.capability_floor.compute_capability)
    targets = {
        capability_of(flag)
        for release in KNOWLEDGE.releases
        for build in (*release.variants, *release.aarch64)
        for flag in build.arch_flags or ()
    }
    assert min(one for one in targets if one) == floor


# --- making it anew ---


def test_a_pci_ids_file_gives_ranges_of_gpus_alone() -> None:
    devices = devices_of(PCI_IDS, "2026-11-26")
    assert [(one.first, one.last, one.chip) for one in devices.ranges] == [
        ("1140", "1140", "GF117"),
        ("1d01", "1d10", "GP108"),
        ("1d12", "1d12", "GP108"),
        ("1d81", "1d81", "GV100"),
    ]
    assert devices.names == {
        "1140": "GeForce 610M",
        "1d01": "GeForce GT 1030",
        "1d02": "GeForce GT 1010",
        "1d10": "GeForce MX150",
        "1d81": "TITAN V",
    }
    assert "2026.10.24" in devices.source


def test_writing_what_was_read_changes_nothing() -> None:
    text = (KNOWLEDGE.folder / "pci_chips.json").read_text(encoding="utf-8")
    assert written(KNOWLEDGE.chips_file) == text


def test_another_file_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (KNOWLEDGE.folder / "pci_chips.json").read_bytes()
    other = tmp_path / "usb.ids"
    other.write_text("03f0  HP, Inc\n")
    assert main([str(other), "--retrieved", "2026-11-26"]) == 2
    assert "no pci.ids file" in capsys.readouterr().err
    assert (Knowledge().folder / "pci_chips.json").read_bytes() == before
