"""What is read of the machine, from small file trees that look like other machines."""

import os
import resource
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from envdoctor.api import HostCompiler, Limits, Observed, Reason, Toolkits, Unknown
from envdoctor.probes.cgroup import cpu_quota, memory_limit_bytes
from envdoctor.probes.compiler import observe_compiler
from envdoctor.probes.container import read_container
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.driver import device_nodes, read_driver
from envdoctor.probes.environment import NOT_SHOWN, WATCHED_VARIABLES, read_environment
from envdoctor.probes.host import cpu, os_release, read_host
from envdoctor.probes.limits import numa_nodes, observe_limits, read_limits
from envdoctor.probes.pci import read_pci
from envdoctor.probes.run import Children
from envdoctor.probes.toolkits import read_toolkits


class Tree:
    """A root file system with some files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def context(self, **env: str) -> Context:
        """The context of that root, with these variables."""
        return context_of(Children(), root=self.root, env=env, cwd="/")

    def file(self, name: str, text: str = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n"
CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
)


@pytest.mark.parametrize(
    ("text", "release", "flavor"),
    [(OPEN, "560.35.03", "open"), (CLOSED, "535.183.01", "proprietary")],
)
def test_the_driver_release(tree: Tree, text: str, release: str, flavor: str) -> None:
    tree.file("proc/driver/nvidia/version", text)
    tree.file("proc/modules", "nvidia_uvm 1 0 - Live 0x0\nnvidia 2 1 nvidia_uvm, Live 0x0\n")
    for node in ("nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        tree.file(f"dev/{node}")
    driver = read_driver(tree.context())
    assert (driver.release, driver.flavor, driver.loaded) == (release, flavor, True)
    assert driver.modules == ("nvidia", "nvidia_uvm")
    assert driver.device_nodes == ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")


def test_without_a_driver_nothing_is_claimed(tree: Tree) -> None:
    driver = read_driver(tree.context())
    assert (driver.loaded, driver.release, driver.device_nodes) == (False, None, ())


def pci_device(tree: Tree, address: str, **files: str) -> None:
    folder = tree.root / "sys/bus/pci/devices" / address
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_only_display_controllers_are_gpus(tree: Tree) -> None:
    pci_device(
        tree,
        "0000:07:00.0",
        **{"class": "0x030200", "vendor": "0x10de", "device": "0x20b2"},
        current_link_speed="16.0 GT/s PCIe",
        current_link_width="8",
        max_link_speed="16.0 GT/s PCIe",
        max_link_width="16",
        numa_node="1",
    )
    pci_device(tree, "0000:08:00.0", **{"class": "0x040300", "vendor": "0x10de"})
    pci_device(tree, "0000:09:00.0", **{"class": "0x030000", "vendor": "0x1002"})
    pci = read_pci(tree.root)
    assert pci is not None
    (gpu,) = pci.nvidia
    assert (gpu.device_id, gpu.link_width, gpu.max_link_width) == ("20b2", 8, 16)
    assert gpu.link_speed_gt_s == 16.0
    assert gpu.numa_node == 1
    assert len(pci.devices) == 2


def test_a_firmware_that_names_no_numa_node(tree: Tree) -> None:
    pci_device(tree, "0000:07:00.0", **{"class": "0x030200", "vendor": "0x10de"}, numa_node="-1")
    pci = read_pci(tree.root)
    assert pci is not None
    assert pci.devices[0].numa_node is None


@pytest.mark.parametrize(
    ("cpus", "nodes"),
    [({0, 3}, (0,)), ({3, 4}, (0, 1)), ({17}, (1,)), ({99}, ())],
)
def test_the_numa_nodes_of_the_usable_cpus(
    tree: Tree, cpus: set[int], nodes: tuple[int, ...]
) -> None:
    tree.file("sys/devices/system/node/node0/cpulist", "0-3,8-11\n")
    tree.file("sys/devices/system/node/node1/cpulist", "4-7,12-15,17\n")
    # A node of memory alone, as an accelerator has it.
    tree.file("sys/devices/system/node/node2/cpulist", "\n")
    assert numa_nodes(tree.root, cpus) == nodes


def test_a_machine_that_shows_no_numa_nodes(tree: Tree) -> None:
    assert numa_nodes(tree.root, {0}) == ()


def test_without_sysfs_the_bus_is_unknown(tree: Tree) -> None:
    assert read_pci(tree.root) is None


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        (
            {"sys/fs/cgroup/a/cpu.max": "400000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"},
            4.0,
        ),
        ({"sys/fs/cgroup/cpu.max": "garbage"}, None),
    ],
)
def test_the_cpu_quota(tree: Tree, files: dict[str, str], quota: float | None) -> None:
    tree.file("proc/self/cgroup", "0::/a/b\n3:cpu,cpuacct:/\n")
    for name, text in files.items():
        tree.file(name, text)
    assert cpu_quota(tree.root) == quota


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"sys/fs/cgroup/memory.max": "max"}, None),
        ({"sys/fs/cgroup/memory.max": "1073741824"}, 2**30),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576"}, 2**20),
    ],
)
def test_the_memory_limit(tree: Tree, files: dict[str, str], limit: int | None) -> None:
    tree.file("proc/self/cgroup", "0::/\n9:memory:/\n")
    for name, text in files.items():
        tree.file(name, text)
    assert memory_limit_bytes(tree.root) == limit


@pytest.mark.parametrize(
    ("capabilities", "limited"),
    [("0000000000004000", False), ("000001ffffffffff", False), ("00000000a80425fb", True)],
)
def test_whoever_may_lock_memory_is_held_by_no_limit(
    tree: Tree, capabilities: str, limited: bool
) -> None:
    """The last is what Docker leaves to root."""
    tree.file("proc/self/status", f"Name:\tpython\nCapEff:\t{capabilities}\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    some = 1 << 16 if hard == resource.RLIM_INFINITY else min(1 << 16, hard)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (some, hard))
    try:
        found = read_limits(tree.context()).locked_memory_bytes
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
    assert found == (some if limited else None)


def test_the_limits_of_this_process_are_real(children: Children) -> None:
    limits = read_limits(context_of(children))
    assert 0 < limits.usable_cpus <= limits.affinity_cpus


def test_the_limits_are_read_where_processes_have_no_affinity(
    monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert read_limits(context_of(children)).affinity_cpus == os.cpu_count()


@pytest.mark.parametrize(
    ("files", "env", "kind", "wsl"),
    [
        ({}, {}, "none", None),
        ({".dockerenv": ""}, {}, "docker", None),
        ({"run/.containerenv": ""}, {}, "podman", None),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes", None),
        ({}, {"APPTAINER_CONTAINER": "x.sif"}, "apptainer", None),
        ({"proc/self/cgroup": "0::/docker/abc\n"}, {}, "docker", None),
        ({"run/systemd/container": "lxc\n"}, {}, "lxc", None),
        ({".flatpak-info": ""}, {}, "flatpak", None),
        ({"run/.containerenv": "", "run/.toolboxenv": ""}, {}, "toolbox", None),
        (
            {
                "run/systemd/container": "wsl\n",
                "proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2",
            },
            {},
            "none",
            2,
        ),
        ({"proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2"}, {}, "none", 2),
        ({"proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft"}, {}, "none", 1),
    ],
)
def test_containers_and_wsl(
    tree: Tree, files: dict[str, str], env: dict[str, str], kind: str, wsl: int | None
) -> None:
    for name, text in files.items():
        tree.file(name, text)
    container = read_container(tree.context(**env))
    assert (container.kind, container.wsl) == (kind, wsl)


MACHINE = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"


@pytest.mark.parametrize("mark", [{".dockerenv": ""}, {"run/systemd/container": "docker\n"}])
@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        # A microVM, captured: its disk is made of an image of Ubuntu.
        (f"22 27 0:21 / /proc rw,relatime - proc proc rw\n{MACHINE}", "none"),
        (f"1 1 0:2 / / rw - rootfs rootfs rw\n{MACHINE}", "none"),
        # `docker export` and `wsl --import`.
        ("67 59 8:64 / / rw,relatime - ext4 /dev/sde rw,discard", "none"),
        ("612 498 0:64 / / rw,relatime master:259 - overlay overlay rw,lowerdir=/var/l", "docker"),
        # The storage drivers vfs and btrfs, and Kata Containers: folders of a file system.
        ("812 651 254:1 /var/lib/docker/vfs/dir/9f2 / rw - ext4 /dev/vda1 rw", "docker"),
        ("812 651 0:45 /@/var/lib/docker/btrfs/subvolumes/9f / rw - btrfs /dev/vda rw", "docker"),
        ("91 71 0:35 /passthrough/4b/rootfs / rw - virtiofs kataShared rw", "docker"),
        ("812 651 0:45 / / rw - zfs rpool/docker/4b rw", "docker"),
        ("812 651 253:4 / / rw - ext4 /dev/mapper/containerd-pool-snap-3 rw", "docker"),
        ("", "docker"),
        ("27 1 254:0 / /", "docker"),
    ],
)
def test_dockers_marks_in_the_files_of_a_machine_make_no_container(
    tree: Tree, mark: dict[str, str], mounts: str, kind: str
) -> None:
    for name, text in {**mark, "proc/self/mountinfo": mounts}.items():
        tree.file(name, text)
    assert read_container(tree.context()).kind == kind


def test_a_snap_that_is_shown_its_host_by_a_folder_is_confined(tree: Tree) -> None:
    """A classic snap has the variable as well, and no root of its own."""
    assert read_container(tree.context(SNAP="/snap/code/200")).kind == "none"
    tree.file("var/lib/snapd/hostfs/etc/os-release", "ID=ubuntu\n")
    assert read_container(tree.context()).kind == "none"
    assert read_container(tree.context(SNAP="/snap/jupyter/6")).kind == "snap"


@pytest.mark.parametrize(
    ("variable", "service"),
    [
        ("COLAB_RELEASE_TAG", "colab"),
        ("KAGGLE_KERNEL_RUN_TYPE", "kaggle"),
        ("RUNPOD_POD_ID", "runpod"),
        ("VAST_CONTAINERLABEL", "vast"),
        ("DATABRICKS_RUNTIME_VERSION", "databricks"),
        ("SM_CURRENT_HOST", "sagemaker"),
        ("AZUREML_RUN_ID", "azureml"),
        ("CLOUD_ML_JOB_ID", "vertex"),
        ("LIGHTNING_CLOUD_PROJECT_ID", "lightning"),
        ("SPACE_AUTHOR_NAME", "spaces"),
        ("CODESPACES", "codespaces"),
        ("JUPYTERHUB_USER", "jupyterhub"),
        ("RUNPOD_API_KEY", ""),
    ],
)
def test_the_service_that_runs_a_container(tree: Tree, variable: str, service: str) -> None:
    found = read_container(tree.context(**{variable: "secret"}))
    assert found.service == service
    assert "secret" not in repr(found)


def test_what_only_has_the_name_of_a_device_node_is_none(tmp_path: Path) -> None:
    """An empty file or a folder is what is bound where the host has no such node."""
    (tmp_path / "nvidiactl").symlink_to("/dev/null")
    (tmp_path / "nvidia-uvm").touch()
    (tmp_path / "nvidia0").mkdir()
    assert [one.name for one in device_nodes(tmp_path, live=True)] == ["nvidiactl"]
    assert len(device_nodes(tmp_path, live=False)) == 3


def test_only_watched_variables_are_read(tree: Tree) -> None:
    found = read_environment(
        tree.context(LD_LIBRARY_PATH="/x", AWS_SECRET_ACCESS_KEY="s", HF_TOKEN="t")
    )
    assert found.variables == {"LD_LIBRARY_PATH": "/x"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CUDA_VISIBLE_DEVICES", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,1, 2 ,cuda:0,-1,GPU-89"),
        ("CUDA_VISIBLE_DEVICES", "MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/0"),
        ("CUDA_VISIBLE_DEVICES", ""),
        ("NVIDIA_VISIBLE_DEVICES", "all"),
        ("NVIDIA_VISIBLE_DEVICES", "/var/run/nvidia-container-devices"),
        ("NVIDIA_REQUIRE_CUDA", "cuda>=12.6 brand=tesla,driver>=535,driver<536"),
        ("NVIDIA_DRIVER_CAPABILITIES", "compute,utility"),
        ("LD_LIBRARY_PATH", ":/opt/my dir/lib:$HOME/x:~/lib:./x:/srv/env-\udce4"),
        ("LD_PRELOAD", "libjemalloc.so.2 /x/other.so"),
        ("PYTHONPATH", "src:/opt/ros/lib"),
        ("TORCH_LOGS", "+dynamo,graph_breaks,-torch._dynamo.convert_frame:10"),
        ("NCCL_SOCKET_IFNAME", "^docker0,lo"),
        ("NCCL_SOCKET_IFNAME", "=ens5f0np0"),
        ("NCCL_SOCKET_IFNAME", "=data7,^eth"),
        ("NCCL_IB_HCA", "^=mlx5_0:1,mlx5_bond_0"),
        ("MASTER_ADDR", "10.0.0.7"),
        ("MASTER_ADDR", "fd00::7"),
        ("MASTER_PORT", "29500"),
        ("WORLD_SIZE", "16"),
        ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True,max_split_size_mb:128"),
        ("PYTORCH_CUDA_ALLOC_CONF", "backend:cudaMallocAsync,roundup_power2_divisions:[256:1,>:4]"),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
        ("TORCH_CUDA_ARCH_LIST", "7.0 7.5;8.6+PTX;Hopper;10.0a"),
        ("KMP_AFFINITY", "granularity=fine,compact,1,0"),
        ("GOMP_CPU_AFFINITY", "0-15 32-47:2"),
        ("OMP_NUM_THREADS", "4,2"),
        ("SLURM_GPUS", "a100:2"),
        ("CUDA_LAUNCH_BLOCKING", "enabled"),
        ("CUDA_HOME", "/usr/local/cuda-12.4"),
    ],
)
def test_a_variable_is_shown_as_it_is(tree: Tree, name: str, value: str) -> None:
    (tree.root / "work/src").mkdir(parents=True)
    (tree.root / "sys/class/net/data7").mkdir(parents=True)
    context = replace(tree.context(**{name: value}), cwd="/work")
    assert read_environment(context).variables == {name: value}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("TORCH_LOGS", "+dynamo,hunter2", f"+dynamo,{NOT_SHOWN}"),
        ("NCCL_SOCKET_IFNAME", "eth0,hunter2", f"eth0,{NOT_SHOWN}"),
        ("NCCL_IB_HCA", "mlx5_0,hunter2", f"mlx5_0,{NOT_SHOWN}"),
        ("MASTER_ADDR", "hunter2", NOT_SHOWN),
        ("MASTER_PORT", "tcp://10.0.0.1:29500", NOT_SHOWN),
        ("PYTHONPATH", "/x:hunter2:", f"/x:{NOT_SHOWN}:"),
        ("CUDA_VISIBLE_DEVICES", "0,my pass word", f"0,{NOT_SHOWN}"),
        ("OMP_NUM_THREADS", "hunter2", NOT_SHOWN),
        ("NCCL_DEBUG", "hunter2", NOT_SHOWN),
        ("PYTORCH_CUDA_ALLOC_CONF", "password:hunter2", NOT_SHOWN),
        ("NVIDIA_REQUIRE_CUDA", "cuda>=12 password=hunter2", f"cuda>=12 {NOT_SHOWN}"),
        ("NVIDIA_DRIVER_CAPABILITIES", "a" * 64_000 + "!", NOT_SHOWN),
    ],
)
def test_what_is_no_value_of_a_variable_is_not_shown(
    tree: Tree, name: str, value: str, shown: str
) -> None:
    assert read_environment(tree.context(**{name: value})).variables == {name: shown}


@given(st.sampled_from([*WATCHED_VARIABLES]), st.text(st.characters() | st.sampled_from(":,; -1")))
def test_any_value_of_a_variable_is_taken(name: str, value: str) -> None:
    context = context_of(Children(), root=Path("/nowhere"), env={name: value}, cwd="/")
    (shown,) = read_environment(context).variables.values()
    assert set(shown) <= set(value) | set(NOT_SHOWN)


def test_cpu_and_os_of_another_machine(tree: Tree) -> None:
    tree.file(
        "proc/cpuinfo", "model name\t: AMD EPYC 7742\nflags\t\t: fpu avx2 fma\n\nprocessor: 1\n"
    )
    tree.file(
        "etc/os-release", 'NAME="Rocky Linux"\nVERSION_ID="9.3"\nPRETTY_NAME="Rocky Linux 9.3"\n'
    )
    assert cpu(tree.root) == ("AMD EPYC 7742", ("avx2", "fma"), False)
    assert os_release(tree.root)["PRETTY_NAME"] == "Rocky Linux 9.3"


@pytest.mark.parametrize(
    ("line", "hypervisor"),
    [
        ("flags\t\t: fpu avx2 hypervisor", True),
        ("flags\t\t: fpu avx2", False),
        ("Features\t: asimd", None),
    ],
)
def test_a_cpu_of_x86_tells_of_its_hypervisor(
    tree: Tree, line: str, hypervisor: bool | None
) -> None:
    tree.file("proc/cpuinfo", f"model name\t: a CPU\n{line}\n")
    assert cpu(tree.root)[2] is hypervisor


def test_toolkits_in_the_order_that_builds_use(tree: Tree) -> None:
    tree.file(
        "usr/local/cuda-12.4/version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}}'
    )
    tree.file("usr/local/cuda-11.0/version.txt", "CUDA Version 11.0.228\n")
    tree.file("usr/local/cuda-9.0/README", "")
    tree.file("opt/cuda/include/cuda.h", "#define CUDA_VERSION 12060\n")
    found = read_toolkits(tree.context(CUDA_HOME="/opt/cuda", PATH=""))
    assert [one.version for one in found.items] == ["12.6", "11.0.228", "12.4.1"]
    assert found.items[0].path == found.cuda_home == "/opt/cuda"
    assert found.nvcc is None


def test_a_toolkit_behind_links_is_that_of_the_examined_root(tree: Tree) -> None:
    tree.file("usr/local/cuda-12.4/version.json", '{"cuda": {"version": "12.4.1"}}')
    tree.file("usr/local/cuda-12.4/bin/nvcc")
    (tree.root / "etc/alternatives").mkdir(parents=True)
    (tree.root / "etc/alternatives/cuda").symlink_to("/usr/local/cuda-12.4")
    (tree.root / "usr/local/cuda").symlink_to("/etc/alternatives/cuda")
    found = read_toolkits(tree.context(PATH="/usr/bin:/usr/local/cuda/bin"))
    (toolkit,) = found.items
    assert (toolkit.path, toolkit.version) == ("/usr/local/cuda-12.4", "12.4.1")
    assert found.nvcc == "/usr/local/cuda/bin/nvcc"


@pytest.mark.parametrize("live", [False, True])
def test_a_loop_of_links_is_no_toolkit(tree: Tree, children: Children, live: bool) -> None:
    (tree.root / "a").symlink_to("b")
    (tree.root / "b").symlink_to("a")
    env = {"CUDA_HOME": str(tree.root / "a") if live else "/a", "PATH": ""}
    context = context_of(children, env=env) if live else tree.context(**env)
    found = read_toolkits(context)
    assert found.cuda_home == env["CUDA_HOME"]
    assert not [one for one in found.items if one.source == "CUDA_HOME"]


def test_a_root_that_does_not_run_is_read_by_its_files(tree: Tree) -> None:
    tree.file("etc/os-release", 'ID=ubuntu\nVERSION_ID="22.04"\n')
    tree.file("dev/nvidia0")
    tree.file("proc/meminfo", "MemTotal:  1024 kB\nMemAvailable:  512 kB\n")
    tree.file("proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n")
    tree.file("sys/devices/system/cpu/cpu0/topology/core_cpus_list", "0-1\n")
    tree.file("sys/devices/system/cpu/cpu1/topology/core_cpus_list", "0-1\n")
    host = read_host(tree.context())
    assert (host.os_id, host.kernel, host.machine, host.glibc) == ("ubuntu", None, None, None)
    assert (host.memory_bytes, host.memory_available_bytes) == (1024 * 1024, 512 * 1024)
    assert (host.logical_cpus, host.physical_cpus) == (2, 1)
    assert read_driver(tree.context()).unusable_nodes == ()
    limits = observe_limits(tree.context())[Limits]
    assert isinstance(limits, Unknown)
    assert limits.reason is Reason.SWITCHED_OFF
    assert str(tree.root) in limits.detail


def test_the_live_host_is_that_of_psutil(children: Children) -> None:
    host = read_host(context_of(children))
    assert host.memory_bytes == psutil.virtual_memory().total
    assert host.physical_cpus == psutil.cpu_count(logical=False)
    assert host.logical_cpus == psutil.cpu_count()


def test_the_compiler_is_asked_only_where_there_is_an_nvcc(
    compiler: str, children: Children
) -> None:
    context = context_of(children)
    without = observe_compiler(Toolkits(items=()), context)
    assert isinstance(without[HostCompiler], Unknown)
    found = observe_compiler(Toolkits(items=(), nvcc="/usr/bin/nvcc"), context)
    fact = found[HostCompiler]
    assert isinstance(fact, Observed)
    assert int(fact.value.version.split(".")[0]) >= 4
