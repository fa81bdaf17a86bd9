"""What the driver itself writes of an error (CUDA_LOG_FILE), from a small real libcuda that a small
torch uses in real children."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.facts import Observed, Reason, Unknown
from envdoctor.facts.machine import CudaInit
from envdoctor.facts.torch import CudaLog, TorchFirstUse
from envdoctor.probes.built_in_stages import FIRST_USE, TORCH_STAGES
from envdoctor.probes.context import context_of
from envdoctor.probes.driver_api import observe_cuda_init
from envdoctor.probes.driver_log import MOST_BYTES, DriverLog, readable
from envdoctor.probes.run import Children
from envdoctor.probes.stage import StageResult
from envdoctor.probes.staging import run_stages
from envdoctor.probes.torch_stages import decode_first_use, decode_log
from tests.driver.fake import TORCH, build_fake
from tests.support.doctor import report_of
from tests.support.patients import Patient, empty_patient, fake_torch

SAID = "[CUDA][E] what the driver says of it"
OF_INIT = f"{SAID}\n[CUDA][E] Returning 803 from cuInit"
OF_USE = f"{SAID}\n[CUDA][E] Returning 700 from cuDevicePrimaryCtxRetain"

Driver = Callable[..., dict[str, str]]


@pytest.fixture
def driver(compiler: str, tmp_path: Path) -> Driver:
    """The variables with which a libcuda of these defines is found."""

    def build(*defines: str) -> dict[str, str]:
        return {
            "LD_LIBRARY_PATH": str(
                build_fake(compiler, tmp_path, "cuda.c", "libcuda.so.1", *defines)
            )
        }

    return build


@pytest.fixture
def target(tmp_path: Path) -> Patient:
    patient = empty_patient(tmp_path / "patient")
    fake_torch(patient, TORCH, version="2.13.0+cu128")
    return patient


def results_of(
    children: Children, target: Patient, env: dict[str, str], limit_s: float = 60.0
) -> dict[str, StageResult]:
    stages = [replace(one, timeout_s=limit_s) if one is FIRST_USE else one for one in TORCH_STAGES]
    run = context_of(children, env={**os.environ, **env}).run
    return run_stages(str(target.python), stages, run=run)


def logs_of(report: dict[str, Any]) -> dict[str, list[str]]:
    """What is shown of the log, by the name of the finding."""
    shown = {
        one["name"]: [it["value"] for it in one["evidence"] if it["source"] == "CUDA_LOG_FILE"]
        for one in report["findings"]
    }
    return {name: values for name, values in shown.items() if values}


def test_an_error_of_the_first_use_comes_with_what_the_driver_wrote(
    driver: Driver, target: Patient
) -> None:
    report = report_of("--python", target.root, env=driver("CONTEXT_STATUS=700"))
    assert report["facts"]["CudaLog"]["value"]["by_stage"] == {"first use": OF_USE}
    assert logs_of(report) == {"first-use-failed": [OF_USE]}


def test_what_cuinit_alone_tells_is_not_told_twice(driver: Driver, target: Patient) -> None:
    report = report_of("--python", target.root, env=driver("INIT_STATUS=803"))
    assert report["facts"]["CudaLog"]["value"]["by_stage"]["torch runtime"] == OF_INIT
    (values,) = logs_of(report).values()
    assert values == [OF_INIT]


def test_a_driver_that_works_writes_nothing(
    children: Children, driver: Driver, target: Patient
) -> None:
    results = results_of(children, target, driver())
    assert results[FIRST_USE.name].data["operations"][-1]["device"] == "cuda:0"
    assert {results[stage.name].log for stage in TORCH_STAGES} == {""}
    assert decode_log(results)[CudaLog].value == CudaLog(by_stage={})  # type: ignore[union-attr]


@pytest.mark.parametrize(("then", "state"), [("abort()", "signal"), ("for (;;) pause()", "hang")])
def test_a_child_that_the_driver_ends_or_holds_leaves_its_log(
    children: Children, driver: Driver, target: Patient, then: str, state: str
) -> None:
    results = results_of(children, target, driver("CONTEXT_STATUS=700", f"THEN={then}"), 1.0)
    assert (results[FIRST_USE.name].state, results[FIRST_USE.name].log) == (state, OF_USE)
    known, unseen = decode_log(results)[CudaLog], decode_first_use(results)[TorchFirstUse]
    assert isinstance(known, Observed)
    assert isinstance(unseen, Unknown)
    assert known.value.of(FIRST_USE.name) == OF_USE
    assert unseen.detail.endswith(f": {SAID}") is (state == "hang")


def test_the_log_of_the_user_is_his(children: Children, driver: Driver, target: Patient) -> None:
    log = target.root / "log"
    env = {**driver("INIT_STATUS=803"), "CUDA_LOG_FILE": str(log)}
    value = observe_cuda_init(context_of(children, env={**os.environ, **env}))[CudaInit].value
    assert (value.code, value.log) == (803, "")
    of_init = log.read_text()
    known = decode_log(results_of(children, target, env))[CudaLog]
    assert isinstance(known, Unknown)
    assert known.reason is Reason.NOT_OBSERVED
    assert log.read_text().count("from cuInit") > of_init.count("from cuInit") == 1


def test_a_driver_that_dies_in_cuinit_says_what_it_wrote_before(
    children: Children, driver: Driver
) -> None:
    env = {**os.environ, **driver("INIT_STATUS=999", "THEN_OF_INIT=abort()")}
    known = observe_cuda_init(context_of(children, env=env))[CudaInit]
    assert isinstance(known, Unknown)
    assert known.detail == f"the probe was ended by SIGABRT: {SAID}"


def test_a_log_without_end_is_ended() -> None:
    with DriverLog() as log, open(log.path, "ab", buffering=0) as written:
        for number in range(3 * MOST_BYTES // 100):
            log.bound()
            try:
                written.write(b"%099d\n" % number)
            except PermissionError:
                break
        else:
            pytest.fail("it was never full")
        lines = log.text().splitlines()
    assert len(lines) == 21
    assert (lines[0], lines[10]) == ("0" * 99, f"[... {number - 20} lines left out ...]")


def test_what_is_written_is_a_text_of_some_lines() -> None:
    line = b"[23:46:34.517][139906188800320][CUDA][E] no such device\n"
    assert readable(line) == "[CUDA][E] no such device"
    assert readable(line + line.replace(b"517", b"518")) == "[CUDA][E] no such device"
    assert readable(b"\xff\x00\n\n" + b"x" * 5000) == "\ufffd\x00\n" + "x" * 300
    assert readable(b"") == ""
