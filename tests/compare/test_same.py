"""What is no difference: names, places, moments, and what nobody told."""

from pathlib import Path

import pytest

from envdoctor.api import (
    Fact,
    Gpus,
    Nvml,
    Reason,
    Snapshot,
    TorchImport,
    TorchRuntime,
    Unknown,
)
from envdoctor.compare.records import Comparison
from tests.captured import CAPTURED
from tests.compare.test_pairs import OTHER_PLACES, cpu_machine, gpu_machine
from tests.support.cases import CASES
from tests.support.diagnosis import recorded
from tests.support.machines import machine
from tests.support.pairs import another_look, changed, comparison, moved


def told(found: Comparison) -> list[str]:
    return [one.sentence for one in found.differences]


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_a_recorded_machine_is_the_same_as_itself(path: Path) -> None:
    found = comparison(recorded(str(path)), recorded(str(path)))
    assert told(found) == []
    assert found.findings == ()
    assert found.exit_code in (0, 3)
    assert (found.exit_code == 0) is (not any(one.failed for one in found.uncompared))


@pytest.mark.parametrize("name", CASES)
def test_a_broken_machine_is_the_same_as_itself(name: str) -> None:
    found = comparison(CASES[name].snapshot, CASES[name].snapshot)
    assert told(found) == []
    assert found.exit_code in (0, 3)


@pytest.mark.parametrize("healthy", [gpu_machine, cpu_machine])
def test_another_name_other_places_and_another_moment_are_no_difference(healthy) -> None:  # type: ignore[no-untyped-def]
    found = comparison(healthy(), another_look(moved(healthy(), OTHER_PLACES)))
    assert told(found) == []
    assert found.exit_code == 0


def test_an_error_of_nothing_but_blanks_is_none() -> None:
    blank = changed(gpu_machine(), TorchRuntime={"cudnn_error": "\n"})
    assert told(comparison(gpu_machine(), blank)) == []


def test_a_folder_in_each_environment_is_the_same_folder() -> None:
    inside = "/venv/lib/python3.11/site-packages/nvidia/cudnn/lib:/home/user/lib"
    first = changed(machine(), Environment={"variables": {"LD_LIBRARY_PATH": inside}})
    assert told(comparison(first, moved(first, OTHER_PLACES))) == []


def test_the_ranks_of_a_job_and_its_address_are_no_difference() -> None:
    first, second = (
        changed(machine(), Environment={"variables": {"RANK": rank, "MASTER_ADDR": address}})
        for rank, address in (("0", "10.0.0.1"), ("7", "10.0.0.2"))
    )
    assert told(comparison(first, second)) == []


def test_a_gpu_by_another_uuid_is_the_same_grant() -> None:
    first, second = (
        changed(machine(), Environment={"variables": {"NVIDIA_VISIBLE_DEVICES": f"GPU-{uuid}"}})
        for uuid in ("11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555")
    )
    assert told(comparison(first, second)) == []


def test_a_library_of_the_system_lies_where_its_distribution_keeps_it() -> None:
    first = gpu_machine()
    second = moved(first, {"/usr/lib/x86_64-linux-gnu/libc.so.6": "/lib64/libc.so.6"})
    assert told(comparison(first, second)) == []


def test_a_little_more_memory_is_the_same_machine() -> None:
    first, second = (
        changed(machine(), Limits={"cgroup_memory_bytes": size, "shm_bytes": size})
        for size in (64_000_000_000, 65_000_000_000)
    )
    assert told(comparison(first, second)) == []


# --- what nobody told is no difference ---


def test_nothing_is_compared_with_what_nobody_saw() -> None:
    empty = Snapshot({})
    found = comparison(machine(), empty)
    assert told(found) == []
    assert found.exit_code == 3
    assert {one.part for one in found.uncompared} >= {"torch", "python", "packages", "system"}


@pytest.mark.parametrize(
    ("reason", "exit_code"),
    [(Reason.TIMED_OUT, 3), (Reason.CRASHED, 3), (Reason.SWITCHED_OFF, 0)],
)
def test_a_look_that_failed_leaves_it_open(reason: Reason, exit_code: int) -> None:
    why = Unknown(reason=reason, detail="20 s")
    unseen = changed(machine(), (Gpus, why), (Nvml, why))
    found = comparison(machine(), unseen)
    assert told(found) == []
    assert found.exit_code == exit_code


def test_what_one_side_alone_tells_is_named_as_not_compared() -> None:
    why = Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
    static = changed(machine(), (TorchImport, why), (TorchRuntime, why))
    found = comparison(machine(), static)
    assert found.uncompared[0].part == "outcome"
    assert found.uncompared[0].reason == "the look was switched off in B"


def test_a_difference_is_told_beside_what_could_not_be_seen() -> None:
    why = Unknown(reason=Reason.TIMED_OUT, detail="20 s")
    other = changed(machine(), (Gpus, why), Host={"glibc": "2.28"})
    found = comparison(machine(), other)
    assert told(found) == ["glibc 2.35 in A, 2.28 in B"]
    assert found.exit_code == 1
    assert [one.part for one in found.uncompared if one.failed] == ["gpus"]


class Coolant(Fact):
    """A fact of a plugin, of which the program knows nothing."""

    volatile = frozenset({"temperature_c"})

    pump: str
    temperature_c: float


def test_a_fact_of_a_plugin_is_compared_field_by_field() -> None:
    first, second, later = (
        changed(machine(), Coolant(pump=pump, temperature_c=degrees))
        for pump, degrees in (("on", 20.0), ("off", 20.0), ("on", 90.0))
    )
    assert told(comparison(first, second)) == ["`Coolant.pump`: on in A, off in B"]
    assert told(comparison(first, later)) == []
