"""The machine itself: operating system, CPU, memory, what this process may use of it, container.

Every reader takes the root of a file system, so that a recorded tree can stand for a machine.
"""

import hashlib
import hmac
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import psutil

from envdoctor.facts import Fact, Known, Observed, Reason, Unknown
from envdoctor.facts.machine import Container, Environment, Host, HostIdentity, Limits
from envdoctor.probes.cgroup import cpu_quota, memory_limit_bytes
from envdoctor.probes.files import read_text

ROOT = Path("/")

_TRAINING_FLAGS = frozenset(
    [
        "avx2",
        "avx512f",
        "avx512_bf16",
        "avx512_vnni",
        "amx_bf16",
        "amx_int8",
        "amx_tile",
        "f16c",
        "fma",
        "asimd",
        "bf16",
        "sve",
    ]
)
"""CPU features that decide which kernels torch uses (as named in /proc/cpuinfo)."""

WATCHED_VARIABLES = (
    "CONDA_DEFAULT_ENV",
    "CONDA_PREFIX",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_CACHE_DISABLE",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDNN_LOGDEST_DBG",
    "GOMP_CPU_AFFINITY",
    "HIP_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "KMP_DUPLICATE_LIB_OK",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MKL_NUM_THREADS",
    "NCCL_DEBUG",
    "NCCL_IB_DISABLE",
    "NCCL_P2P_DISABLE",
    "NCCL_SOCKET_IFNAME",
    "NUMEXPR_NUM_THREADS",
    "NVIDIA_DISABLE_REQUIRE",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_REQUIRE_CUDA",
    "NVIDIA_TF32_OVERRIDE",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONPATH",
    "PYTHONSAFEPATH",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "ROCR_VISIBLE_DEVICES",
    "TF32_OVERRIDE",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_CUDA_ARCH_LIST",
    "TORCH_CUDNN_V8_API_DISABLED",
    "TORCH_DISTRIBUTED_DEBUG",
    "TORCH_LOGS",
    "TORCH_SHOW_CPP_STACKTRACES",
    "TORCH_USE_CUDA_DSA",
    "TRITON_LIBCUDA_PATH",
    "TRITON_PTXAS_PATH",
    "VIRTUAL_ENV",
)
"""The only variables whose values are read; none of them carries a secret."""


def read_host(root: Path = ROOT) -> Host:
    """Operating system and hardware."""
    release = os_release(root)
    name, flags = cpu(root)
    memory = psutil.virtual_memory()
    return Host(
        os=release.get("PRETTY_NAME", platform.system()),
        os_id=release.get("ID", platform.system().lower()),
        os_version=release.get("VERSION_ID", ""),
        kernel=platform.release(),
        machine=platform.machine(),
        glibc=glibc_version(),
        cpu_name=name,
        cpu_flags=flags,
        logical_cpus=os.cpu_count() or 1,
        physical_cpus=psutil.cpu_count(logical=False),
        memory_bytes=memory.total,
        memory_available_bytes=memory.available,
    )


_MACHINE_ID = re.compile("[0-9a-f]{32}")
"""machine-id(5); an image may hold an empty one, or the word `uninitialized`."""

_MACHINE_IDS = ("etc/machine-id", "var/lib/dbus/machine-id")


def host_identity(root: Path = ROOT, name: str | None = None) -> HostIdentity | None:
    """Which machine this is: machine-id(5) wants its value hashed, keyed, for each program.

    The host's name is in it too, since an image brings one id to all its containers.
    """
    texts = (read_text(root / path) or "" for path in _MACHINE_IDS)
    own = next((text.strip() for text in texts if _MACHINE_ID.fullmatch(text.strip())), "")
    key = f"{own}\n{platform.node() if name is None else name}"
    if not key.strip():
        return None
    digest = hmac.new(key.encode("utf-8", "surrogateescape"), b"envdoctor", hashlib.sha256)
    return HostIdentity(id=digest.hexdigest()[:16])


def os_release(root: Path) -> dict[str, str]:
    """The fields of os-release (freedesktop.org, os-release(5)); empty where there is none."""
    text = read_text(root / "etc/os-release") or read_text(root / "usr/lib/os-release") or ""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def cpu(root: Path) -> tuple[str, tuple[str, ...]]:
    """The name of the CPU and those of its features that matter for training."""
    text = read_text(root / "proc/cpuinfo") or ""
    first = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name") or fields.get("Hardware") or platform.processor()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return name or "unknown", tuple(sorted(flags & _TRAINING_FLAGS))


def glibc_version() -> str | None:
    """The version of the C library that this process runs on; null where it is not glibc."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None
    return text.rpartition(" ")[2] if text else None


def read_limits(root: Path = ROOT) -> Limits:
    """What this process may really use of the machine."""
    cpus = usable_cpus()
    affinity = len(cpus)
    quota = cpu_quota(root)
    shm = _space(root / "dev/shm")
    disk = _space(Path.cwd())
    return Limits(
        usable_cpus=min(float(affinity), quota) if quota else float(affinity),
        affinity_cpus=affinity,
        cgroup_cpu_quota=quota,
        cgroup_memory_bytes=memory_limit_bytes(root),
        shm_bytes=shm[0] if shm else None,
        shm_free_bytes=shm[1] if shm else None,
        disk_free_bytes=disk[1] if disk else None,
        open_files=_open_files(),
        numa_nodes=numa_nodes(root, cpus),
    )


def usable_cpus() -> set[int]:
    """The CPUs that this process may run on: all of them on macOS, which has no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def numa_nodes(root: Path, cpus: set[int]) -> tuple[int, ...]:
    """The NUMA nodes that these CPUs belong to; none where Linux shows none."""
    folders = (root / "sys/devices/system/node").glob("node[0-9]*")
    nodes = {
        int(folder.name.removeprefix("node")): cpu_list(read_text(folder / "cpulist") or "")
        for folder in folders
    }
    return tuple(sorted(node for node, own in nodes.items() if own & cpus))


def cpu_list(text: str) -> set[int]:
    """The CPUs of a list like `0-3,8` (cpuset(7), "List format"); empty if it is not one."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def _space(folder: Path) -> tuple[int, int] | None:
    try:
        space = os.statvfs(folder)
    except OSError:
        return None
    return space.f_frsize * space.f_blocks, space.f_frsize * space.f_bavail


def _open_files() -> int | None:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def read_container(root: Path = ROOT, env: Mapping[str, str] = os.environ) -> Container:
    """Whether this is a container or WSL, and whether it was given GPUs."""
    kind, evidence = _container_kind(root, env)
    gpu_paths = ("proc/driver/nvidia/version", "dev/nvidiactl", "dev/dxg")
    return Container(
        kind=kind,
        evidence=evidence,
        wsl=_wsl(root),
        nvidia_runtime=any((root / path).exists() for path in gpu_paths),
        nvidia_visible_devices=env.get("NVIDIA_VISIBLE_DEVICES"),
    )


_MARKERS = (
    ("KUBERNETES_SERVICE_HOST", "kubernetes"),
    ("APPTAINER_CONTAINER", "apptainer"),
    ("SINGULARITY_CONTAINER", "singularity"),
)
_FILES = (
    (".dockerenv", "docker"),
    ("run/.containerenv", "podman"),
    (".singularity.d", "apptainer"),
)
_CGROUPS = (("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("lxc", "lxc"))


def _container_kind(root: Path, env: Mapping[str, str]) -> tuple[str, str]:
    for variable, kind in _MARKERS:
        if variable in env:
            return kind, variable
    for file, kind in _FILES:
        if (root / file).exists():
            return kind, f"/{file}"
    manager = (read_text(root / "run/systemd/container") or "").strip()
    if manager:
        return manager, "/run/systemd/container"
    groups = read_text(root / "proc/self/cgroup") or ""
    for word, kind in _CGROUPS:
        if f"/{word}" in groups:
            return kind, "/proc/self/cgroup"
    return "none", ""


def _wsl(root: Path) -> int | None:
    kernel = (read_text(root / "proc/sys/kernel/osrelease") or "").lower()
    if "microsoft" not in kernel:
        return None
    return 2 if re.search(r"wsl2|microsoft-standard", kernel) else 1


def read_environment(env: Mapping[str, str] = os.environ) -> Environment:
    """The watched variables that are set."""
    return Environment(variables={name: env[name] for name in WATCHED_VARIABLES if name in env})


def decode_host() -> dict[type[Fact], Known]:
    """The facts about this machine."""
    identity = host_identity()
    return {
        HostIdentity: Observed(value=identity, source="/etc/machine-id, hostname, hashed")
        if identity
        else Unknown(reason=Reason.NOT_APPLICABLE, detail="the machine has neither id nor name"),
        Host: Observed(value=read_host(), source="/etc/os-release, /proc/cpuinfo, uname"),
        Limits: Observed(
            value=read_limits(), source="/proc/self/cgroup, sched_getaffinity, statvfs"
        ),
        Container: Observed(value=read_container(), source="/proc, environment"),
        Environment: Observed(value=read_environment(), source="environment variables"),
    }
