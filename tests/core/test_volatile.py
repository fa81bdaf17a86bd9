"""Which fields of facts are volatile, so that two looks at one machine can be compared."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from envdoctor import facts
from envdoctor.api import Gpu, Gpus, Observed
from envdoctor.facts.calibration import Calibration
from envdoctor.probes.context import context_of
from envdoctor.probes.host import read_host
from envdoctor.probes.limits import read_limits
from envdoctor.probes.run import Children
from envdoctor.record import Record, stable
from tests.calibration.synthetic import make_calibration, make_run, make_telemetry
from tests.conftest import require

for module in pkgutil.iter_modules(facts.__path__):
    importlib.import_module(f"{facts.__name__}.{module.name}")

CHANGES_BY_ITSELF = re.compile(
    r"_free_bytes$|_used_bytes$|_available_bytes$|^free_bytes$|temperature|^power_w$|utilization"
    r"|load_average|^seconds$|_pids$|^started_at$|noise|throttle|^sm_clock_mhz$|^images_per_s$"
)


def below(kind: type[Record]) -> Iterator[type[Record]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


RECORDS = sorted(
    {one for one in below(Record) if one.__module__.startswith("envdoctor.facts.")},
    key=lambda one: one.__name__,
)
DERIVED = "envdoctor.facts.assessment"
"""Worked out from the measurements, so that nobody compares it."""


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: one.__name__)
def test_what_is_called_volatile_is_a_field(record: type[Record]) -> None:
    assert record.volatile <= set(record.__struct_fields__)


@pytest.mark.parametrize(
    "record", [one for one in RECORDS if one.__module__ != DERIVED], ids=lambda one: one.__name__
)
def test_what_changes_by_itself_is_called_volatile(record: type[Record]) -> None:
    changing = {name for name in record.__struct_fields__ if CHANGES_BY_ITSELF.search(name)}
    assert changing <= record.volatile


def test_two_looks_at_one_machine_are_equal_but_for_what_is_volatile() -> None:
    shared_memory = Path("/dev/shm")
    require(shared_memory.is_dir(), "a /dev/shm")
    filling = shared_memory / "envdoctor-test-of-volatile-fields"
    context = context_of(Children())
    before = read_host(context), read_limits(context)
    try:
        filling.write_bytes(bytes(4 * 2**20))
        after = read_host(context), read_limits(context)
    finally:
        filling.unlink(missing_ok=True)
    assert before != after
    assert stable(before) == stable(after)


def test_records_in_records_lose_their_volatile_fields_too() -> None:
    def seen(temperature: int, release: float) -> Observed[Gpus]:
        gpu = Gpu(index=0, name="by hand", temperature_c=temperature, power_limit_w=250.0)
        return Observed(value=Gpus(devices=(gpu,)), source="NVML", seconds=release)

    assert stable(seen(40, 0.1)) == stable(seen(80, 0.2))
    (gpu,) = stable(seen(40, 0.1))["value"]["devices"]
    assert gpu["type"] == "Gpu"
    assert gpu["power_limit_w"] == 250.0
    assert not {"temperature_c", "process_pids"} & set(gpu)


def test_two_calibrations_of_one_machine_differ_in_their_figures_alone() -> None:
    def measured(rate: float, limit_w: float = 400.0) -> Calibration:
        telemetry = make_telemetry(temperature_c=int(rate) % 90, power_limit_w=limit_w)
        return make_calibration(make_run(rate, telemetry=telemetry))

    assert stable(measured(2400.0)) == stable(measured(2350.0))
    assert stable(measured(2400.0)) != stable(measured(2400.0, limit_w=250.0))


def test_what_is_stable_is_json_and_the_whole_of_a_record_without_volatile_fields() -> None:
    found = stable({"runs": (make_run(1.0).telemetry, 2), "text": "x"})
    assert found == {"runs": [None, 2], "text": "x"}
