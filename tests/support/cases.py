"""Broken machines by name: the healthy one with one thing broken, and what has to be found first.

The answer is written here before the doctor is asked; None is a machine without a finding.
"""

from dataclasses import dataclass
from typing import Any

from envdoctor.api import (
    CudaInit,
    DamagedDistribution,
    DamagedFile,
    Distributions,
    Driver,
    FirstUse,
    Frame,
    Gpu,
    Gpus,
    HostCompiler,
    InstalledFiles,
    Installer,
    Interpreter,
    Nvml,
    PciGpus,
    Reason,
    Snapshot,
    Target,
    Toolkit,
    Toolkits,
    TorchAbsent,
    TorchBuild,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
    Unknown,
)
from envdoctor.facts.libraries import (
    LibraryResolution,
    OpenedAt,
    Problem,
    ProblemKind,
    ResolvedLibrary,
)
from tests.support.machines import ARCHS, HEALTHY, SITE, distribution, machine

NO_LIBRARY = Nvml(status="NVML_ERROR_LIBRARY_NOT_FOUND", message="NVML Shared Library Not Found")
NO_GPUS = (Gpus, Unknown(reason=Reason.NOT_APPLICABLE, detail="NVML: no library"))
NO_CUDA = {
    "cuda_available": False,
    "device_count": 0,
    "devices": (),
    "cuda_error": "RuntimeError: CUDA initialization failed",
}
CU128_ARCHS = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
"""What torch 2.8.0+cu128 is compiled for (CUDAConfig.h of its wheel)."""
CPU_USE = TorchFirstUse(operations=(FirstUse(device="cpu", operation="matmul"),))
UNUSABLE = Unknown(reason=Reason.NOT_APPLICABLE, detail="the target cannot be used")
OF_THE_TARGET = (
    Interpreter,
    Distributions,
    InstalledFiles,
    Installer,
    TorchBuild,
    TorchAbsent,
    TorchImport,
    TorchRuntime,
    TorchFirstUse,
)
LATE = Unknown(reason=Reason.TIMED_OUT, detail="no answer within 20 s")
OFF = Unknown(reason=Reason.SWITCHED_OFF, detail="left out by --static")
WSL_DRIVER = {"loaded": False, "release": None, "modules": (), "device_nodes": ("/dev/dxg",)}
NOT_REACHED = Unknown(reason=Reason.NOT_APPLICABLE, detail="`import torch` did not succeed")


@dataclass(frozen=True)
class Case:
    """A machine, and the name of the first finding that it must get."""

    snapshot: Snapshot
    first: str | None
    exit_code: int


def _without_gpu(**fields: Any) -> Snapshot:
    return machine(
        NO_LIBRARY,
        NO_GPUS,
        CPU_USE,
        CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open shared object file"),
        PciGpus(devices=()),
        Driver={"loaded": False, "release": None, "modules": (), "device_nodes": ()},
        **{"TorchRuntime": NO_CUDA, **fields},
    )


def _cuda_error(code: int, name: str, message: str, *changes: Any, **fields: Any) -> Snapshot:
    init = CudaInit(
        status=name, code=code, message=message, driver_cuda="12.2", library="/usr/lib/libcuda.so.1"
    )
    return machine(init, CPU_USE, *changes, TorchRuntime=NO_CUDA, **fields)


def _not_imported(*changes: Any, **imported: Any) -> Snapshot:
    return machine(
        TorchImport(seconds=1.0, **imported),
        (TorchRuntime, NOT_REACHED),
        (TorchFirstUse, NOT_REACHED),
        *changes,
    )


def _gpu(name: str, capability: str) -> Gpus:
    return Gpus(devices=(Gpu(index=0, name=name, compute_capability=capability),))


def _damaged(path: str, kind: str = "missing", name: str = "torch") -> InstalledFiles:
    file = DamagedFile(
        path=path, kind=kind, expected="1000", actual="" if kind == "missing" else "10"
    )
    item = DamagedDistribution(
        name=name,
        version="2.6.0",
        metadata_path=f"{SITE}/{name}-2.6.0.dist-info",
        files=(file,),
        damaged_count=1,
    )
    return InstalledFiles(damaged=(item,), checked_files=20_000)


def _cpu_build() -> dict[str, Any]:
    return {
        "version": "2.6.0+cpu",
        "cuda": None,
        "variant": "cpu",
        "arch_flags": (),
        "fatbin_arch_flags": (),
    }


def _lacking(
    library: str, kind: ProblemKind, *names: str, when: OpenedAt = "import"
) -> LibraryResolution:
    """What the loader will find: one library that is absent or lacks what is needed of it."""
    problem = Problem(
        kind=kind,
        library=library,
        needed_by=f"{SITE}/torch/lib/libtorch_cuda.so",
        path=None if kind == "missing" else f"/usr/lib/{library}",
        names=names,
    )
    resolved = ResolvedLibrary(
        soname=library, path=problem.path, named=problem.path, when=when, problems=(problem,)
    )
    error = f"{library}: cannot open" if kind == "missing" else f"undefined symbol: {names[0]}"
    return LibraryResolution(
        root=f"{SITE}/torch/_C.so",
        libraries=(resolved,),
        import_error=error if when == "import" else None,
    )


def _import_error(message: str, *changes: Any) -> Snapshot:
    return _not_imported(*changes, outcome="exception", exception="ImportError", message=message)


_DISTRIBUTIONS = next(fact for fact in HEALTHY if isinstance(fact, Distributions)).items

CASES: dict[str, Case] = {
    "healthy-gpu": Case(machine(), None, 0),
    "healthy-cpu": Case(
        _without_gpu(TorchBuild=_cpu_build(), TorchRuntime={**NO_CUDA, "cuda": None}), None, 0
    ),
    "cuda-torch-without-gpu": Case(_without_gpu(), "no-nvidia-gpu", 0),
    "gpu-expected": Case(_without_gpu(Expectation={"device": "gpu"}), "no-nvidia-gpu", 1),
    "cpu-torch-on-gpu-machine": Case(
        machine(CPU_USE, TorchBuild=_cpu_build(), TorchRuntime={**NO_CUDA, "cuda": None}),
        "cpu-only-torch",
        1,
    ),
    "driver-not-loaded": Case(
        machine(
            NO_LIBRARY,
            NO_GPUS,
            CPU_USE,
            CudaInit(status="libcuda-missing", message="cannot open"),
            Driver={"loaded": False, "release": None, "modules": (), "device_nodes": ()},
            TorchRuntime=NO_CUDA,
        ),
        "driver-not-loaded",
        1,
    ),
    "driver-470-cuda-12": Case(
        _cuda_error(
            35, "CUDA_ERROR_INSUFFICIENT_DRIVER", "too old", Driver={"release": "470.82.01"}
        ),
        "driver-too-old",
        1,
    ),
    "driver-535-cuda-12.6": Case(
        machine(TorchBuild={"version": "2.6.0+cu126", "cuda": "12.6", "variant": "cu126"}), None, 0
    ),
    "nvml-driver-mismatch": Case(
        _cuda_error(
            803,
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            "mismatch",
            Nvml(status="NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
            NO_GPUS,
        ),
        "nvml-driver-mismatch",
        1,
    ),
    "error-803": Case(
        _cuda_error(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "mismatch"), "driver-lib-mismatch", 1
    ),
    "error-804": Case(
        _cuda_error(804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "compat"), "forward-compat", 1
    ),
    "error-802": Case(
        _cuda_error(802, "CUDA_ERROR_SYSTEM_NOT_READY", "not yet initialized"), "fabric-manager", 1
    ),
    "error-999-after-suspend": Case(
        _cuda_error(999, "CUDA_ERROR_UNKNOWN", "unknown error", Driver={"modules": ("nvidia",)}),
        "cuda-unknown-uvm",
        1,
    ),
    "error-46": Case(
        _cuda_error(46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "busy or unavailable"),
        "cuda-init-failed",
        1,
    ),
    "no-permission": Case(
        _cuda_error(
            304,
            "CUDA_ERROR_OPERATING_SYSTEM",
            "os call failed",
            Driver={"unusable_nodes": ("/dev/nvidia0",)},
        ),
        "device-permission",
        1,
    ),
    "gpu-lost": Case(
        machine(Nvml(status="NVML_ERROR_GPU_IS_LOST"), NO_GPUS, CPU_USE, TorchRuntime=NO_CUDA),
        "gpu-hw-fault",
        1,
    ),
    "driver-without-libcuda": Case(
        machine(
            NO_LIBRARY,
            NO_GPUS,
            CPU_USE,
            CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open"),
            TorchRuntime=NO_CUDA,
        ),
        "driver-without-libcuda",
        1,
    ),
    "pascal-on-driver-590": Case(
        machine(_gpu("NVIDIA GeForce GTX 1080", "6.1"), Driver={"release": "590.44.01"}),
        "driver-dropped-gpu",
        1,
    ),
    "all-gpus-hidden-by-a-wrong-index": Case(
        machine(
            CPU_USE, Environment={"variables": {"CUDA_VISIBLE_DEVICES": "3"}}, TorchRuntime=NO_CUDA
        ),
        "cuda-visible-devices",
        1,
    ),
    "blackwell-on-cu124": Case(
        machine(_gpu("NVIDIA GeForce RTX 5090", "12.0"), Driver={"release": "570.124.06"}),
        "gpu-arch-too-new",
        1,
    ),
    "maxwell-on-cu128": Case(
        machine(
            _gpu("NVIDIA GeForce GTX 980", "5.2"),
            TorchBuild={
                "version": "2.8.0+cu128",
                "cuda": "12.8",
                "variant": "cu128",
                "arch_flags": CU128_ARCHS,
                "fatbin_arch_flags": CU128_ARCHS,
            },
            TorchRuntime={"arch_list": CU128_ARCHS},
        ),
        "gpu-arch-too-old",
        1,
    ),
    "library-of-another-build": Case(
        machine(TorchBuild={"fatbin_arch_flags": ARCHS[1:]}), "arch-flags-disagree", 0
    ),
    "first-convolution-fails": Case(
        machine(
            TorchFirstUse(
                operations=(
                    FirstUse(device="cuda:0", operation="matmul"),
                    FirstUse(
                        device="cuda:0",
                        operation="convolution",
                        error="RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
                    ),
                )
            )
        ),
        "first-use-failed",
        1,
    ),
    "torch-sees-no-cuda": Case(machine(CPU_USE, TorchRuntime=NO_CUDA), "cuda-unavailable", 1),
    "numpy-2-beside-torch-2.1": Case(
        machine(
            TorchBuild={"version": "2.1.0+cu121", "cuda": "12.1", "variant": "cu121"},
            TorchRuntime={"numpy_error": "RuntimeError: Numpy is not available"},
        ),
        "numpy-abi-mismatch",
        1,
    ),
    "torch-not-installed": Case(
        machine(
            TorchAbsent(absent=True, searched=(SITE,)),
            (TorchBuild, Unknown(reason=Reason.NOT_APPLICABLE, detail="no torch on disk")),
            TorchImport(
                outcome="exception",
                seconds=0.1,
                exception="ModuleNotFoundError",
                message="No module named 'torch'",
            ),
            (TorchRuntime, NOT_REACHED),
            (TorchFirstUse, NOT_REACHED),
            Distributions={"items": tuple(one for one in _DISTRIBUTIONS if one.name == "numpy")},
        ),
        "torch-not-installed",
        1,
    ),
    "import-raises": Case(
        _not_imported(
            outcome="exception",
            exception="ImportError",
            message="something is wrong",
            frames=(Frame(file=f"{SITE}/torch/__init__.py", line=367, function="<module>"),),
        ),
        "torch-import-failed",
        1,
    ),
    "import-crashes": Case(
        _not_imported(outcome="signal", signal="SIGILL", output_tail="Fatal Python error: Illegal"),
        "torch-import-crashed",
        1,
    ),
    "import-hangs": Case(_not_imported(outcome="hang"), "torch-import-hangs", 1),
    "import-exits": Case(_not_imported(outcome="exit", exit_code=3), "torch-import-exits", 1),
    "torch-works-and-python-does-not-exit": Case(
        machine(
            TorchImport={"exit_outcome": "signal", "exit_detail": "SIGSEGV", "exit_output_tail": ""}
        ),
        "exit-after-torch-fails",
        0,
    ),
    "library-missing-from-the-wheel": Case(
        _not_imported(
            _damaged("torch/lib/libtorch_cuda.so"),
            outcome="exception",
            exception="OSError",
            message="libtorch_cuda.so: cannot open shared object file",
        ),
        "damaged-install",
        1,
    ),
    "header-missing-from-the-wheel": Case(
        machine(_damaged("torch/include/ATen/ATen.h")), "damaged-install", 0
    ),
    "two-numpys": Case(
        machine(Distributions={"items": (*_DISTRIBUTIONS, distribution("numpy", "1.26.4"))}),
        "duplicate-distribution",
        0,
    ),
    "queue-py-in-the-folder": Case(
        _not_imported(
            outcome="exception",
            exception="ImportError",
            message="cannot import name 'Queue' from 'queue' (/home/user/queue.py)",
            shadowed=("queue (/home/user/queue.py)",),
            isolated_outcome="ok",
        ),
        "module-shadowing",
        1,
    ),
    "torch-of-a-source-tree": Case(
        machine(TorchImport={"file": "/home/user/pytorch/torch/__init__.py"}),
        "module-shadowing",
        0,
    ),
    "target-is-a-shell-script": Case(
        machine(
            Target(
                path="/venv/bin/python",
                chosen_because="named with --python",
                problem="not-python",
                detail="it is not a Python: the interpreter exited with code 0",
            ),
            *((kind, UNUSABLE) for kind in OF_THE_TARGET),
        ),
        "target-unusable",
        1,
    ),
    "target-is-python-3.6": Case(
        machine(
            Target(
                path="/usr/bin/python3.6",
                chosen_because="named with --python",
                problem="too-old",
                detail="it is Python 3.6.15",
                version="3.6.15",
            ),
            *((kind, UNUSABLE) for kind in OF_THE_TARGET),
        ),
        "python-too-old",
        1,
    ),
    "container-without-gpus": Case(
        machine(
            NO_LIBRARY,
            NO_GPUS,
            CPU_USE,
            CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open"),
            Container={"kind": "docker", "evidence": "/.dockerenv", "nvidia_runtime": False},
            Driver={"device_nodes": ()},
            TorchRuntime=NO_CUDA,
        ),
        "container-no-gpu-runtime",
        1,
    ),
    "container-without-uvm": Case(
        _cuda_error(
            999,
            "CUDA_ERROR_UNKNOWN",
            "unknown error",
            Container={"kind": "docker", "evidence": "/.dockerenv"},
            Driver={"device_nodes": ("/dev/nvidia0", "/dev/nvidiactl")},
        ),
        "container-device-nodes",
        1,
    ),
    "container-with-small-shm": Case(
        machine(
            Container={"kind": "docker", "evidence": "/.dockerenv"},
            Limits={"shm_bytes": 64 * 2**20, "shm_free_bytes": 64 * 2**20},
        ),
        "shm-too-small",
        0,
    ),
    "wsl-without-libcuda": Case(
        machine(
            NO_LIBRARY,
            NO_GPUS,
            CPU_USE,
            CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open"),
            PciGpus(devices=()),
            Container={"wsl": 2},
            Driver={**WSL_DRIVER, "libcuda_files": ("/usr/lib/wsl/lib/libcuda.so.1",)},
            TorchRuntime=NO_CUDA,
        ),
        "wsl-libcuda",
        1,
    ),
    "wsl-without-nvidia": Case(
        machine(
            NO_LIBRARY,
            NO_GPUS,
            CPU_USE,
            CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open"),
            PciGpus(devices=()),
            Container={"wsl": 2},
            Driver={**WSL_DRIVER, "libcuda_files": ()},
            TorchRuntime=NO_CUDA,
        ),
        "no-nvidia-gpu",
        0,
    ),
    "gcc-too-new-for-nvcc": Case(
        machine(
            HostCompiler(path="/usr/bin/gcc", version="14.2.0"),
            Toolkits(
                items=(Toolkit(path="/usr/local/cuda-12.4", version="12.4.1", source="CUDA_HOME"),),
                cuda_home="/usr/local/cuda-12.4",
                nvcc="/usr/local/cuda-12.4/bin/nvcc",
            ),
        ),
        "gcc-unsupported",
        0,
    ),
    "nvml-timed-out": Case(
        machine(
            (Nvml, LATE),
            (Gpus, LATE),
        ),
        None,
        0,
    ),
    "libtorch-of-another-build": Case(
        _import_error(
            "undefined symbol: _ZN3c105Error4oldEv",
            _lacking("libtorch_python.so", "symbol", "_ZN3c105Error4oldEv"),
        ),
        "undefined-symbol",
        1,
    ),
    "libcublas-of-another-cuda": Case(
        _import_error(
            "undefined symbol: cublasGemmGroupedBatchedEx",
            _lacking("libcublas.so.12", "symbol", "cublasGemmGroupedBatchedEx"),
        ),
        "cublas-mismatch",
        1,
    ),
    "libcuda-that-torch-itself-needs": Case(
        _import_error(
            "libcuda.so.1: cannot open shared object file",
            _lacking("libcuda.so.1", "missing"),
            PciGpus(devices=()),
            NO_LIBRARY,
            NO_GPUS,
            CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open"),
            Driver(loaded=False, release=None),
        ),
        "libcuda-missing",
        1,
    ),
    "cudnn-that-lacks-a-symbol": Case(
        machine(
            _lacking("libcudnn.so.9", "symbol", "cudnnBackendExecute", when="use"),
            TorchFirstUse(
                operations=(
                    FirstUse(device="cpu", operation="matmul"),
                    FirstUse(device="cuda:0", operation="matmul"),
                    FirstUse(
                        device="cuda:0",
                        operation="convolution",
                        error="RuntimeError: undefined symbol: cudnnBackendExecute",
                    ),
                )
            ),
        ),
        "cudnn-symbol-mismatch",
        1,
    ),
    "interpreter-that-does-not-exit": Case(
        machine(TorchImport={"exit_outcome": "hang"}), "exit-after-torch-fails", 0
    ),
    "nothing-answers-in-time": Case(
        machine(*((kind, LATE) for kind in (Nvml, Gpus, TorchRuntime, TorchFirstUse))), None, 3
    ),
    "nothing-was-run": Case(
        machine(*((kind, OFF) for kind in (TorchImport, TorchRuntime, TorchFirstUse))), None, 0
    ),
    "nothing-is-known": Case(Snapshot(), None, 3),
}
