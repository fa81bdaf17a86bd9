"""What is wanted of torch here, by which sign, and what was seen of it."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.api import (
    CompanionImport,
    CompanionImports,
    Container,
    CudaInit,
    Distributions,
    Driver,
    Environment,
    Expectation,
    Fact,
    FirstUse,
    Gpus,
    Known,
    Nvml,
    Observed,
    PciDevice,
    PciGpus,
    Reason,
    Snapshot,
    TorchBuild,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
    Unknown,
)
from envdoctor.derived import CORE_DERIVATIONS
from envdoctor.engine import derive_facts
from envdoctor.facts.derived import Wanted
from envdoctor.knowledge import Knowledge, load
from envdoctor.outcomes import Outcome, outcomes_of
from tests.support.machines import HEALTHY, distribution, machine

SERVICES: Mapping[type, object] = {Knowledge: load()}
GPU_NODES = ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")
NO_BUS = PciGpus(devices=())
NO_NVML = Nvml(status="NVML_ERROR_LIBRARY_NOT_FOUND")
NO_DRIVER = Driver(loaded=False, release=None)
NO_CUDA = CudaInit(status="libcuda-missing", message="cannot open")
NO_GPUS = (Gpus, Unknown(reason=Reason.NOT_APPLICABLE, detail="NVML: no library"))
CPU_BUILD = {"version": "2.6.0+cpu", "cuda": None, "variant": "cpu"}
BLIND = {"cuda_available": False, "device_count": 0, "devices": ()}
RADEON = PciGpus(
    devices=(
        PciDevice(address="0000:03:00.0", vendor_id="1002", device_id="744c", driver="amdgpu"),
    )
)
VFIO = PciGpus(
    devices=(
        PciDevice(address="0000:03:00.0", vendor_id="10de", device_id="20b2", driver="vfio-pci"),
    )
)
DOCKER = Container(kind="docker", evidence="/.dockerenv")


def derived(snapshot: Snapshot) -> Snapshot:
    return derive_facts(CORE_DERIVATIONS, snapshot, SERVICES)


def without(*kinds: type[Fact], reason: Reason = Reason.NOT_OBSERVED) -> list[Any]:
    return [(kind, Unknown(reason=reason, detail="")) for kind in kinds]


def bare(*changes: Any, **fields: Any) -> Snapshot:
    """A machine with a CUDA build of torch and no GPU."""
    runtime = {**BLIND, **fields.pop("TorchRuntime", {})}
    return machine(
        NO_BUS,
        NO_NVML,
        NO_DRIVER,
        NO_GPUS,
        NO_CUDA,
        *changes,
        **{"TorchRuntime": runtime, **fields},
    )


def variables(**values: str) -> Environment:
    return Environment(variables=values)


OF_CPU = {"TorchBuild": CPU_BUILD, "TorchRuntime": {**BLIND, "cuda": None, "version": "2.6.0+cpu"}}
OF_ROCM = {
    "TorchBuild": {"version": "2.6.0+rocm6.2", "cuda": None, "hip": "6.2", "variant": "rocm6.2"},
    "TorchRuntime": {**BLIND, "cuda": None, "hip": "6.2", "version": "2.6.0+rocm6.2"},
}


# --- what is wanted ---


@pytest.mark.parametrize(
    ("snapshot", "gpu", "because"),
    [
        pytest.param(machine(), "yes", "a GPU is here", id="a GPU"),
        pytest.param(machine(**OF_CPU), "yes", "a GPU is here", id="a GPU and a CPU build"),
        pytest.param(bare(), "elsewhere", "build for GPUs", id="an image that is built"),
        pytest.param(bare(**OF_CPU), "no", "build for the CPU", id="a CPU machine"),
        pytest.param(
            bare(Expectation(device="gpu", evidence="--expect")), "yes", "--expect", id="expected"
        ),
        pytest.param(
            machine(Expectation(device="cpu", evidence="--expect")), "no", "--expect", id="unwanted"
        ),
        pytest.param(
            machine(
                variables(CUDA_VISIBLE_DEVICES=""), Expectation(device="gpu", evidence="--expect")
            ),
            "yes",
            "--expect",
            id="expected although hidden",
        ),
        pytest.param(
            machine(variables(CUDA_VISIBLE_DEVICES="")),
            "no",
            "CUDA_VISIBLE_DEVICES is ``",
            id="hidden on purpose",
        ),
        pytest.param(
            machine(variables(CUDA_VISIBLE_DEVICES="-1")),
            "no",
            "CUDA_VISIBLE_DEVICES is `-1`",
            id="hidden on purpose by an index",
        ),
        pytest.param(
            machine(variables(CUDA_VISIBLE_DEVICES="7")), "yes", "a GPU is here", id="a wrong index"
        ),
        pytest.param(
            machine(variables(HIP_VISIBLE_DEVICES="", ROCR_VISIBLE_DEVICES="")),
            "yes",
            "a GPU is here",
            id="variables that a CUDA build does not read",
        ),
        pytest.param(
            bare(RADEON, variables(HIP_VISIBLE_DEVICES="-1"), **OF_ROCM),
            "no",
            "HIP_VISIBLE_DEVICES is `-1`",
            id="a Radeon that is hidden on purpose",
        ),
        pytest.param(bare(RADEON, **OF_ROCM), "yes", "a GPU is here", id="a Radeon and ROCm"),
        pytest.param(bare(RADEON), "elsewhere", "build for GPUs", id="a Radeon and a CUDA build"),
        pytest.param(bare(RADEON, **OF_CPU), "no", "build for the CPU", id="a Radeon, a CPU build"),
        pytest.param(machine(**OF_ROCM), "yes", "a GPU is here", id="ROCm on an NVIDIA machine"),
        pytest.param(
            bare(
                TorchBuild={"version": "2.6.0+xpu", "cuda": None, "variant": "xpu"},
                TorchRuntime={"cuda": None, "version": "2.6.0+xpu"},
            ),
            "elsewhere",
            "build for GPUs",
            id="a build for Intel's GPUs",
        ),
        pytest.param(
            bare(
                Container(kind="kubernetes", nvidia_visible_devices="void"),
                PciGpus(devices=(VFIO.devices[0],)),
            ),
            "no",
            "NVIDIA_VISIBLE_DEVICES is `void`",
            id="a pod that asked for none",
        ),
        pytest.param(
            bare(DOCKER, variables(NVIDIA_VISIBLE_DEVICES="none")),
            "no",
            "NVIDIA_VISIBLE_DEVICES is `none`",
            id="a container that asked for none",
        ),
        pytest.param(
            machine(Container(kind="docker", nvidia_visible_devices="void")),
            "yes",
            "a GPU is here",
            id="a container that got its GPUs by CDI",
        ),
        pytest.param(
            bare(variables(SLURM_JOB_ID="7"), PciGpus(devices=())),
            "no",
            "Slurm",
            id="a job that asked for none",
        ),
        pytest.param(
            bare(variables(SLURM_JOB_ID="7", SLURM_JOB_GPUS="0")),
            "elsewhere",
            "build for GPUs",
            id="a job that asked for one",
        ),
        pytest.param(
            machine(variables(SLURM_JOB_ID="7")),
            "yes",
            "a GPU is here",
            id="a job on a machine that grants all",
        ),
        pytest.param(
            bare(VFIO), "elsewhere", "build for GPUs", id="the GPU is a virtual machine's"
        ),
        pytest.param(
            machine(DOCKER, NO_NVML, NO_GPUS, NO_DRIVER, **OF_CPU),
            "no",
            "this container was given no GPU",
            id="a container without GPUs and a CPU build",
        ),
        pytest.param(
            machine(DOCKER, NO_DRIVER, **OF_CPU),
            "yes",
            "a GPU is here",
            id="a container without nodes in which NVML lists a GPU",
        ),
        pytest.param(
            machine(DOCKER, NO_NVML, NO_GPUS, NO_DRIVER, TorchRuntime=BLIND),
            "yes",
            "a GPU is here",
            id="a container without GPUs and a CUDA build",
        ),
        pytest.param(
            bare(*without(PciGpus, Gpus, Nvml)), "unknown", "could be asked", id="nobody asked"
        ),
        pytest.param(Snapshot(), "unknown", "could be asked", id="nothing is known"),
        pytest.param(
            bare(*without(TorchBuild, TorchRuntime)), "no", "no GPU", id="no torch and no GPU"
        ),
    ],
)
def test_whether_a_gpu_is_wanted(snapshot: Snapshot, gpu: str, because: str) -> None:
    wanted = derived(snapshot).value(Wanted)
    assert wanted is not None
    assert wanted.gpu == gpu
    assert because in wanted.because


# --- what was seen ---


def outcomes(snapshot: Snapshot) -> dict[str, Outcome]:
    seen = outcomes_of(derived(snapshot))
    assert len({one.id for one in seen}) == len(seen)
    return {one.id: one for one in seen}


def states(snapshot: Snapshot) -> dict[str, str]:
    return {name: one.state for name, one in outcomes(snapshot).items()}


CPU_WORKS = FirstUse(device="cpu", operation="matmul")


def use(device: str, error: str | None = None) -> FirstUse:
    return FirstUse(device=device, operation="matmul", error=error)


def test_a_healthy_machine_imports_and_computes() -> None:
    seen = states(machine())
    assert seen.pop("import:torch") == "works"
    assert {name: seen[name] for name in seen if name.startswith("compute")} == {
        "compute:cpu": "works",
        "compute:gpu:0": "works",
    }


def test_of_nothing_all_is_unseen_and_wanted_all_the_same() -> None:
    seen = outcomes(Snapshot())
    assert set(seen) == {"import:torch", "compute:cpu", "compute:gpu"}
    assert {one.state for one in seen.values()} == {"unseen"}
    assert {one.reason for one in seen.values()} == {Reason.NOT_OBSERVED}
    assert (seen["import:torch"].wanted, seen["compute:gpu"].wanted) == ("yes", "unknown")


@pytest.mark.parametrize("outcome", ["exception", "signal", "exit", "hang"])
def test_an_import_that_ends_otherwise_fails(outcome: str) -> None:
    failed = TorchImport(outcome=outcome, seconds=1.0, message="why")
    seen = outcomes(machine(failed))["import:torch"]
    assert (seen.state, seen.basis, seen.detail) == ("fails", "seen", "why")


@pytest.mark.parametrize("reason", Reason)
def test_what_nobody_could_see_is_unseen_for_that_reason(reason: Reason) -> None:
    why = Unknown(reason=reason, detail="why")
    seen = outcomes(machine((TorchImport, why), (TorchRuntime, why)))
    assert (seen["import:torch"].state, seen["import:torch"].reason) == ("unseen", reason)
    if reason is not Reason.CRASHED:
        gpu = seen["compute:gpu:0"]
        assert (gpu.state, gpu.reason, gpu.detail) == ("unseen", reason, "why")


def test_a_first_cuda_call_that_ends_the_interpreter_fails() -> None:
    crash = Unknown(reason=Reason.CRASHED, detail="the interpreter was ended by SIGSEGV")
    seen = outcomes(machine((TorchRuntime, crash), (TorchFirstUse, crash)))
    assert seen["compute:gpu:0"].state == "fails"
    assert seen["compute:gpu:0"].detail == crash.detail


def test_where_torch_lists_no_gpu_it_is_the_cpu_that_the_interpreter_died_on() -> None:
    crash = Unknown(reason=Reason.CRASHED, detail="the interpreter was ended by SIGILL")
    seen = outcomes(bare((TorchFirstUse, crash), **OF_CPU))
    assert seen["compute:cpu"].state == "fails"
    assert seen["compute:cpu"].detail == crash.detail


def test_where_torch_lists_a_gpu_it_is_the_gpu_that_the_interpreter_died_on() -> None:
    crash = Unknown(reason=Reason.CRASHED, detail="the interpreter was ended by SIGSEGV")
    seen = states(machine((TorchFirstUse, crash)))
    assert (seen["compute:gpu:0"], seen["compute:cpu"]) == ("fails", "unseen")


@pytest.mark.parametrize(
    ("operations", "cpu", "gpu"),
    [
        ((use("cpu"), use("cuda:0")), "works", "works"),
        ((use("cpu"), use("cuda:0", "RuntimeError: no")), "works", "fails"),
        ((use("cpu", "RuntimeError: no"), use("cuda:0")), "fails", "works"),
        ((use("cpu"),), "works", "unseen"),
        ((use("cuda:0"),), "unseen", "works"),
        ((use("cpu"), use("cuda:0"), use("cuda:0", "wrong result")), "works", "fails"),
    ],
)
def test_each_device_is_judged_by_what_was_tried_on_it(
    operations: tuple[FirstUse, ...], cpu: str, gpu: str
) -> None:
    seen = states(machine(TorchFirstUse(operations=operations)))
    assert (seen["compute:cpu"], seen["compute:gpu:0"]) == (cpu, gpu)


def test_a_gpu_that_torch_does_not_list_fails_with_what_torch_says() -> None:
    said = {**BLIND, "cuda_error": "RuntimeError: No CUDA GPUs are available\nmore"}
    seen = outcomes(machine(TorchRuntime=said))["compute:gpu:0"]
    assert (seen.state, seen.detail) == ("fails", "RuntimeError: No CUDA GPUs are available")
    silent = outcomes(machine(TorchRuntime=BLIND))["compute:gpu:0"]
    assert (silent.state, silent.detail) == ("fails", "torch does not list it")


def test_an_expected_gpu_that_nothing_shows_fails() -> None:
    seen = outcomes(bare(Expectation(device="gpu", evidence="--expect")))
    assert seen["compute:gpu"].state == "fails"


@pytest.mark.parametrize("build", [{}, OF_CPU, OF_ROCM])
def test_an_expected_gpu_that_torch_cannot_use_fails_whatever_the_build(
    build: Mapping[str, Any],
) -> None:
    expected = Expectation(device="gpu", evidence="--expect")
    for snapshot in (
        machine(expected, **build or {"TorchRuntime": BLIND}),
        bare(expected, **build),
    ):
        gpus = [one for one in outcomes(snapshot).values() if one.subject.startswith("gpu")]
        assert [(one.state, one.wanted) for one in gpus] == [("fails", "yes")]


def test_apples_gpu_is_there_and_nothing_was_tried_on_it() -> None:
    expected = Expectation(device="gpu", evidence="--expect")
    seen = outcomes(
        bare(expected, TorchBuild=CPU_BUILD, TorchRuntime={"cuda": None, "mps_available": True})
    )
    assert seen["compute:gpu"].state == "unseen"


def test_no_outcome_is_named_where_no_gpu_is_wanted() -> None:
    seen = states(machine(Expectation(device="cpu", evidence="--expect"), TorchRuntime=BLIND))
    assert not [name for name in seen if name.startswith("compute:gpu")]


def test_elsewhere_nothing_is_said_of_the_gpu_but_that_it_is_not_here() -> None:
    seen = outcomes(bare())["compute:gpu"]
    assert (seen.state, seen.wanted, seen.reason) == ("unseen", "elsewhere", Reason.NOT_APPLICABLE)


def two_gpus(*operations: FirstUse) -> Snapshot:
    gpus = next(fact for fact in HEALTHY if isinstance(fact, Gpus)).devices
    runtime = next(fact for fact in HEALTHY if isinstance(fact, TorchRuntime))
    old = {"name": "NVIDIA GeForce GTX 1080 Ti", "compute_capability": "6.1"}
    return machine(
        Gpus(devices=(*gpus, replace(gpus[0], index=1, uuid="GPU-1", **old))),
        TorchFirstUse(operations=(CPU_WORKS, *operations)),
        TorchRuntime={
            "device_count": 2,
            "devices": (*runtime.devices, replace(runtime.devices[0], index=1, **old)),
        },
    )


NO_KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device"


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (None, NO_KERNEL, ("yes", "optional")),
        (NO_KERNEL, None, ("optional", "yes")),
        (NO_KERNEL, NO_KERNEL, ("yes", "yes")),
        (None, "RuntimeError: CUDA error: unspecified launch failure", ("yes", "yes")),
        (None, None, ("yes", "yes")),
    ],
)
def test_beside_a_gpu_that_computes_one_without_kernels_is_a_choice(
    first: str | None, second: str | None, wanted: tuple[str, str]
) -> None:
    seen = outcomes(two_gpus(use("cuda:0", first), use("cuda:1", second)))
    assert (seen["compute:gpu:0"].wanted, seen["compute:gpu:1"].wanted) == wanted


# --- the companions ---


def imports(**named: str) -> CompanionImports:
    return CompanionImports(
        items=tuple(
            CompanionImport(name=name, outcome=outcome, exception="OSError", message="no\nmore")  # type: ignore[arg-type]
            for name, outcome in named.items()
        )
    )


def test_pytorchs_own_libraries_are_wanted_and_others_only_weigh() -> None:
    seen = outcomes(machine(imports(torchvision="exception", xformers="exception")))
    vision, xformers = seen["import:torchvision"], seen["import:xformers"]
    assert (vision.state, vision.wanted, vision.detail) == ("fails", "yes", "OSError: no")
    assert (xformers.state, xformers.wanted) == ("fails", "optional")
    assert states(machine(imports(torchvision="ok")))["import:torchvision"] == "works"


def with_vision(companions: Known) -> Snapshot:
    snapshot = machine()
    installed = snapshot.value(Distributions)
    assert installed is not None
    items = (*installed.items, distribution("torchvision", "0.21.0"))
    return snapshot.with_facts(
        {
            Distributions: Observed(value=Distributions(items=items), source="test"),
            CompanionImports: companions,
        }
    )


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.TIMED_OUT, "unseen"),
        (Reason.CRASHED, "unseen"),
        (Reason.UNDECODABLE, "unseen"),
        (Reason.SWITCHED_OFF, "unseen"),
        (Reason.NOT_OBSERVED, None),
        (Reason.NOT_APPLICABLE, None),
    ],
)
def test_an_installed_library_whose_import_could_not_be_tried_is_unseen(
    reason: Reason, expected: str | None
) -> None:
    """An older file, which knew no such look, is left as whole as it was."""
    seen = states(with_vision(Unknown(reason=reason, detail="why")))
    assert seen.get("import:torchvision") == expected


def test_a_library_that_is_not_installed_is_not_wanted() -> None:
    unseen = Unknown(reason=Reason.TIMED_OUT, detail="why")
    assert "import:torchvision" not in states(machine((CompanionImports, unseen)))
