"""One thing is changed in a healthy machine: it is first, whatever else is another there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envdoctor.api import (
    CudaInit,
    DamagedDistribution,
    DamagedFile,
    Distributions,
    Environment,
    FirstUse,
    Gpu,
    Gpus,
    InstalledFiles,
    Interpreter,
    Nvml,
    Reason,
    Snapshot,
    Toolkit,
    Toolkits,
    TorchAbsent,
    TorchFirstUse,
    TorchImport,
    Unknown,
)
from envdoctor.compare.records import Comparison, Difference
from envdoctor.facts.libraries import LibraryResolution, Owner, Problem, ResolvedLibrary
from tests.support.diagnosis import recorded
from tests.support.machines import SITE, distribution, machine
from tests.support.pairs import another_look, changed, comparison, moved

CUDNN = "libcudnn.so.9"
WHEEL = f"{SITE}/nvidia/cudnn/lib/{CUDNN}"


def _library(soname: str, path: str | None, owner: Owner | None, **fields: Any) -> ResolvedLibrary:
    return ResolvedLibrary(soname=soname, path=path, named=path, owner=owner, **fields)


def resolution(*changes: ResolvedLibrary, error: str | None = None) -> LibraryResolution:
    """What torch loads, with some libraries in another way."""
    wheel = Owner(kind="wheel", name="nvidia-cudnn-cu12", version="9.1.0.70")
    by_name = {
        CUDNN: _library(CUDNN, WHEEL, wheel),
        "libc.so.6": _library("libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6", None),
        **{one.soname: one for one in changes},
    }
    return LibraryResolution(
        root=f"{SITE}/torch/_C.so", libraries=tuple(by_name.values()), import_error=error
    )


def gpu_machine() -> Snapshot:
    """The healthy machine of the tests, with its libraries and a torchvision."""
    items = machine().value(Distributions)
    assert items is not None
    with_vision = (*items.items, distribution("torchvision", "0.21.0"))
    return changed(machine(), resolution(), Distributions={"items": with_vision})


def cpu_machine() -> Snapshot:
    """A machine without a GPU as `envdoctor collect` found it."""
    return recorded(str(Path(__file__).parents[1] / "captured" / "healthy-cpu.json"))


# --- the changes ---


@dataclass(frozen=True)
class Change:
    """One thing that is another, and the difference that has to be first."""

    apply: Callable[[Snapshot], Snapshot]
    part: str
    name: str
    of_any_machine: bool = False
    explains: str | None = None


def fields(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: changed(snapshot, **changes)


def facts(*values: Any, **changes: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: changed(snapshot, *values, **changes)


def variable(name: str, value: str) -> Callable[[Snapshot], Snapshot]:
    def apply(snapshot: Snapshot) -> Snapshot:
        environment = snapshot.value(Environment)
        assert environment is not None
        variables = {**environment.variables, name: value}
        return changed(snapshot, Environment={"variables": variables})

    return apply


def package(name: str, version: str | None) -> Callable[[Snapshot], Snapshot]:
    def apply(snapshot: Snapshot) -> Snapshot:
        distributions = snapshot.value(Distributions)
        assert distributions is not None
        items = tuple(
            msgspec.structs.replace(one, version=version) if one.name == name else one
            for one in distributions.items
            if one.name != name or version is not None
        )
        return changed(snapshot, Distributions={"items": items})

    return apply


def on_sys_path(entry: str) -> Callable[[Snapshot], Snapshot]:
    def apply(snapshot: Snapshot) -> Snapshot:
        interpreter = snapshot.value(Interpreter)
        assert interpreter is not None
        return changed(snapshot, Interpreter={"sys_path": (*interpreter.sys_path, entry)})

    return apply


def damage(snapshot: Snapshot) -> Snapshot:
    file = DamagedFile(path="torch/lib/libtorch_cpu.so", kind="missing", expected="1000")
    bad = DamagedDistribution(
        name="torch", version="2.6.0", metadata_path="", files=(file,), damaged_count=1
    )
    failed = {"outcome": "exception", "message": "libtorch_cpu.so: cannot open shared object file"}
    return changed(snapshot, InstalledFiles(damaged=(bad,), checked_files=9), TorchImport=failed)


def other_build(version: str, cuda: str | None, variant: str) -> Callable[[Snapshot], Snapshot]:
    def apply(snapshot: Snapshot) -> Snapshot:
        snapshot = changed(
            snapshot,
            TorchBuild={"version": version, "cuda": cuda, "variant": variant},
            TorchRuntime={"version": version, "cuda": cuda},
            TorchImport={"version": version},
        )
        return package("torch", version.partition("+")[0])(snapshot)

    return apply


NO_CUDA = {"cuda_available": False, "device_count": 0, "devices": (), "cuda_error": "no CUDA"}
CPU_ALONE = TorchFirstUse(operations=(FirstUse(device="cpu", operation="matmul"),))
FAILED = TorchFirstUse(
    operations=(
        FirstUse(device="cpu", operation="matmul"),
        FirstUse(device="cuda:0", operation="matmul", error="RuntimeError: nobody knows"),
    )
)
CARD = Gpu(index=0, name="NVIDIA A100-SXM4-80GB", compute_capability="8.0", memory_bytes=85 << 30)


def _gone(snapshot: Snapshot) -> Snapshot:
    nobody = Unknown(reason=Reason.NOT_APPLICABLE, detail="there is no torch")
    failed = TorchImport(
        outcome="exception",
        seconds=0.1,
        exception="ModuleNotFoundError",
        message="No module named 'torch'",
    )
    kinds = {kind.__name__: kind for kind, _ in snapshot.items()}
    unknown = [(kinds[name], nobody) for name in ("TorchBuild", "TorchRuntime", "TorchFirstUse")]
    gone = TorchAbsent(absent=True, searched=())
    return package("torch", None)(changed(snapshot, failed, gone, *unknown))


CHANGES = {
    # the machine
    "an older driver": Change(
        facts(
            CudaInit(status="CUDA_ERROR_INSUFFICIENT_DRIVER", code=35, driver_cuda="11.4"),
            CPU_ALONE,
            Driver={"release": "470.82.01"},
            Nvml={"driver_release": "470.82.01", "driver_cuda": "11.4"},
            TorchRuntime=NO_CUDA,
        ),
        "driver",
        "driver release",
        explains="driver-too-old",
    ),
    "another driver that runs it too": Change(
        fields(
            Driver={"release": "550.54.14"},
            Nvml={"driver_release": "550.54.14", "driver_cuda": "12.4"},
            CudaInit={"driver_cuda": "12.4", "library": "/usr/lib/libcuda.so.550.54.14"},
        ),
        "driver",
        "driver release",
    ),
    "a driver that is not loaded": Change(
        facts(
            Nvml(status="NVML_ERROR_LIBRARY_NOT_FOUND"),
            CudaInit(status="libcuda-missing"),
            (Gpus, Unknown(reason=Reason.NOT_APPLICABLE, detail="NVML: no library")),
            CPU_ALONE,
            Driver={"loaded": False, "release": None, "modules": (), "device_nodes": ()},
            TorchRuntime=NO_CUDA,
        ),
        "driver",
        "driver loaded",
        explains="driver-not-loaded",
    ),
    "a closed device node": Change(
        facts(
            CudaInit(status="CUDA_ERROR_OPERATING_SYSTEM", code=304),
            CPU_ALONE,
            Driver={"unusable_nodes": ("/dev/nvidia0",)},
            TorchRuntime=NO_CUDA,
        ),
        "driver",
        "unusable_nodes",
        explains="device-permission",
    ),
    "another GPU": Change(
        facts(
            Gpus(devices=(Gpu(index=0, name="Tesla T4", compute_capability="7.5"),)),
        ),
        "gpus",
        "GPUs",
    ),
    "a GPU that takes no work": Change(
        facts(Gpus(devices=(msgspec.structs.replace(CARD, compute_mode="prohibited"),))),
        "gpus",
        "compute_mode",
    ),
    "a container": Change(
        fields(Container={"kind": "podman"}), "container", "kind", of_any_machine=True
    ),
    "a small /dev/shm": Change(
        fields(Limits={"shm_bytes": 64 << 20, "shm_free_bytes": 64 << 20}),
        "system",
        "shm_bytes",
        of_any_machine=True,
    ),
    "an older glibc": Change(
        fields(Host={"glibc": "2.28"}), "system", "glibc", of_any_machine=True
    ),
    "fewer CPUs": Change(
        fields(Limits={"usable_cpus": 1.0}), "system", "usable_cpus", of_any_machine=True
    ),
    "a CUDA toolkit": Change(
        facts(Toolkits(items=(Toolkit(path="/usr/local/cuda", version="11.8", source="x"),))),
        "toolkit",
        "items",
        of_any_machine=True,
    ),
    "cuInit that fails": Change(
        facts(
            CudaInit(status="CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", code=803),
            CPU_ALONE,
            TorchRuntime=NO_CUDA,
        ),
        "outcome",
        "cuInit status",
        explains="driver-lib-mismatch",
    ),
    # the environment
    "another Python": Change(
        fields(Interpreter={"version": "3.9.18", "version_info": (3, 9, 18)}),
        "python",
        "Python",
        of_any_machine=True,
    ),
    "a folder on sys.path": Change(
        on_sys_path("/opt/old"), "python", "sys.path /opt/old", of_any_machine=True
    ),
    "a module in the way": Change(
        fields(
            TorchImport={
                "outcome": "exception",
                "exception": "ImportError",
                "message": "cannot import name 'Queue' from 'queue' (/srv/job/queue.py)",
                "shadowed": ("queue (/srv/job/queue.py)",),
                "isolated_outcome": "ok",
            }
        ),
        "python",
        "shadowed modules",
        of_any_machine=True,
        explains="torch-import-failed",
    ),
    "a build for the CPU": Change(
        lambda snapshot: changed(
            other_build("2.6.0+cpu", None, "cpu")(snapshot), CPU_ALONE, TorchRuntime=NO_CUDA
        ),
        "torch",
        "torch",
        explains="cpu-only-torch",
    ),
    "another torch": Change(other_build("2.5.1+cu121", "12.1", "cu121"), "torch", "torch"),
    "no torch": Change(
        _gone, "torch", "torch", of_any_machine=True, explains="torch-not-installed"
    ),
    "a missing file": Change(
        damage, "files", "files of torch", of_any_machine=True, explains="torch-import-failed"
    ),
    "another numpy": Change(package("numpy", "1.23.5"), "packages", "numpy"),
    "a companion for another torch": Change(
        package("torchvision", "0.16.0"), "packages", "torchvision", explains="torchvision-mismatch"
    ),
    "a wheel that torch needs is gone": Change(
        package("nvidia-cudnn-cu12", None), "packages", "nvidia-cudnn-cu12"
    ),
    "a package that torch needs is gone": Change(
        package("filelock", None), "packages", "filelock", of_any_machine=True
    ),
    "a library of the system": Change(
        facts(resolution(_library(CUDNN, f"/usr/lib/{CUDNN}", None))), "libraries", CUDNN
    ),
    "a library that is not found": Change(
        facts(
            resolution(
                _library(
                    CUDNN,
                    None,
                    None,
                    problems=(Problem(kind="missing", library=CUDNN, needed_by="libtorch.so"),),
                ),
                error=f"{CUDNN}: cannot open shared object file",
            ),
            TorchImport={
                "outcome": "exception",
                "exception": "ImportError",
                "message": f"{CUDNN}: cannot open shared object file",
            },
        ),
        "libraries",
        CUDNN,
        explains="cudnn-missing",
    ),
    # the variables
    "GPUs that are hidden": Change(
        facts(
            CPU_ALONE,
            Environment={"variables": {"CUDA_VISIBLE_DEVICES": "3"}},
            TorchRuntime=NO_CUDA,
        ),
        "variables",
        "CUDA_VISIBLE_DEVICES",
        explains="cuda-visible-devices",
    ),
    "LD_LIBRARY_PATH": Change(
        variable("LD_LIBRARY_PATH", "/usr/local/cuda-11/lib64"),
        "variables",
        "LD_LIBRARY_PATH",
        of_any_machine=True,
    ),
    "an interface for NCCL": Change(
        variable("NCCL_P2P_DISABLE", "1"), "variables", "NCCL_P2P_DISABLE", of_any_machine=True
    ),
    # what was seen
    "a GPU that does not compute": Change(facts(FAILED), "outcome", "compute:gpu", explains=None),
    "an import that hangs": Change(
        fields(TorchImport={"outcome": "hang", "message": ""}),
        "outcome",
        "import:torch",
        of_any_machine=True,
    ),
}

OTHER_PLACES = {
    "/venv": "/home/eve/envs/train",
    "/root/.pyenv": "/opt/python",
    "/home/user": "/home/eve",
}


def first_of(found: Comparison) -> Difference:
    assert found.differences, "nothing differs"
    return found.differences[0]


def assert_first(found: Comparison, change: Change, broken: str) -> None:
    first = first_of(found)
    assert (first.part, first.name) == (change.part, change.name), found.differences[:3]
    assert found.exit_code == 1
    if change.explains is not None:
        assert change.explains in {one.name for one in first.explains}
        assert {one.side for one in first.explains if one.name == change.explains} == {broken}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_is_first(name: str) -> None:
    change, healthy = CHANGES[name], gpu_machine()
    other = change.apply(another_look(moved(healthy, OTHER_PLACES)))
    assert_first(comparison(healthy, other), change, "B")
    assert_first(comparison(other, healthy), change, "A")


@pytest.mark.parametrize("name", [name for name, one in CHANGES.items() if one.of_any_machine])
def test_on_a_machine_that_was_recorded_it_is_first_as_well(name: str) -> None:
    change, healthy = CHANGES[name], cpu_machine()
    other = change.apply(another_look(moved(healthy, OTHER_PLACES)))
    assert_first(comparison(healthy, other), change, "B")
