"""The environment variables that change how torch, CUDA, NCCL or the loader behave.

Only these are read, and of each only what has the shape that its values have: people put secrets in
the wrong variable, and whatever stands there ends in a report.
"""

import os
import re
from collections.abc import Callable, Mapping

from envdoctor.facts import Fact, Known, Observed
from envdoctor.facts.machine import Environment
from envdoctor.probes.context import Context

NOT_SHOWN = "<not shown>"
"""What stands in place of a part that has not the shape of its variable. It names no file, no GPU
and no interface, so that it has the effect of what stood there."""

_FLAG = r"-?[\w.]{0,8}"
_COUNT = r"-?\d{0,12}"
_COUNTS = r"[\d\s,:()x*-]{0,256}"
_DEVICE = (
    r"-?\d{0,10}|(?:MIG-)?(?:GPU-)?[0-9a-fA-F]{1,8}(?:-[0-9a-fA-F]{0,12}){0,4}(?:/\d{1,3}){0,2}"
    r"|GPU-[0-9a-fA-F-]{0,36}|MIG-[0-9a-fA-F-]{0,36}|[a-zA-Z]{1,10}[:_. -]?\d{0,3}"
    r"|(?:gpu:)?[a-zA-Z]\w{0,12}:\d{1,3}"
    r"|/var/run/nvidia-container-devices/?\S*"
)
_PATH = r"[/~.$@].*|lib[\w.+-]+\.so[.\d]*|"
_NAME_OR_PATH = r"[/~.$].*|[\w.+ -]{0,64}"
_INTERFACE = (
    r"[=^]{0,2}(?:lo|eth|en|ib|bond|br|docker|veth|vlan|wl|ww|tun|tap|team|roce|rdma|hsn|mlx|net|em"
    r"|p\d|if|cali|cni|flannel|virbr|vmnet|vmbr|lxc|ovs|wg|usb|gpu|eno|slave|idrac|hfi|opa|gif)"
    r"[\w.:-]{0,13}|"
)
_RDMA_DEVICE = (
    r"[=^]{0,2}(?:mlx[45]|ib|irdma|rdmap|roce|bnxt_re|hfi1|opa|qedr|efa|erdma|mthca|cxgb|i40iw|rxe|siw"
    r"|hns|mana|ionic)[\w.-]{0,16}(?::\d{1,3})?|"
)
_ADDRESS = r"localhost|\d{1,3}(?:\.\d{1,3}){3}|(?:[\da-fA-F]{0,4}:){2,7}[\da-fA-F]{0,4}|"
"""Of the names of hosts none is shown; what MASTER_ADDR is here, the fact Network says."""
_REQUIREMENT = r"(?:cuda|driver|brand|arch)[<>=!]{1,2}[\w.]{1,20}|"
_SETTING = (
    r"[a-z0-9_]{1,48}\s*:\s*(?:true|false|\d{1,12}(?:\.\d{1,6})?|native|cudaMallocAsync"
    r"|\[?[\d:>\s]*\]?)|[\d>]+:\d+\]?|"
)
_AFFINITY = r"(?:[a-z_]{1,16}=)?(?:[a-z_]{1,16}|[\d\s:{}\[\]-]*)"
_ARCHITECTURE = r"\d{1,2}\.\d[af]?(?:\+PTX)?|[A-Za-z]{1,11}(?:\+[A-Za-z]{1,6})?(?:\+PTX)?|native|"
_LOG = (
    r"[+-]?(?:help|all|dynamo|aot|autograd|inductor|cudagraphs|dynamic|torch|distributed|c10d|ddp"
    r"|pp|fsdp|dtensor|onnx|export|guards|verbose_guards|bytecode|graph|graph_code|graph_breaks"
    r"|graph_sizes|graph_code_verbose|graph_region_expansion|aot_graphs|aot_graphs_effects"
    r"|aot_joint_graph|ddp_graphs|recompiles|recompiles_verbose|output_code|kernel_code|schedule"
    r"|perf_hints|pre_grad_graphs|post_grad_graphs|ir_pre_fusion|ir_post_fusion|onnx_diagnostics"
    r"|fusion|overlap|sym_node|trace_source|trace_call|trace_bytecode|trace_shape_events"
    r"|cudagraph_static_inputs|benchmarking|autotuning|compiled_autograd|compiled_autograd_verbose"
    r"|loop_ordering|loop_tiling|modules|symbolic_shapes|ddp_graphs|cuda_graph_trees|hierarchical"
    r"_compile|annotation|side_effects|torch(?:vision|audio)?(?:\.[a-z_]+)+)(?::\d{1,3})?|"
)
"""Names of torch/_logging/_registrations.py (2.9), and modules of torch."""


def _words(*words: str) -> str:
    return "|".join(("", *words))


_LISTS = {
    "paths": (_PATH, ":"),
    "preloads": (_PATH, r"[:\s]"),
    "devices": (rf"\s*(?:{_DEVICE})\s*", ","),
    "interfaces": (_INTERFACE, ","),
    "RDMA devices": (_RDMA_DEVICE, ","),
    "settings": (rf"\s*(?:{_SETTING})\s*", ","),
    "affinity": (_AFFINITY, ","),
    "architectures": (rf"\s*(?:{_ARCHITECTURE})\s*", r"[;,\s]"),
    "logs": (rf"\s*(?:{_LOG})\s*", ","),
}

_COUNTING = (_COUNT, None)
_SWITCH = (_FLAG, None)
_FOLDER = (_NAME_OR_PATH, None)
_COUNTED = (_COUNTS, None)
_INSTRUCTIONS = (r"(?i:default|all|sse41|avx(?:2|512|10)?(?:_[a-z0-9]{1,8}){0,4})|", None)

WATCHED_VARIABLES: Mapping[str, tuple[str, str | None]] = {
    "AMD_SERIALIZE_KERNEL": _SWITCH,
    "ATEN_CPU_CAPABILITY": (_words("default", "avx2", "avx512", "vsx", "zvector", "sve256"), None),
    "CONDA_DEFAULT_ENV": _FOLDER,
    "CONDA_PREFIX": _FOLDER,
    "CUBLAS_WORKSPACE_CONFIG": (r"[:\d]{0,64}", None),
    "CUDA_CACHE_DISABLE": _SWITCH,
    "CUDA_DEVICE_MAX_CONNECTIONS": _COUNTING,
    "CUDA_DEVICE_ORDER": (_words("FASTEST_FIRST", "PCI_BUS_ID"), None),
    "CUDA_DISABLE_PTX_JIT": _SWITCH,
    "CUDA_FORCE_PTX_JIT": _SWITCH,
    "CUDA_HOME": _FOLDER,
    "CUDA_LAUNCH_BLOCKING": _SWITCH,
    "CUDA_MODULE_LOADING": (_words("LAZY", "EAGER", "DEFAULT"), None),
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": (r"\d{0,3}(?:\.\d{1,3})?", None),
    "CUDA_MPS_PIPE_DIRECTORY": _FOLDER,
    "CUDA_PATH": _FOLDER,
    "CUDA_VISIBLE_DEVICES": _LISTS["devices"],
    "CUDNN_LOGDEST_DBG": (rf"stdout|stderr|{_PATH}", None),
    "DNNL_MAX_CPU_ISA": _INSTRUCTIONS,
    "GLOO_SOCKET_IFNAME": _LISTS["interfaces"],
    "GOMP_CPU_AFFINITY": _COUNTED,
    "GROUP_RANK": _COUNTING,
    "GROUP_WORLD_SIZE": _COUNTING,
    "HIP_LAUNCH_BLOCKING": _SWITCH,
    "HIP_VISIBLE_DEVICES": _LISTS["devices"],
    "HSA_OVERRIDE_GFX_VERSION": (r"[\d.]{0,16}", None),
    "KMP_AFFINITY": _LISTS["affinity"],
    "KMP_BLOCKTIME": _SWITCH,
    "KMP_DUPLICATE_LIB_OK": _SWITCH,
    "LD_LIBRARY_PATH": _LISTS["paths"],
    "LD_PRELOAD": _LISTS["preloads"],
    "LOCAL_RANK": _COUNTING,
    "LOCAL_WORLD_SIZE": _COUNTING,
    "MASTER_ADDR": (_ADDRESS, None),
    "MASTER_PORT": _COUNTING,
    "MKL_NUM_THREADS": _COUNTED,
    "NCCL_DEBUG": (_words("VERSION", "WARN", "INFO", "ABORT", "TRACE", "NONE", "DEBUG"), None),
    "NCCL_IB_DISABLE": _SWITCH,
    "NCCL_IB_HCA": _LISTS["RDMA devices"],
    "NCCL_P2P_DISABLE": _SWITCH,
    "NCCL_P2P_LEVEL": (_words("LOC", "NVL", "PIX", "PXB", "PHB", "SYS", r"\d"), None),
    "NCCL_SHM_DISABLE": _SWITCH,
    "NCCL_SOCKET_IFNAME": _LISTS["interfaces"],
    "NUMEXPR_NUM_THREADS": _COUNTED,
    "NVIDIA_DISABLE_REQUIRE": _SWITCH,
    "NVIDIA_DRIVER_CAPABILITIES": (r"[a-z]{3,8}(?:32)?|", r"[,\s]"),
    "NVIDIA_REQUIRE_CUDA": (_REQUIREMENT, r"[,\s]"),
    "NVIDIA_TF32_OVERRIDE": _SWITCH,
    "NVIDIA_VISIBLE_DEVICES": _LISTS["devices"],
    "OMP_NUM_THREADS": _COUNTED,
    "OMP_PROC_BIND": (_words("true", "false", "close", "spread", "master", "primary"), r"[,\s]"),
    "ONEDNN_MAX_CPU_ISA": _INSTRUCTIONS,
    "OPENBLAS_NUM_THREADS": _COUNTED,
    "PYTHONHOME": _LISTS["paths"],
    "PYTHONNOUSERSITE": _SWITCH,
    "PYTHONOPTIMIZE": _SWITCH,
    "PYTHONPATH": _LISTS["paths"],
    "PYTHONSAFEPATH": _SWITCH,
    "PYTORCH_ALLOC_CONF": _LISTS["settings"],
    "PYTORCH_CUDA_ALLOC_CONF": _LISTS["settings"],
    "PYTORCH_NO_CUDA_MEMORY_CACHING": _SWITCH,
    "PYTORCH_NVML_BASED_CUDA_CHECK": _SWITCH,
    "RANK": _COUNTING,
    "ROCR_VISIBLE_DEVICES": _LISTS["devices"],
    "SLURM_GPUS": _LISTS["devices"],
    "SLURM_GPUS_ON_NODE": _LISTS["devices"],
    "SLURM_JOB_GPUS": _LISTS["devices"],
    "SLURM_JOB_ID": (r"[\d_.+\[\]-]{0,32}", None),
    "SLURM_JOB_NUM_NODES": _COUNTING,
    "SLURM_NNODES": _COUNTING,
    "SLURM_NODEID": _COUNTING,
    "SLURM_STEP_GPUS": _LISTS["devices"],
    "TORCHDYNAMO_DISABLE": _SWITCH,
    "TORCHINDUCTOR_CACHE_DIR": _FOLDER,
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": _SWITCH,
    "TORCH_BLAS_PREFER_CUBLASLT": _SWITCH,
    "TORCH_COMPILE_DISABLE": _SWITCH,
    "TORCH_CUDA_ARCH_LIST": _LISTS["architectures"],
    "TORCH_CUDNN_V8_API_DISABLED": _SWITCH,
    "TORCH_DISTRIBUTED_DEBUG": (_words("OFF", "INFO", "DETAIL"), None),
    "TORCH_LOGS": _LISTS["logs"],
    "TORCH_SHOW_CPP_STACKTRACES": _SWITCH,
    "TORCH_USE_CUDA_DSA": _SWITCH,
    "TRITON_LIBCUDA_PATH": _FOLDER,
    "TRITON_PTXAS_PATH": _FOLDER,
    "VIRTUAL_ENV": _FOLDER,
    "WORLD_SIZE": _COUNTING,
}
"""The only variables whose values are read; of each the shape of a part, and a pattern of what
stands between its parts, if it has several."""


def read_environment(context: Context) -> Environment:
    """The watched variables that are set."""

    def is_here(part: str, name: str) -> bool:
        return _is_folder(part, WATCHED_VARIABLES[name][1], context) or _is_interface(
            part, name, context
        )

    return Environment(variables=shown_variables(context.env, is_here))


def shown_variables(
    variables: Mapping[str, str], is_here: Callable[[str, str], bool] = lambda part, name: False
) -> dict[str, str]:
    """The watched ones of these variables, each as far as it has its own shape.

    `is_here` says whether a part of the variable of that name is the name of something here.
    """
    return {
        name: _in_shape(name, variables[name], is_here)
        for name in WATCHED_VARIABLES
        if name in variables
    }


def _in_shape(name: str, value: str, is_here: Callable[[str, str], bool]) -> str:
    """The value of a watched variable; in place of parts that cannot be its own, NOT_SHOWN."""
    shape, between = WATCHED_VARIABLES[name]

    def shown(part: str) -> str:
        fits = re.fullmatch(shape, part.strip(), re.IGNORECASE | re.DOTALL)
        return part if fits or is_here(part, name) else NOT_SHOWN

    if between is None:
        return shown(value)
    return "".join(
        part if number % 2 else shown(part)
        for number, part in enumerate(re.split(f"({between})", value))
    )


def _is_folder(part: str, between: str | None, context: Context) -> bool:
    """Whether it is the name of something in the current folder, as `src` on PYTHONPATH."""
    if between != _LISTS["paths"][1] or not part:
        return False
    try:
        return os.path.exists(context.path(context.cwd) / part)
    except (OSError, ValueError):
        return False


_OF_NETWORK = {
    "GLOO_SOCKET_IFNAME": "/sys/class/net",
    "NCCL_IB_HCA": "/sys/class/infiniband",
    "NCCL_SOCKET_IFNAME": "/sys/class/net",
}


def _is_interface(part: str, name: str, context: Context) -> bool:
    """Whether it names something that is here, however its owner called it."""
    folder, own = _OF_NETWORK.get(name), part.strip().lstrip("^=").partition(":")[0]
    if folder is None or not re.fullmatch(r"[\w.-]{1,64}", own) or own in (".", ".."):
        return False
    return os.path.exists(context.path(f"{folder}/{own}"))


def observe_environment(context: Context) -> dict[type[Fact], Known]:
    """The watched variables."""
    return {Environment: Observed(value=read_environment(context), source="environment variables")}
