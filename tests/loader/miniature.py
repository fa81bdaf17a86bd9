"""A torch in miniature: small compiled libraries in the layout of the CUDA wheels.

`import torch` really loads them, by the code of torch 2.4 or 2.6, and `torch.query()` opens a part
of cuDNN by name; so a prediction can be held against /proc/self/maps within a second.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from envdoctor_checks import dependencies, driver_library, extensions, library_pins, loader

from envdoctor.derived import CORE_DERIVATIONS
from envdoctor.engine import derive_facts, run_checks
from envdoctor.facts import Observed, Snapshot
from envdoctor.facts.libraries import LibraryResolution
from envdoctor.facts.python import Distribution, Distributions
from envdoctor.facts.torch import LoadedLibraries
from envdoctor.findings import Finding
from envdoctor.knowledge import Knowledge, load
from envdoctor.loader.elf import read_elf
from envdoctor.loader.resolve import Surroundings, resolve
from envdoctor.loader.search import system_of
from envdoctor.loader.simulate import Program
from envdoctor.probes.loader import cpu_flags
from tests.loader.build import Workshop

RPATH = "-Wl,--disable-new-dtags"
RUNPATH = "-Wl,--enable-new-dtags"
SOABI = sysconfig.get_config_var("SOABI")
KNOWLEDGE = load()

_INIT = """
import ctypes
import glob
import os
import platform
import sys


def _preload_cuda_deps(lib_folder, lib_name):
    lib_path = None
    for path in sys.path:
        nvidia_path = os.path.join(path, "nvidia")
        if not os.path.exists(nvidia_path):
            continue
        candidates = glob.glob(os.path.join(nvidia_path, lib_folder, "lib", lib_name))
        if candidates and not lib_path:
            lib_path = candidates[0]
        if lib_path:
            break
    if not lib_path:
        raise ValueError(f"{lib_name} not found in the system path {sys.path}")
    ctypes.CDLL(lib_path)


def _load_global_deps() -> None:
    here = os.path.abspath(__file__)
    global_deps_lib_path = os.path.join(os.path.dirname(here), "lib", "libtorch_global_deps.so")
    try:
        ctypes.CDLL(global_deps_lib_path, mode=ctypes.RTLD_GLOBAL)
{always}
    except OSError as err:
        cuda_libs = {
            "cudnn": "libcudnn.so.*[0-9]",
            "cuda_runtime": "libcudart.so.*[0-9]",
            "nvjitlink": "libnvJitLink.so.*[0-9]",
            "cusparse": "libcusparse.so.*[0-9]",
            "nccl": "libnccl.so.*[0-9]",
        }
        is_cuda_lib_err = [lib for lib in cuda_libs.values() if lib.split(".")[0] in err.args[0]]
        if not is_cuda_lib_err:
            raise err
        for lib_folder, lib_name in cuda_libs.items():
            _preload_cuda_deps(lib_folder, lib_name)
        ctypes.CDLL(global_deps_lib_path, mode=ctypes.RTLD_GLOBAL)


_load_global_deps()
from torch._C import *
from torch import _C


def query():
    return ctypes.PyDLL(None) and _C.query()
"""

_ALWAYS = """
        try:
            with open("/proc/self/maps") as f:
                _maps = f.read()
            if "nvidia/cuda_runtime/lib/libcudart.so" not in _maps:
                return
            _preload_cuda_deps("nvjitlink", "libnvJitLink.so.*[0-9]")
        except Exception:
            pass
"""

_EXTENSION = r"""
#define PY_SSIZE_T_CLEAN
#include <Python.h>
int cuda_use(void);
static PyObject *query(PyObject *self, PyObject *none) { return PyLong_FromLong(cuda_use()); }
static PyMethodDef methods[] = {{"query", query, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", 0, -1, methods};
PyMODINIT_FUNC PyInit__C(void) { return PyModule_Create(&module); }
"""

_CUDNN = r"""
#include <dlfcn.h>
int cudnnGetVersion(void) {
    void *part = dlopen("libcudnn_graph.so.9", RTLD_NOW);
    return part ? ((int (*)(void))dlsym(part, "cudnnGraphVersion"))() : -1;
}
"""

_CHILD = r"""
import json, sys
answer = {"error": None, "query": None}
try:
    import torch
    answer["query"] = torch.query()
except Exception as error:
    answer["error"] = "%s: %s" % (type(error).__name__, error)
answer["paths"] = [line.split(None, 5)[5].strip() for line in open("/proc/self/maps")
                   if len(line.split(None, 5)) == 6 and ".so" in line]
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Truth:
    """What a real interpreter did."""

    error: str | None
    query: int | None
    paths: tuple[str, ...]


@dataclass
class Miniature:
    """The site-packages of the miniature, and what is asked of it."""

    site: Path
    shop: Workshop
    requires: tuple[str, ...] = ()
    installed: tuple[tuple[str, str], ...] = ()
    extra_requires: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, name: str) -> Path:
        """The one file of that name."""
        (path,) = self.site.rglob(name)
        return path

    def other(self, name: str, **library: object) -> str:
        """Another library of that name in a folder of its own; returns the folder."""
        folder = f"other/{name}"
        self.shop.library(f"{folder}/{name}", **library)  # type: ignore[arg-type]
        return str(self.shop.folder / folder)

    def resolve(self, variables: dict[str, str] | None = None) -> LibraryResolution:
        """The prediction."""
        executable = read_elf(os.path.realpath(sys.executable))
        program = Program(
            executable=executable,
            torch_path=str(self.site / "torch"),
            sys_path=(str(self.site), *sys.path),
            soabi=SOABI,
            cuda_major="12",
        )
        environment = {**os.environ, **(variables or {})}
        system = system_of(executable, environment, cpu_flags=cpu_flags(Path("/proc/cpuinfo")))
        around = Surroundings(distributions=self.distributions().items)
        return resolve(program, system, around, KNOWLEDGE.libraries)

    def run(self, variables: dict[str, str] | None = None) -> Truth:
        """The truth."""
        environment = {**os.environ, **(variables or {}), "PYTHONPATH": str(self.site)}
        result = subprocess.run(
            [sys.executable, "-c", _CHILD],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        answer = json.loads(result.stdout)
        paths = tuple(os.path.realpath(path) for path in answer["paths"])
        return Truth(answer["error"], answer["query"], paths)

    def distributions(self) -> Distributions:
        """torch, which requires `requires`, and what is `installed`."""
        torch = ("torch", "2.6.0")
        return Distributions(
            items=tuple(
                Distribution(
                    name=name,
                    version=version,
                    location=str(self.site),
                    metadata_path=str(self.site / f"{name}.dist-info"),
                    requires=self.requires
                    if name == "torch"
                    else self.extra_requires.get(name, ()),
                )
                for name, version in (torch, *self.installed)
            )
        )

    def findings(self, variables: dict[str, str] | None = None) -> tuple[Finding, ...]:
        """What the checks of the loader say of the prediction."""
        resolution = self.resolve(variables)
        facts = {
            LibraryResolution: Observed(value=resolution, source="test"),
            Distributions: Observed(value=self.distributions(), source="test"),
        }
        return findings_of(Snapshot(facts))


def findings_of(snapshot: Snapshot) -> tuple[Finding, ...]:
    """The findings of the loader's checks over any facts."""
    checks = [
        item
        for module in (loader, library_pins, dependencies, driver_library, extensions)
        for item in vars(module).values()
        if type(item).__name__ == "Check"
    ]
    services: dict[type, object] = {Knowledge: KNOWLEDGE}
    known = derive_facts(CORE_DERIVATIONS, snapshot, services)
    runs = run_checks(dict.fromkeys(checks), known, services)
    crashed = [run.reason for run in runs if run.status == "crashed"]
    assert not crashed, crashed
    return tuple(finding for run in runs for finding in run.findings)


def copied(template: Path, shop: Workshop, *, preloads: bool) -> Miniature:
    """A copy to be broken; with `preloads` its `__init__` is that of 2.6, else that of 2.4."""
    site = shop.folder / "site-packages"
    shutil.copytree(template / "site-packages", site)
    always = _ALWAYS if preloads else ""
    (site / "torch" / "__init__.py").write_text(_INIT.replace("{always}", always))
    return Miniature(site=site, shop=shop)


def build(shop: Workshop) -> None:
    """Compile the libraries of the miniature."""
    nvidia = "site-packages/nvidia"
    shop.library(f"{nvidia}/cuda_runtime/lib/libcudart.so.12", source=_function("cudaRun"))
    shop.library(
        f"{nvidia}/nvjitlink/lib/libnvJitLink.so.12",
        source=_function("__nvJitLinkComplete_12_4"),
        versions="libnvJitLink.so.12 { global: *; };",
    )
    shop.library(
        f"{nvidia}/cusparse/lib/libcusparse.so.12",
        source=_calling("cusparseUse", "__nvJitLinkComplete_12_4"),
        needs=[f"{nvidia}/nvjitlink/lib/libnvJitLink.so.12"],
        flags=[RUNPATH, "-Wl,-rpath,$ORIGIN/../../nvjitlink/lib"],
    )
    shop.library(f"{nvidia}/nccl/lib/libnccl.so.2", source=_function("ncclCommRegister"))
    shop.library(
        f"{nvidia}/cudnn/lib/libcudnn.so.9",
        source=_CUDNN,
        flags=[RUNPATH, "-Wl,-rpath,$ORIGIN", "-ldl"],
    )
    for part in ("graph", "ops", "cnn", "adv", "engines_precompiled", "engines_runtime_compiled"):
        source = _function("cudnnGraphVersion" if part == "graph" else f"cudnn_{part}")
        shop.library(f"{nvidia}/cudnn/lib/libcudnn_{part}.so.9", source=source)
    shop.library(f"{nvidia}/cudnn/lib/libcudnn_heuristic.so.9")
    _torch(shop, nvidia)


def _torch(shop: Workshop, nvidia: str) -> None:
    folders = ":".join(
        f"$ORIGIN/../../nvidia/{part}/lib" for part in ("cuda_runtime", "cusparse", "nccl", "cudnn")
    )
    flags = [RPATH, f"-Wl,-rpath,{folders}:$ORIGIN"]
    cudart = f"{nvidia}/cuda_runtime/lib/libcudart.so.12"
    shop.library("site-packages/torch/lib/libtorch_global_deps.so", needs=[cudart], flags=flags)
    names = ["cusparseUse", "ncclCommRegister", "cudnnGetVersion", "cudaRun"]
    shop.library(
        "site-packages/torch/lib/libtorch_cuda.so",
        source="".join(f"int {name}(void);\n" for name in names)
        + "int cuda_use(void) { cusparseUse(); ncclCommRegister(); cudaRun();"
        " return cudnnGetVersion(); }",
        needs=[
            f"{nvidia}/cusparse/lib/libcusparse.so.12",
            f"{nvidia}/nccl/lib/libnccl.so.2",
            f"{nvidia}/cudnn/lib/libcudnn.so.9",
            cudart,
        ],
        flags=flags,
    )
    include = sysconfig.get_paths()["include"]
    shop.library(
        f"site-packages/torch/_C.{SOABI}.so",
        source=_EXTENSION,
        needs=["site-packages/torch/lib/libtorch_cuda.so"],
        flags=[RPATH, "-Wl,-rpath,$ORIGIN/lib", f"-I{include}"],
    )


def _function(name: str) -> str:
    return f"int {name}(void) {{ return 1; }}\n"


def _calling(name: str, other: str) -> str:
    return f"int {other}(void); int {name}(void) {{ return {other}(); }}\n"


def snapshot_with_maps(miniature: Miniature, variables: dict[str, str] | None = None) -> Snapshot:
    """The prediction and the truth of one run as facts."""
    resolution, truth = miniature.resolve(variables), miniature.run(variables)
    return Snapshot(
        {
            LibraryResolution: Observed(value=resolution, source="test"),
            LoadedLibraries: Observed(value=LoadedLibraries(paths=truth.paths), source="test"),
        }
    )


def unlinked(path: Path) -> None:
    """Remove a file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
