"""docs/variables.md is the table of what is read, and no variable degrades the healthy."""

import re
from pathlib import Path

import pytest
from envdoctor_checks import plugin
from envdoctor_checks.debug_environment import SLOWING_VARIABLES

from envdoctor.api import Environment, Observed, Severity, Snapshot
from envdoctor.findings import Verdict
from envdoctor.probes.environment import NOT_SHOWN, WATCHED_VARIABLES, shown_variables
from tests.support.cases import CASES
from tests.support.diagnosis import report_on
from tests.support.healthy_machines import HEALTHY_MACHINES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "variables.md").read_text(encoding="utf-8")
LINKS = dict(re.findall(r"^\[(.+?)\]: (https://\S+)$", TEXT, re.MULTILINE))
ROWS = {
    cells[0]: cells
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| Variable ")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
CODES = {code.id for check in plugin.checks for code in check.codes}
SOURCES = "\n".join(path.read_text() for path in (ROOT / "checks").rglob("*.py"))


def test_the_table_is_that_of_the_code() -> None:
    assert sorted(ROWS) == sorted(WATCHED_VARIABLES)


@pytest.mark.parametrize("name", ROWS)
def test_each_says_what_it_does_whom_it_concerns_and_where_that_stands(name: str) -> None:
    _, effect, concerns, findings, source = ROWS[name]
    assert effect
    assert concerns
    assert set(findings.split()) <= CODES
    assert source[1:-1] in LINKS


def test_every_source_is_used() -> None:
    assert {cells[-1][1:-1] for cells in ROWS.values()} == set(LINKS)


def test_what_slows_down_is_named_with_its_finding() -> None:
    of_the_table = {name for name, cells in ROWS.items() if "ED609" in cells[3].split()}
    assert of_the_table == {one.name for one in SLOWING_VARIABLES}


@pytest.mark.parametrize("name", [name for name, cells in ROWS.items() if cells[3]])
def test_a_finding_of_a_variable_is_one_of_a_check_that_reads_it(name: str) -> None:
    assert re.search(rf"\b{name}\b", SOURCES)


def test_every_variable_of_the_doctors_own_is_documented() -> None:
    """In the code of the program, the checks, and all that is offered ready to use."""
    files = [ROOT / "action.yml", ROOT / "Dockerfile", ROOT / ".pre-commit-hooks.yaml"]
    for folder in ("envdoctor", "checks", "examples"):
        files += [
            one for one in (ROOT / folder).rglob("*") if one.suffix != ".pyc" and one.is_file()
        ]
    told = set(re.findall(r"_?ENVDOCTOR_[A-Z]+", TEXT))
    read = {name for one in files for name in re.findall(r"_?ENVDOCTOR_[A-Z]+", one.read_text())}
    assert told == read


# --- whom it does not concern ---

USUAL = {
    "AMD_SERIALIZE_KERNEL": "3",
    "ATEN_CPU_CAPABILITY": "avx512",
    "CONDA_DEFAULT_ENV": "base",
    "CONDA_PREFIX": "/opt/conda",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "CUDA_CACHE_DISABLE": "0",
    "CUDA_DEVICE_MAX_CONNECTIONS": "1",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "CUDA_DISABLE_PTX_JIT": "1",
    "CUDA_FORCE_PTX_JIT": "0",
    "CUDA_HOME": "/usr/local/cuda",
    "CUDA_LAUNCH_BLOCKING": "0",
    "CUDA_MODULE_LOADING": "LAZY",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
    "CUDA_MPS_PIPE_DIRECTORY": "/tmp/nvidia-mps",
    "CUDA_PATH": "/usr/local/cuda",
    "CUDA_VISIBLE_DEVICES": "0",
    "CUDNN_LOGDEST_DBG": "stderr",
    "DNNL_MAX_CPU_ISA": "ALL",
    "GLOO_SOCKET_IFNAME": "lo",
    "GOMP_CPU_AFFINITY": "0-31",
    "GROUP_RANK": "0",
    "GROUP_WORLD_SIZE": "1",
    "HIP_LAUNCH_BLOCKING": "1",
    "HIP_VISIBLE_DEVICES": "0",
    "HSA_OVERRIDE_GFX_VERSION": "10.3.0",
    "KMP_AFFINITY": "granularity=fine,compact,1,0",
    "KMP_BLOCKTIME": "1",
    "KMP_DUPLICATE_LIB_OK": "TRUE",
    "LD_LIBRARY_PATH": "/opt/own/lib",
    "LD_PRELOAD": "",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "MKL_NUM_THREADS": "64",
    "NCCL_DEBUG": "WARN",
    "NCCL_IB_DISABLE": "0",
    "NCCL_IB_HCA": "mlx5",
    "NCCL_P2P_DISABLE": "0",
    "NCCL_P2P_LEVEL": "NVL",
    "NCCL_SHM_DISABLE": "0",
    "NCCL_SOCKET_IFNAME": "^docker,lo",
    "NUMEXPR_NUM_THREADS": "8",
    "NVIDIA_DISABLE_REQUIRE": "1",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    "NVIDIA_REQUIRE_CUDA": "cuda>=12.4 brand=tesla,driver>=470,driver<471",
    "NVIDIA_TF32_OVERRIDE": "1",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "OMP_NUM_THREADS": "64",
    "OMP_PROC_BIND": "close",
    "ONEDNN_MAX_CPU_ISA": "DEFAULT",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHOME": "",
    "PYTHONNOUSERSITE": "1",
    "PYTHONOPTIMIZE": "1",
    "PYTHONPATH": "/home/user/src",
    "PYTHONSAFEPATH": "1",
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
    "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "RANK": "0",
    "ROCR_VISIBLE_DEVICES": "0",
    "SLURM_GPUS": "1",
    "SLURM_GPUS_ON_NODE": "1",
    "SLURM_JOB_GPUS": "0",
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_STEP_GPUS": "0",
    "TORCHDYNAMO_DISABLE": "1",
    "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "TORCH_BLAS_PREFER_CUBLASLT": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "TORCH_CUDA_ARCH_LIST": "8.0;9.0+PTX",
    "TORCH_CUDNN_V8_API_DISABLED": "1",
    "TORCH_DISTRIBUTED_DEBUG": "OFF",
    "TORCH_LOGS": "recompiles",
    "TORCH_SHOW_CPP_STACKTRACES": "1",
    "TORCH_USE_CUDA_DSA": "1",
    "TRITON_LIBCUDA_PATH": "/usr/lib",
    "TRITON_PTXAS_PATH": "/usr/local/cuda/bin/ptxas",
    "VIRTUAL_ENV": "/venv",
    "WORLD_SIZE": "1",
}
"""A value that people have, with which an NVIDIA GPU trains as fast as without."""

LOUD = {
    "AMD_SERIALIZE_KERNEL": "3",
    "CUBLAS_WORKSPACE_CONFIG": ":16:8",
    "CUDA_CACHE_DISABLE": "1",
    "CUDA_FORCE_PTX_JIT": "1",
    "CUDA_LAUNCH_BLOCKING": "1",
    "CUDA_MODULE_LOADING": "EAGER",
    "HIP_LAUNCH_BLOCKING": "1",
    "NCCL_DEBUG": "TRACE",
    "NCCL_IB_DISABLE": "1",
    "NCCL_P2P_DISABLE": "1",
    "NCCL_SHM_DISABLE": "1",
    "NCCL_SOCKET_IFNAME": "eno77",
    "NCCL_IB_HCA": "mlx4_7",
    "NVIDIA_TF32_OVERRIDE": "0",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "0",
    "TORCHDYNAMO_DISABLE": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "TORCH_DISTRIBUTED_DEBUG": "DETAIL",
}
"""One that slows others down, for a machine without a GPU."""


def under(machine: Snapshot, variables: dict[str, str]) -> Snapshot:
    own = machine.value(Environment)
    both = {**(own.variables if own else {}), **shown_variables(variables)}
    return machine.with_facts(
        {Environment: Observed(value=Environment(variables=both), source="synthetic")}
    )


def test_every_variable_has_a_value_that_is_in_order() -> None:
    # Of PYTORCH_NO_CUDA_MEMORY_CACHING any value slows down.
    assert set(USUAL) == set(WATCHED_VARIABLES) - {"PYTORCH_NO_CUDA_MEMORY_CACHING"}
    assert NOT_SHOWN not in "".join(shown_variables(USUAL).values())


SERVER = "server-with-eight-gpus-and-nvswitch"
OF_ONE_GPU = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS")
"""Their usual values show one GPU, where torch has seen eight."""


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        *(("desktop", name) for name in USUAL),
        *((SERVER, name) for name in USUAL if name not in OF_ONE_GPU),
    ],
)
def test_a_usual_value_degrades_no_gpu_machine(machine: str, name: str) -> None:
    snapshot = HEALTHY_MACHINES[machine]
    report = report_on(under(snapshot, {name: USUAL[name]}))
    loud = [one for one in report.findings if one.severity is not Severity.INFO]
    assert [(one.name, one.message) for one in loud] == []
    assert report.verdict is Verdict.HEALTHY


@pytest.mark.parametrize("name", LOUD)
def test_what_slows_gpus_down_is_nothing_to_a_machine_without(name: str) -> None:
    for machine in (CASES["healthy-cpu"].snapshot, HEALTHY_MACHINES["cpu-only-virtual-machine"]):
        report = report_on(under(machine, {name: LOUD[name]}))
        assert (report.verdict, report.findings) == (Verdict.HEALTHY, ())


@pytest.mark.parametrize("name", [name for name in LOUD if name.startswith(("AMD_", "HIP_"))])
def test_what_slows_amd_down_is_nothing_to_nvidia(name: str) -> None:
    report = report_on(under(HEALTHY_MACHINES["desktop"], {name: LOUD[name]}))
    assert report.verdict is Verdict.HEALTHY


@pytest.mark.parametrize("name", [name for name in LOUD if name.startswith("CUDA_")])
def test_what_slows_nvidia_down_is_found_there(name: str) -> None:
    report = report_on(under(HEALTHY_MACHINES["desktop"], {name: LOUD[name]}))
    assert "debug-environment" in [one.name for one in report.findings]
