"""Machines that nobody has seen: known ones with random things broken, by a seed.

Facts contradict each other here as they do on real machines: a driver that lists a GPU which torch
does not, a damaged file beside an import that works.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from envdoctor.api import (
    CompanionImport,
    CompanionImports,
    Container,
    CudaInit,
    DamagedDistribution,
    DamagedFile,
    Distributions,
    Driver,
    Environment,
    Expectation,
    Fact,
    FirstUse,
    Gpu,
    Gpus,
    Host,
    HostCompiler,
    InstalledFiles,
    Installer,
    Interpreter,
    Limits,
    Nvml,
    Observed,
    PciDevice,
    PciGpus,
    Reason,
    Snapshot,
    Target,
    Toolkit,
    Toolkits,
    TorchAbsent,
    TorchBuild,
    TorchDevice,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
    UnansweredGpu,
    Unknown,
)
from envdoctor.facts.libraries import LibraryResolution, Problem, ResolvedLibrary
from tests.support.machines import HEALTHY, SITE, distribution

KINDS: tuple[type[Fact], ...] = (
    *(type(fact) for fact in HEALTHY),
    CompanionImports,
    HostCompiler,
    LibraryResolution,
)


@dataclass
class Patient:
    """The facts of one machine while they are broken, and what was done to them."""

    random: random.Random
    facts: dict[type[Fact], Fact | Unknown]
    story: list[str]

    def get(self, kind: type[Any]) -> Any:
        """The fact, or None where it is not known."""
        fact = self.facts.get(kind)
        return None if isinstance(fact, Unknown) else fact

    def change(self, fact_type: type[Any], /, **fields: Any) -> None:
        """Other fields of a fact, where it is known."""
        fact = self.get(fact_type)
        if fact is not None:
            self.facts[fact_type] = replace(fact, **fields)

    def put(self, *facts: Fact) -> None:
        """Whole facts."""
        self.facts |= {type(fact): fact for fact in facts}

    def unknown(self, *kinds: type[Fact], reason: Reason | None = None, detail: str = "") -> None:
        """Facts that could not be observed."""
        why = Unknown(reason=reason or self.one_of(*Reason), detail=detail or "drawn by lot")
        self.facts |= dict.fromkeys(kinds, why)

    def one_of(self, *values: Any) -> Any:
        """One of several, by lot."""
        return self.random.choice(values)

    def some_of(self, *values: Any) -> tuple[Any, ...]:
        """Any number of several, by lot, in their order."""
        return tuple(value for value in values if self.random.random() < 0.5)

    def snapshot(self) -> Snapshot:
        """The machine as it was observed."""
        return Snapshot(
            {
                kind: fact if isinstance(fact, Unknown) else Observed(value=fact, source="by lot")
                for kind, fact in self.facts.items()
            }
        )


# --- machines that work ---

MODELS = (
    ("20b2", "NVIDIA A100-SXM4-80GB", "8.0"),
    ("2330", "NVIDIA H100 80GB HBM3", "9.0"),
    ("2204", "NVIDIA GeForce RTX 3090", "8.6"),
    ("2b85", "NVIDIA GeForce RTX 5090", "12.0"),
    ("1b06", "NVIDIA GeForce GTX 1080 Ti", "6.1"),
    ("102d", "Tesla K80", "3.7"),
    ("1140", "NVIDIA GeForce GT 710M", "2.1"),
)
"""PCI device id (pci.ids), name, compute capability (developer.nvidia.com/cuda-gpus)."""

NO_CUDA = {"cuda_available": False, "device_count": 0, "devices": ()}


def _with_gpus(one: Patient, models: list[tuple[str, str, str]]) -> None:
    gpus, devices, pci, operations = [], [], [], []
    for index, (device_id, name, capability) in enumerate(models):
        address = f"0000:{index + 1:02x}:00.0"
        uuid = f"GPU-{index:08x}-0000-0000-0000-000000000000"
        where = one.one_of(None, f"0000{address.upper()}")
        said = {"name": name, "compute_capability": capability}
        gpus.append(Gpu(index=index, uuid=uuid, pci_address=where, memory_bytes=2**34, **said))
        devices.append(TorchDevice(index=index, memory_bytes=2**34, **said))
        pci.append(
            PciDevice(address=address, vendor_id="10de", device_id=device_id, driver="nvidia")
        )
        operations += [FirstUse(device=f"cuda:{index}", operation="matmul")]
    one.put(Gpus(devices=tuple(gpus)), PciGpus(devices=tuple(pci)))
    one.change(TorchRuntime, device_count=len(devices), devices=tuple(devices))
    one.change(CudaInit, device_count=len(devices))
    nodes = (f"/dev/nvidia{index}" for index in range(len(models)))
    one.change(Driver, device_nodes=("/dev/nvidia-uvm", "/dev/nvidiactl", *nodes))
    cpu = FirstUse(device="cpu", operation="matmul")
    one.put(TorchFirstUse(operations=(cpu, *operations)))


def one_gpu(one: Patient) -> None:
    """A machine with one GPU of any model that this torch serves."""
    _with_gpus(one, [one.one_of(*MODELS[:3])])


def equal_gpus(one: Patient) -> None:
    """A machine with up to eight equal GPUs."""
    _with_gpus(one, [one.one_of(*MODELS[:3])] * one.random.randint(2, 8))


def unlike_gpus(one: Patient) -> None:
    """A machine with GPUs of several models."""
    _with_gpus(one, one.random.sample(MODELS, one.random.randint(2, 3)))


def no_gpu(one: Patient) -> None:
    """A machine without a GPU, and any build of torch."""
    one.put(
        PciGpus(devices=()),
        Nvml(status="NVML_ERROR_LIBRARY_NOT_FOUND"),
        CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open"),
        Driver(loaded=False, release=None),
        TorchFirstUse(operations=(FirstUse(device="cpu", operation="matmul"),)),
    )
    one.unknown(Gpus, reason=Reason.NOT_APPLICABLE, detail="NVML: no library")
    one.change(TorchRuntime, **NO_CUDA)
    another_build(one)


def wsl(one: Patient) -> None:
    """WSL: no bus, no kernel driver, the libraries of Windows."""
    one_gpu(one)
    one.change(Container, wsl=2)
    one.put(
        PciGpus(devices=()),
        Driver(
            loaded=False,
            release=None,
            device_nodes=("/dev/dxg",),
            libcuda_files=("/usr/lib/wsl/lib/libcuda.so.1",),
        ),
    )


def jetson(one: Patient) -> None:
    """A Tegra board: no bus, no NVML that knows much."""
    one.put(
        PciGpus(devices=()),
        Gpus(devices=(Gpu(index=0, name="Orin (nvgpu)"),)),
        TorchFirstUse(
            operations=tuple(FirstUse(device=d, operation="matmul") for d in ("cpu", "cuda:0"))
        ),
    )
    orin = TorchDevice(index=0, name="Orin", compute_capability="8.7", memory_bytes=2**35)
    one.change(TorchRuntime, device_count=1, devices=(orin,), arch_list=("sm_87",))
    one.change(TorchBuild, arch_flags=("sm_87",), fatbin_arch_flags=("sm_87",))
    one.change(Host, machine="aarch64", kernel="5.15.148-tegra")


def radeon(one: Patient) -> None:
    """A card of AMD and a ROCm build."""
    no_gpu(one)
    card = PciDevice(address="0000:03:00.0", vendor_id="1002", device_id="744c", driver="amdgpu")
    one.put(PciGpus(devices=(card,)))
    rocm = {"version": "2.6.0+rocm6.2.4", "cuda": None, "hip": "6.2.4"}
    device = TorchDevice(
        index=0, name="AMD Radeon RX 7900 XTX", compute_capability="11.0", memory_bytes=2**34
    )
    one.change(TorchBuild, variant="rocm6.2.4", arch_flags=("gfx1100",), **rocm)
    one.change(TorchRuntime, cuda_available=True, device_count=1, devices=(device,), **rocm)
    both = tuple(FirstUse(device=name, operation="matmul") for name in ("cpu", "cuda:0"))
    one.put(TorchFirstUse(operations=both))


MACHINES = (one_gpu, one_gpu, equal_gpus, unlike_gpus, no_gpu, wsl, jetson, radeon)


# --- things that break ---


def a_fact_is_unknown(one: Patient) -> None:
    one.unknown(one.one_of(*KINDS))


def many_facts_are_unknown(one: Patient) -> None:
    one.unknown(*one.some_of(*KINDS))


def facts_are_forgotten(one: Patient) -> None:
    for kind in one.some_of(*KINDS):
        one.facts.pop(kind, None)


def the_target_was_not_started(one: Patient) -> None:
    of_target = (TorchImport, TorchRuntime, TorchFirstUse, CompanionImports)
    one.unknown(*of_target, reason=Reason.SWITCHED_OFF, detail="left out by --static")


def another_build(one: Patient) -> None:
    version, cuda, hip, variant = one.one_of(
        ("2.6.0+cpu", None, None, "cpu"),
        ("2.6.0+cu118", "11.8", None, "cu118"),
        ("2.8.0+cu128", "12.8", None, "cu128"),
        ("2.9.1+cu130", "13.0", None, "cu130"),
        ("2.1.0+cu121", "12.1", None, "cu121"),
        ("2.6.0+rocm6.2.4", None, "6.2.4", "rocm6.2.4"),
        ("2.6.0+xpu", None, None, "xpu"),
        (None, "12.4", None, "custom"),
    )
    one.change(TorchBuild, version=version, cuda=cuda, hip=hip, variant=variant)
    if version is not None:
        one.change(TorchRuntime, version=version, cuda=cuda, hip=hip)


def other_kernels(one: Patient) -> None:
    flags = one.some_of(
        "sm_50", "sm_60", "sm_70", "sm_80", "sm_86", "sm_90", "sm_120", "compute_90"
    )
    one.change(TorchBuild, arch_flags=flags)
    one.change(TorchRuntime, arch_list=one.one_of((), flags))


def the_import_ends_otherwise(one: Patient) -> None:
    outcome = one.one_of("exception", "signal", "exit", "hang")
    one.change(
        TorchImport,
        outcome=outcome,
        exception=one.one_of(None, "ImportError", "ModuleNotFoundError"),
        message=one.one_of("", "libcudart.so.12: cannot open shared object file", "\n\n", "a\nb"),
        signal="SIGILL" if outcome == "signal" else None,
        exit_code=3 if outcome == "exit" else None,
        shadowed=one.one_of((), ("queue (/home/user/queue.py)",)),
        isolated_outcome=one.one_of(None, "ok", outcome),
    )
    if one.random.random() < 0.8:
        later = (TorchRuntime, TorchFirstUse, CompanionImports)
        one.unknown(*later, reason=Reason.NOT_APPLICABLE, detail="`import torch` did not succeed")


def torch_is_not_there(one: Patient) -> None:
    one.put(TorchAbsent(absent=True, searched=(SITE,)))
    one.unknown(TorchBuild, reason=Reason.NOT_APPLICABLE)
    the_import_ends_otherwise(one)


def torch_sees_no_gpu(one: Patient) -> None:
    error = one.one_of(None, "", "RuntimeError: CUDA error: unknown error\nmore")
    one.change(TorchRuntime, cuda_error=error, **NO_CUDA)
    one.put(TorchFirstUse(operations=(FirstUse(device="cpu", operation="matmul"),)))


def torch_lists_fewer(one: Patient) -> None:
    runtime = one.get(TorchRuntime)
    if runtime is not None and runtime.devices:
        devices = runtime.devices[1:]
        one.change(
            TorchRuntime,
            devices=devices,
            device_count=len(devices),
            cuda_available=bool(devices),
        )


ERRORS = (
    "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    "RuntimeError: CUDA error: uncorrectable ECC error encountered",
    "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    "the result is wrong",
    " ",
)


def a_first_use_fails(one: Patient) -> None:
    used = one.get(TorchFirstUse)
    if used is None or not used.operations:
        return
    place = one.random.randrange(len(used.operations))
    failed = replace(used.operations[place], error=one.one_of(*ERRORS))
    operations = (*used.operations[:place], failed, *used.operations[place + 1 :])
    one.put(TorchFirstUse(operations=operations))


def a_first_use_was_not_tried(one: Patient) -> None:
    used = one.get(TorchFirstUse)
    if used is not None:
        one.put(TorchFirstUse(operations=one.some_of(*used.operations)))


def the_driver_is_another(one: Patient) -> None:
    release = one.one_of("390.157", "470.82.01", "525.60.13", "570.86.10", "590.44.01", None, "?")
    one.change(Driver, release=release)
    one.change(Nvml, driver_release=one.one_of(release, None, "581.57"))


def the_driver_is_gone(one: Patient) -> None:
    one.change(
        Driver, loaded=False, release=None, modules=(), nouveau_loaded=one.one_of(True, False)
    )
    one.change(PciGpus, devices=_held_by(one, one.one_of(None, "nouveau")))


def _held_by(one: Patient, driver: str | None) -> tuple[PciDevice, ...]:
    pci = one.get(PciGpus)
    return tuple(replace(device, driver=driver) for device in (pci.devices if pci else ()))


def a_gpu_is_held_by_another_driver(one: Patient) -> None:
    pci = one.get(PciGpus)
    if pci is not None and pci.devices:
        other = replace(pci.devices[0], driver=one.one_of(None, "nouveau", "vfio-pci"))
        one.put(PciGpus(devices=(other, *pci.devices[1:])))


def a_gpu_is_off_the_bus(one: Patient) -> None:
    pci = one.get(PciGpus)
    if pci is not None:
        one.put(PciGpus(devices=pci.devices[:-1]))


def nvml_lists_fewer(one: Patient) -> None:
    gpus = one.get(Gpus)
    if gpus is None or not gpus.devices:
        return
    lost = one.one_of(*gpus.devices)
    one.put(Gpus(devices=tuple(gpu for gpu in gpus.devices if gpu is not lost)))
    if one.random.random() < 0.5:
        silent = UnansweredGpu(index=lost.index, error="NVML_ERROR_GPU_IS_LOST")
        one.change(Nvml, unanswered=(silent,), device_count=len(gpus.devices))


def nvml_fails(one: Patient) -> None:
    status = one.one_of(
        "NVML_ERROR_LIBRARY_NOT_FOUND",
        "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
        "NVML_ERROR_GPU_IS_LOST",
        "NVML_ERROR_UNKNOWN",
        "NVML_ERROR_DRIVER_NOT_LOADED",
    )
    one.put(Nvml(status=status))
    if one.random.random() < 0.8:
        one.unknown(Gpus, reason=Reason.NOT_APPLICABLE, detail=f"NVML: {status}")


def cuda_does_not_start(one: Patient) -> None:
    code = one.one_of(2, 3, 34, 35, 46, 100, 304, 802, 803, 804, 805, 999, 4711)
    one.put(CudaInit(status=f"CUDA_ERROR_{code}", code=code, library="/usr/lib/libcuda.so.1"))
    if one.random.random() < 0.7:
        torch_sees_no_gpu(one)


def there_is_no_libcuda(one: Patient) -> None:
    one.put(CudaInit(status="libcuda-missing", message="libcuda.so.1: cannot open"))
    if one.random.random() < 0.7:
        torch_sees_no_gpu(one)


VARIABLES = {
    "CUDA_VISIBLE_DEVICES": ("", "-1", "0", "1", "1,0", "7", "0,7", "GPU-0", "MIG-1", "x"),
    "NVIDIA_VISIBLE_DEVICES": ("void", "none", "all", "0"),
    "HIP_VISIBLE_DEVICES": ("", "0"),
    "SLURM_JOB_ID": ("17",),
    "SLURM_JOB_GPUS": ("0",),
    "LD_LIBRARY_PATH": ("/usr/local/cuda/lib64", ""),
    "LD_PRELOAD": ("/usr/lib/libasan.so",),
    "PYTHONPATH": ("/home/user/pytorch",),
    "OMP_NUM_THREADS": ("1", "64", "256", "x"),
    "CUDA_LAUNCH_BLOCKING": ("1", "0"),
    "NCCL_IB_DISABLE": ("1",),
    "NCCL_P2P_DISABLE": ("1",),
    "CUDA_HOME": ("/usr/local/cuda-11.8",),
    "TORCH_CUDA_ARCH_LIST": ("8.0", "nonsense"),
}


def variables_are_set(one: Patient) -> None:
    before = one.get(Environment)
    chosen = one.some_of(*VARIABLES)[:4]
    drawn = {name: one.one_of(*VARIABLES[name]) for name in chosen}
    one.put(Environment(variables={**(before.variables if before else {}), **drawn}))


def it_is_a_container(one: Patient) -> None:
    one.change(
        Container,
        kind=one.one_of("docker", "podman", "kubernetes", "lxc", "apptainer"),
        nvidia_runtime=one.one_of(True, False, None),
        nvidia_visible_devices=one.one_of(None, "all", "void", "none"),
    )


def nodes_are_missing(one: Patient) -> None:
    driver = one.get(Driver)
    if driver is not None:
        one.change(Driver, device_nodes=one.some_of(*driver.device_nodes))


def nodes_are_closed(one: Patient) -> None:
    driver = one.get(Driver)
    if driver is not None:
        one.change(Driver, unusable_nodes=one.some_of(*driver.device_nodes))


def something_is_expected(one: Patient) -> None:
    one.put(Expectation(device=one.one_of("gpu", "cpu"), evidence="--expect"))


def companions_are_imported(one: Patient) -> None:
    names = one.some_of("torchvision", "torchaudio", "xformers", "flash_attn")
    one.put(
        CompanionImports(
            items=tuple(
                CompanionImport(
                    name=name,
                    outcome=one.one_of("ok", "ok", "exception", "signal", "hang"),
                    exception=one.one_of(None, "OSError"),
                    message=one.one_of("", "undefined symbol: x\nmore"),
                )
                for name in names
            )
        )
    )
    others_are_installed(one)


def others_are_installed(one: Patient) -> None:
    installed = one.get(Distributions)
    if installed is None:
        return
    more = one.some_of(
        distribution("torchvision", "0.21.0", "torch==2.6.0"),
        distribution("torchvision", "0.19.0+cpu", "torch==2.4.0"),
        distribution("torchaudio", "2.5.0", "torch==2.5.0"),
        distribution("xformers", "0.0.29", "torch==2.5.1"),
        distribution("bitsandbytes", "0.45.0"),
        distribution("numpy", "1.26.4", location="/usr/lib/python3/dist-packages"),
        distribution("nvidia-cudnn-cu11", "8.7.0.84"),
        distribution("nvidia-cublas-cu12", "12.1.3.1"),
        distribution("torch", "2.4.0", location="/usr/lib/python3/dist-packages"),
    )
    one.put(Distributions(items=(*installed.items, *more)))


def files_are_damaged(one: Patient) -> None:
    name, path = one.one_of(
        ("torch", "torch/lib/libtorch_cuda.so"),
        ("torch", "torch/include/ATen/ATen.h"),
        ("torch", "torch/nn/modules/linear.py"),
        ("numpy", "numpy/core/__init__.py"),
        ("triton", "triton/_C/libtriton.so"),
        ("nvidia-cudnn-cu12", "nvidia/cudnn/lib/libcudnn.so.9"),
    )
    file = DamagedFile(path=path, kind=one.one_of("missing", "size"), expected="9", actual="0")
    item = DamagedDistribution(
        name=name,
        version="2.6.0",
        metadata_path=f"{SITE}/{name}-2.6.0.dist-info",
        files=(file,),
        damaged_count=1,
    )
    one.put(InstalledFiles(damaged=(item,), checked_files=20_000))


def libraries_do_not_resolve(one: Patient) -> None:
    soname = one.one_of(
        "libcudart.so.12", "libcudnn.so.9", "libnccl.so.2", "libcuda.so.1", "libc10.so", "libx.so"
    )
    problem = Problem(
        kind=one.one_of("missing", "unreadable", "version", "symbol"),
        library=soname,
        needed_by=f"{SITE}/torch/lib/libtorch_cuda.so",
        names=one.one_of((), ("GLIBCXX_3.4.32",), ("ncclCommWindowRegister",)),
    )
    library = ResolvedLibrary(
        soname=soname,
        path=one.one_of(None, f"/usr/lib/{soname}"),
        when=one.one_of("start", "import", "query", "use"),
        optional=one.one_of(False, False, True),
        problems=(problem,),
    )
    one.put(
        LibraryResolution(
            root=f"{SITE}/torch/_C.so",
            libraries=(library,),
            import_error=one.one_of(None, f"{soname}: cannot open shared object file"),
        )
    )


def numpy_does_not_fit(one: Patient) -> None:
    error = one.one_of("RuntimeError: Numpy is not available", "compiled without NumPy")
    one.change(TorchRuntime, numpy_error=error)


def the_target_is_unusable(one: Patient) -> None:
    one.change(
        Target,
        problem=one.one_of("not-found", "not-executable", "not-python", "too-old", "failed"),
        detail="drawn by lot",
    )
    of_target = (
        Interpreter,
        Distributions,
        TorchBuild,
        TorchAbsent,
        TorchImport,
        TorchRuntime,
        TorchFirstUse,
        CompanionImports,
    )
    one.unknown(*of_target, reason=Reason.NOT_APPLICABLE, detail="the target cannot be used")


def it_is_another_system(one: Patient) -> None:
    one.change(
        Host,
        os_id=one.one_of("debian", "fedora", "nixos", "alpine", "arch", "amzn"),
        glibc=one.one_of("2.17", "2.39", None),
        machine=one.one_of("x86_64", "aarch64"),
        cpu_flags=one.one_of((), ("sse4_2",), ("avx2", "f16c", "fma")),
    )
    one.change(Installer, name=one.one_of("pip", "uv", "conda", "poetry", "pdm", "pixi", "pipenv"))


def limits_are_tight(one: Patient) -> None:
    one.change(
        Limits,
        usable_cpus=one.one_of(0.5, 1.0, 4.0),
        cgroup_cpu_quota=one.one_of(None, 0.5, 4.0),
        shm_bytes=one.one_of(None, 0, 64 * 2**20),
    )


def there_is_a_toolkit(one: Patient) -> None:
    version = one.one_of("11.8", "12.4", "13.0", None)
    toolkit = Toolkit(path="/usr/local/cuda", version=version, source="CUDA_HOME")
    one.put(
        Toolkits(items=(toolkit,), cuda_home="/usr/local/cuda", nvcc="/usr/local/cuda/bin/nvcc"),
        HostCompiler(path="/usr/bin/gcc", version=one.one_of("9.4.0", "14.2.0", "?")),
    )


BREAKS: tuple[Callable[[Patient], None], ...] = (
    a_fact_is_unknown,
    many_facts_are_unknown,
    facts_are_forgotten,
    the_target_was_not_started,
    another_build,
    other_kernels,
    the_import_ends_otherwise,
    torch_is_not_there,
    torch_sees_no_gpu,
    torch_lists_fewer,
    a_first_use_fails,
    a_first_use_was_not_tried,
    the_driver_is_another,
    the_driver_is_gone,
    a_gpu_is_held_by_another_driver,
    a_gpu_is_off_the_bus,
    nvml_lists_fewer,
    nvml_fails,
    cuda_does_not_start,
    there_is_no_libcuda,
    variables_are_set,
    it_is_a_container,
    nodes_are_missing,
    nodes_are_closed,
    something_is_expected,
    companions_are_imported,
    others_are_installed,
    files_are_damaged,
    libraries_do_not_resolve,
    numpy_does_not_fit,
    the_target_is_unusable,
    it_is_another_system,
    limits_are_tight,
    there_is_a_toolkit,
)


def machine_of(seed: int) -> tuple[str, Snapshot]:
    """The machine of a seed, always the same, and its story."""
    lot = random.Random(seed)
    base = lot.choice(MACHINES)
    one = Patient(random=lot, facts={type(fact): fact for fact in HEALTHY}, story=[base.__name__])
    base(one)
    for harm in lot.sample(BREAKS, lot.choice((0, 1, 1, 2, 2, 3, 4))):
        harm(one)
        one.story.append(harm.__name__)
    return f"machine {seed}: {', '.join(one.story)}", one.snapshot()


def machines_of(seeds: range) -> Iterator[tuple[str, Snapshot]]:
    """The machines of many seeds."""
    return map(machine_of, seeds)
