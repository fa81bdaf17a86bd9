"""The parsers of the machine's own texts: what the kernel, the distribution, the toolkits and the
variables say; each tried on a root, a prefix or an environment that holds nothing else."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from msgspec.structs import replace

from envdoctor.facts.machine import CudaInit
from envdoctor.facts.python import Distributions
from envdoctor.loader.elf import Elf, read_elf
from envdoctor.loader.owners import Owners, wheel_files
from envdoctor.loader.preload import read_plan
from envdoctor.loader.search import system_of
from envdoctor.loader.strings import version_after
from envdoctor.probes.attached import read_cdi_specs, read_thunderbolt
from envdoctor.probes.boundary import Undecodable, json_object, typed
from envdoctor.probes.cgroup import cpu_quota, memory_limit_bytes
from envdoctor.probes.container import read_container
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.distributions import read_distributions
from envdoctor.probes.driver import read_driver
from envdoctor.probes.environment import WATCHED_VARIABLES, read_environment
from envdoctor.probes.host import host_identity, read_host
from envdoctor.probes.installer import read_installer
from envdoctor.probes.kernel_log import read_kernel_log
from envdoctor.probes.kernel_modules import read_kernel_modules
from envdoctor.probes.limits import numa_nodes
from envdoctor.probes.loader import cpu_flags
from envdoctor.probes.network import read_network
from envdoctor.probes.pci import read_pci
from envdoctor.probes.run import Children
from envdoctor.probes.target import interpreter
from envdoctor.probes.toolkits import read_toolkits
from tests.boundary.parser import Files, Parser
from tests.boundary.words import MACHINE_WORDS, TEXT_WORDS
from tests.probes.test_pci import configuration

ATTACHED = (
    "etc/cdi/nvidia.yaml",
    "run/cdi/nvidia.json",
    "sys/bus/thunderbolt/devices/0-1/authorized",
    "sys/bus/thunderbolt/devices/0-1/device_name",
)
PROC = (
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/modules",
    "proc/self/cgroup",
    "proc/self/mountinfo",
    "proc/driver/nvidia/version",
    "proc/sys/kernel/osrelease",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
    "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
    "sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages",
    "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/module/nvidia/version",
    "run/systemd/container",
    "etc/machine-id",
)
CGROUP = (
    "sys/fs/cgroup/cpu.max",
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us",
    "sys/fs/cgroup/memory/memory.limit_in_bytes",
    "sys/devices/system/cpu/cpu0/topology/core_cpus_list",
    "sys/devices/system/node/node0/cpulist",
)
KERNEL = (
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
    "sys/kernel/security/lockdown",
    "sys/module/module/parameters/sig_enforce",
    "lib/modules/6.8.0/modules.dep",
    "etc/modprobe.d/x.conf",
)
NETWORK = (
    "sys/class/net/eth0/operstate",
    "sys/class/infiniband/mlx5_0/ports/1/state",
    "sys/class/infiniband/mlx5_0/ports/1/link_layer",
    "proc/sys/kernel/hostname",
    "proc/net/if_inet6",
    "proc/net/fib_trie",
    "etc/hosts",
)
PCI = "sys/bus/pci/devices/0000:01:00.0"
TOOLKIT = ("version.json", "version.txt", "include/cuda.h")
DIST_INFO = ("WHEEL", "INSTALLER", "direct_url.json", "PKG-INFO")


def machine_parsers(folder: Path) -> dict[str, Parser]:
    """By their names; `folder` is for files."""
    files = Files(folder)
    root = context_of(Children(), root=folder, env={"CUDA_HOME": "/cuda"}, cwd="/")
    python = replace(read_elf("/proc/self/exe"), interpreter=str(folder / "ld.so"))
    return {
        "proc": Parser(
            lambda data: _machine(_all_of(PROC, files, data), root),
            (
                b"processor\t: 0\nmodel name\t: AMD\nflags\t\t: fma avx2 f16c\n\nprocessor: 1\n",
                b"MemTotal:       16384 kB\nMemAvailable:    8192 kB\n",
                b"HugePages_Total:     4\nHugePages_Free:      3\nHugePages_Rsvd:      1\n"
                b"Hugepagesize:       2048 kB\nHugetlb:            8192 kB\n",
                b"always [madvise] never\n",
                b"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.183.01  Release\n",
                b"nvidia_uvm 1 0 - Live 0x0 (PO)\nnvidia 1 1 nvidia_uvm, Live 0x0\nnouveau 1 0\n",
                b"0::/kubepods/pod1\n5:cpu,cpuacct:/docker/x\n4:memory:/../a\n",
                b"5.15.90.1-microsoft-standard-WSL2\n",
                b"0123456789abcdef0123456789abcdef\n",
            ),
            words=(*MACHINE_WORDS, b": ", b" kB", b"/.."),
        ),
        "cgroup and CPU lists": Parser(
            lambda data: _limits(_all_of(CGROUP, files, data)),
            (b"150000 100000\n", b"max 100000\n", b"0-3,8\n", b"-1\n", b"9223372036854771712\n"),
            words=(*MACHINE_WORDS, b"max", b"0-9", b"1-"),
        ),
        "kernel log": Parser(
            lambda data: read_kernel_log(files.put("dev/kmsg", data)),
            (
                b"6,12,4711000,-;NVRM: Xid (PCI:0000:07:00): 79, pid=1, name=x, GPU has fallen\n",
                b"4,13,4711001,c;NVRM: GPU 0000:07:00.0: RmInitAdapter failed! (0x1)\n SUB=pci\n",
                b"6,1,2,-;NVRM: loading NVIDIA UNIX x86_64\n6,2,3,-;NVRM: API mismatch:\\x0aNVRM\n",
            ),
            words=(*MACHINE_WORDS, b"NVRM: Xid (", b"): ", b"6,1,", b",-;", b"\\x0a", b"154, "),
        ),
        "kernel modules": Parser(
            lambda data: _kernel(files, data),
            (
                b"updates/dkms/nvidia.ko.zst: kernel/drivers/x.ko.zst\nnvidia.ko:\n",
                b"blacklist nvidia\nalias nvidia off\ninstall nvidia /bin/false\n",
                b"none [integrity] confidentiality\n",
                b"\x06\0\0\0\x01",
            ),
            words=(*MACHINE_WORDS, b"nvidia", b".ko", b": ", b"[none]", b"../", b"/"),
        ),
        "PCI": Parser(
            lambda data: _pci(files, data),
            (
                b"0x030000|0x10de|0x2684|16.0 GT/s PCIe|16|0",
                b"0x030200|0x10de|0x20b0|Unknown|0|-1",
            ),
            words=(*MACHINE_WORDS, b"|", b" GT/s"),
        ),
        "os-release": Parser(
            lambda data: read_host(_with(root, files.put("etc/os-release", data))),
            (b'PRETTY_NAME="Ubuntu 22.04"\nID=ubuntu\nVERSION_ID="22.04"\n# x\n\nA=\n',),
            words=(*MACHINE_WORDS, b"=", b"'"),
        ),
        "toolkit": Parser(
            lambda data: read_toolkits(_all_of(TOOLKIT, files, data, "cuda/", root)),
            (
                b'{"cuda": {"name": "SDK", "version": "12.4.1"}, "cuda_nvcc": {"version": "1"}}',
                b"CUDA Version 10.2.89\n",
                b"#define CUDA_VERSION 12040\n",
            ),
            words=(*MACHINE_WORDS, b'{"cuda": {"version": "'),
        ),
        "pyvenv.cfg": Parser(
            lambda data: read_installer(
                str(files.put("venv/pyvenv.cfg", data).parent), Distributions(items=())
            ),
            (b"home = /usr/bin\nuv = 0.5.1\nversion_info = 3.12.1\n",),
            words=(*MACHINE_WORDS, b"=", b"uv"),
        ),
        ".pth": Parser(
            lambda data: _pth(files.put("site/x.pth", data), interpreter),
            (b"/usr/lib\nimport sys; sys.x = 1\n# x\n../site\n\n\xef\xbb\xbfx\n",),
            words=(*MACHINE_WORDS, b"import ", b"/", b"../", b"x" * 300),
        ),
        "files of a dist-info": Parser(
            lambda data: read_distributions([_dist_info(files, data)]),
            (
                b"Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n",
                b"Poetry 2.1.3\n",
                b'{"url": "file:///x", "dir_info": {"editable": true}}',
                b"Name: torch\nVersion: 1\n",
            ),
            words=(*TEXT_WORDS, b"Tag: ", b"Name: ", b"\n\n"),
        ),
        "owners": Parser(
            lambda data: _owners(files, data),
            (
                b'{"name": "libtorch", "version": "2.6", "files": ["lib/libx.so", "lib/liby.so"]}',
                b'lib/libx.so,sha256=a,12\n"lib/a,b.so",,\nlib/libx.so,,' + b"9" * 30 + b"\n",
            ),
            words=(*MACHINE_WORDS, b'"lib/libx.so"', b'"files": ', b"[", b"{"),
        ),
        "torch/__init__.py": Parser(
            lambda data: _plan(files.put("torch/__init__.py", data)),
            (_PLAN,),
            words=(*TEXT_WORDS, b"-" * 300, b"(" * 150, b"try:\n", b"CDLL", b'".so"', b"def "),
            longest=8192,
        ),
        "ld.so": Parser(
            lambda data: _system(files, python, data),
            (
                b"/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/etc/ld.so.cache\0"
                b"stable release version 2.36.\0",
                b"/lib/a.so $ORIGIN/b.so # x\nlibc.so:libd.so\n",
            ),
            words=(*MACHINE_WORDS, b"/lib/", b"lib", b"/", b"\0", b"ld.so.cache\0", b"$LIB"),
        ),
        "strings of a library": Parser(
            lambda data: version_after(str(files.put("lib.so", data)), "Version "),
            (b"\0x Version 12.4.1\0", b"Version 9"),
            words=(b"Version ", b"1.", b"\0", b"9" * 20),
        ),
        "variables": Parser(
            lambda data: _variables(data, root),
            (
                b"GPU-0123abcd-0123-0123-0123-0123456789ab,1,MIG-GPU-0/1/2",
                b"compute,utility,graphics",
                b"cuda>=12.4 brand=tesla,driver>=535",
                b"expandable_segments:True,max_split_size_mb:512",
                b"/usr/lib:$HOME/x:~/y",
                b"granularity=fine,compact,1,0",
                b"8.0;8.6+PTX Ada",
                b"+dynamo,torch.nn:10",
                b"true,close",
                b"^docker0,lo",
            ),
            words=(*MACHINE_WORDS, b"compute", b"a", b"cuda>=", b"1.", b"close ", b":", b";"),
        ),
        "what is attached": Parser(
            lambda data: _attached(_all_of(ATTACHED, files, data, context=root)),
            (
                b"cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n/lib/libcuda.so.535.183.01\n",
                b'{"cdiVersion":"0.6.0","kind":"nvidia.com/gpu","x":"/libcuda.so.580.95"}',
                b"0\n",
            ),
            words=(b"cdiVersion", b"nvidia.com/gpu", b"libcuda.so.", b"1.2.3", b":", b'"', b"1"),
        ),
        "PCI configuration": Parser(
            lambda data: _configuration(files, data),
            (configuration(0x1D), configuration(0), bytes(64)),
        ),
        "network": Parser(
            lambda data: read_network(_all_of(NETWORK, files, data, context=_of_a_job(root))),
            (
                b"127.0.1.1 node7 # x\n10.0.0.7 head\n",
                b"4: ACTIVE\n",
                b"00000000000000000000000000000001 01 80 10 80       lo\n",
                b"        |-- 10.0.0.7\n           /32 host LOCAL\n",
            ),
            words=(*MACHINE_WORDS, b"10.0.0.7", b"head", b"::", b"/32 host LOCAL", b"node7\n"),
        ),
        "cuInit": Parser(
            lambda data: typed(json_object(data), CudaInit),
            (b'{"status": "ok", "code": 0, "message": "", "driver_cuda": "12.2"}',),
            (Undecodable,),
            MACHINE_WORDS,
        ),
    }


_PLAN = b"""
def _preload_cuda_deps(err=None):
    cuda_libs = {"cublas": "libcublas.so.*[0-9]", "cudnn": "libcudnn.so.*[0-9]"}
    for lib_folder, lib_name in cuda_libs.items():
        _preload_cuda_lib(lib_folder, lib_name)
    _preload_cuda_lib("nvtx", "libnvToolsExt.so.*[0-9]", required=False)
def _load_global_deps():
    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        with open("/proc/self/maps") as f:
            if "libcublas.so" not in f.read():
                _preload_cuda_deps()
    except OSError as err:
        cuda_libs = {"a": "liba.so.*"}
        if t_major >= 12:
            cuda_libs["cufile"] = "libcufile.so.*"
x = 1
"""


def _all_of(
    names: tuple[str, ...],
    files: Files,
    data: bytes,
    below: str = "",
    context: Context | None = None,
) -> Context:
    """The context of a root where all these files hold the same."""
    for name in names:
        files.put(below + name, data)
    return context or context_of(Children(), root=files.folder, env={}, cwd="/")


def _of_a_job(context: Context) -> Context:
    return replace(context, env={"MASTER_ADDR": "head"})


def _with(context: Context, path: Path) -> Context:
    assert context.root in path.parents
    return context


def _machine(context: Context, root: Context) -> None:
    read_host(context)
    host_identity(context, "x")
    read_driver(context)
    read_container(context)
    cpu_flags(root.path("/proc/cpuinfo"))


def _kernel(files: Files, data: bytes) -> None:
    below = "another root/"
    files.put(f"{below}proc/sys/kernel/osrelease", b"6.8.0")
    _all_of(KERNEL, files, data, below)
    root = files.folder / below
    read_kernel_modules(context_of(Children(), root=root, env={}, cwd="/"))


def _limits(context: Context) -> None:
    cpu_quota(context.root)
    memory_limit_bytes(context.root)
    numa_nodes(context.root, {0, 1})
    read_host(context)


def _pci(files: Files, data: bytes) -> None:
    names = ("class", "vendor", "device", "current_link_speed", "current_link_width", "numa_node")
    parts = data.split(b"|", len(names) - 1)
    for name, part in zip(names, [*parts, *[b""] * len(names)], strict=False):
        files.put(f"{PCI}/{name}", part)
    read_pci(files.folder)


def _attached(context: Context) -> None:
    read_thunderbolt(context)
    read_cdi_specs(context)


def _configuration(files: Files, data: bytes) -> None:
    """That of a port above two GPUs, for which alone it is read."""
    for port, gpu in (("0000:02:08.0", "0000:07:00.0"), ("0000:02:09.0", "0000:08:00.0")):
        above = f"sys/devices/pci0000:00/0000:00:01.0/{port}"
        for name, text in (("class", "0x030200"), ("vendor", "0x10de"), ("device", "0x20b5")):
            files.put(f"{above}/{gpu}/{name}", text.encode())
        files.put(f"{above}/config", data)
        for address, folder in ((gpu, f"{above}/{gpu}"), (port, above)):
            link = files.folder / "sys/bus/pci/devices" / address
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(files.folder / folder)
    read_pci(files.folder)


def _pth(path: Path, module: ModuleType) -> None:
    import sys

    before = sys.path[:]
    try:
        module.add_path_lines(str(path.parent), path.name, set())
    finally:
        sys.path[:] = before


def _dist_info(files: Files, data: bytes) -> Path:
    for name in DIST_INFO:
        files.put(f"site/torch-1.dist-info/{name}", data)
    return files.folder / "site"


def _owners(files: Files, data: bytes) -> None:
    prefix = files.folder / "conda"
    path = str(prefix / "lib/libx.so")
    files.put("conda/conda-meta/x.json", data)
    files.put("conda/torch-1.dist-info/METADATA", b"Name: torch\nVersion: 1\n")
    files.put("conda/torch-1.dist-info/RECORD", data)
    wheels = wheel_files(read_distributions([prefix]).items)
    owners = Owners(wheels=wheels, conda_prefix=str(prefix))
    owners.recorded("libx.so")
    for owner in (
        *owners.of([path]).values(),
        *Owners(conda_prefix=str(prefix)).of([path]).values(),
    ):
        assert isinstance(owner.name, str)
        assert isinstance(owner.version, str)


def _plan(path: Path) -> None:
    plan = read_plan(str(path))
    plan.handles("libcublas.so.12: no")
    for step in (*plan.always, *plan.fallback):
        if step.applies("12"):
            plan.locate(step, [str(path.parent)], "12")


def _system(files: Files, python: Elf, data: bytes) -> None:
    files.put("ld.so", data)
    variables = {"LD_PRELOAD": _text(data), "LD_LIBRARY_PATH": _text(data)}
    preload = str(files.put("ld.so.preload", data))
    system_of(python, variables, cpu_flags=frozenset({"sse4_2"}), preload_file=preload)


def _variables(data: bytes, root: Context) -> None:
    env: Mapping[str, str] = dict.fromkeys(WATCHED_VARIABLES, _text(data).replace("\0", ""))
    read_environment(replace(root, env=env))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
