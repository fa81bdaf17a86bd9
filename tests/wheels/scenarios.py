"""Ways of breaking a CUDA environment, each as a function of a hard-linked copy."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from tests.wheels.environments import Environment, donor, replace

Variables = dict[str, str]
Apply = Callable[[Environment], Variables | None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One way. `apply` breaks the copy and returns variables, or None where it does not apply.

    `codes` are the findings of which one must be told if the import fails. `hidden` ones must be
    told although the import works, `may_hide` ones can be: only a GPU would show them. `silent`
    scenarios must not yield more than information.
    """

    name: str
    apply: Apply
    codes: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    may_hide: tuple[str, ...] = ()
    silent: bool = False


def _remove(pattern: str) -> Apply:
    def apply(environment: Environment) -> Variables | None:
        found = environment.find(pattern)
        for path in found:
            path.unlink()
        return {} if found else None

    return apply


def _cut(pattern: str, keep: Callable[[int], int]) -> Apply:
    def apply(environment: Environment) -> Variables | None:
        found = environment.find(pattern)
        for path in found:
            with path.open("rb") as file:
                content = file.read(keep(path.stat().st_size))
            replace(path, content)
        return {} if found else None

    return apply


def _overwrite(pattern: str, content: bytes) -> Apply:
    def apply(environment: Environment) -> Variables | None:
        found = environment.find(pattern)
        for path in found:
            replace(path, content)
        return {} if found else None

    return apply


def _swap(name: str, pattern: str) -> Apply:
    """Files of another version under the same names; the target's major must be the same."""

    def apply(environment: Environment) -> Variables | None:
        count = 0
        for path in environment.find(pattern):
            other = donor(name) / path.name
            if other.exists():
                path.unlink()
                shutil.copy2(other, path)
                count += 1
        return {} if count else None

    return apply


def _shadow(*names: str) -> Apply:
    def apply(environment: Environment) -> Variables | None:
        return {"LD_LIBRARY_PATH": ":".join(str(donor(name)) for name in names)}

    return apply


def _preload(name: str, file: str) -> Apply:
    def apply(environment: Environment) -> Variables | None:
        return {"LD_PRELOAD": str(donor(name) / file)}

    return apply


def _remove_folder(part: str) -> Apply:
    def apply(environment: Environment) -> Variables | None:
        folder = environment.packages / "nvidia" / part
        if not folder.is_dir():
            return None
        shutil.rmtree(folder)
        return {}

    return apply


def _moved(environment: Environment) -> Variables | None:
    """All nvidia wheels in another folder on PYTHONPATH, where no RPATH points."""
    other = environment.folder / "elsewhere"
    other.mkdir()
    (environment.packages / "nvidia").rename(other / "nvidia")
    return {"PYTHONPATH": str(other)}


def _empty_folder_first(environment: Environment) -> Variables | None:
    folder = environment.folder / "empty"
    folder.mkdir()
    return {"LD_LIBRARY_PATH": f"{folder}::{folder}"}


def _own_folder(environment: Environment) -> Variables | None:
    """LD_LIBRARY_PATH names the wheels' own folders, as many recipes advise."""
    folders = sorted({str(path.parent) for path in environment.find("lib*.so*")})
    return {"LD_LIBRARY_PATH": ":".join(folders)}


def _identical(pattern: str) -> Apply:
    """A copy of some of torch's own libraries, first on the path."""

    def apply(environment: Environment) -> Variables | None:
        found = environment.find(pattern)
        folder = environment.folder / "copy"
        folder.mkdir()
        for path in found:
            shutil.copy2(path, folder / path.name)
        return {"LD_LIBRARY_PATH": str(folder)} if found else None

    return apply


def _if(pattern: str, apply: Apply) -> Apply:
    """Only where torch has such a library."""
    return lambda environment: apply(environment) if environment.find(pattern) else None


def _missing_preload(environment: Environment) -> Variables | None:
    return {"LD_PRELOAD": "/nowhere/libjemalloc.so.2"}


def _half(size: int) -> int:
    return size // 2


MISSING = ("ED300", "ED301", "ED303", "ED350")
REFUSED = ("ED304",)
SYMBOLS = ("ED305", "ED311", "ED312", "ED313", "ED352")

_REMOVED = (
    "libcudart.so.*",
    "libcublas.so.*",
    "libcublasLt.so.*",
    "libcudnn.so.*",
    "libcufft.so.*",
    "libcurand.so.*",
    "libcusparse.so.*",
    "libcusparseLt*.so.*",
    "libnccl.so.*",
    "libnvJitLink.so.*",
    "libnvrtc.so.*",
    "libcupti.so.*",
    "libnvToolsExt.so.*",
    "libnvshmem_host.so.*",
    "libcufile.so.*",
    "libc10.so",
    "libtorch_cuda.so",
    "libgomp*.so*",
)
_HIDDEN = {
    "libcudnn_graph.so.*": ("ED350",),
    "libcudnn_ops.so.*": ("ED350",),
    "libcudnn_cnn.so.*": ("ED350",),
    "libcudnn_engines_precompiled.so.*": ("ED350",),
    "libcudnn_heuristic.so.*": ("ED350",),
    "libcudnn_ops_infer.so.*": ("ED350",),
    "libcudnn_cnn_infer.so.*": ("ED350",),
}

SCENARIOS = (
    Scenario(name="healthy", apply=lambda environment: {}, silent=True),
    *(
        Scenario(name=f"remove {p}", apply=_remove(p), codes=MISSING, may_hide=("ED301",))
        for p in _REMOVED
    ),
    *(
        Scenario(name=f"remove {p}", apply=_remove(p), codes=codes, hidden=codes)
        for p, codes in _HIDDEN.items()
    ),
    Scenario(
        name="remove libcusolver",
        apply=_remove("libcusolver.so.*"),
        codes=MISSING,
        hidden=("ED301",),
    ),
    Scenario(
        name="remove nvrtc-builtins",
        apply=_remove("libnvrtc-builtins.so.*"),
        hidden=("ED301",),
    ),
    Scenario(name="remove nvidia/cudnn", apply=_remove_folder("cudnn"), codes=MISSING),
    Scenario(name="remove nvidia/cublas", apply=_remove_folder("cublas"), codes=MISSING),
    Scenario(name="halve libcudart", apply=_cut("libcudart.so.*", _half), codes=REFUSED),
    Scenario(name="halve libcufft", apply=_cut("libcufft.so.*", _half), codes=REFUSED),
    Scenario(name="halve libtorch_cuda", apply=_cut("libtorch_cuda.so", _half), codes=REFUSED),
    Scenario(name="empty libnccl", apply=_cut("libnccl.so.*", lambda n: 0), codes=REFUSED),
    Scenario(name="40 bytes of libcudnn", apply=_cut("libcudnn.so.*", lambda n: 40), codes=REFUSED),
    Scenario(
        name="1 KiB of libcusparse", apply=_cut("libcusparse.so.*", lambda n: 1024), codes=REFUSED
    ),
    Scenario(
        name="LFS pointer for libcurand",
        apply=_overwrite("libcurand.so.*", b"version https://git-lfs.github.com/spec/v1\n" * 3),
        codes=REFUSED,
    ),
    Scenario(
        name="swap nvJitLink 12.1",
        apply=_swap("nvjitlink-12.1", "libnvJitLink.so.*"),
        codes=SYMBOLS,
    ),
    Scenario(name="swap NCCL 2.18", apply=_swap("nccl-2.18", "libnccl.so.*"), codes=SYMBOLS),
    Scenario(name="swap cublas 12.1", apply=_swap("cublas-12.1", "libcublas.so.*"), codes=SYMBOLS),
    Scenario(
        name="swap cublasLt 12.1", apply=_swap("cublas-12.1", "libcublasLt.so.*"), codes=SYMBOLS
    ),
    Scenario(name="swap cudart 12.1", apply=_swap("cudart-12.1", "libcudart.so.*"), codes=SYMBOLS),
    Scenario(name="swap cuDNN 9.5", apply=_swap("cudnn-9.5", "libcudnn*.so.*"), codes=SYMBOLS),
    Scenario(
        name="swap one part of cuDNN 9.5",
        apply=_swap("cudnn-9.5", "libcudnn_graph.so.*"),
        codes=SYMBOLS,
        may_hide=("ED352",),
    ),
    Scenario(name="shadow nvJitLink 12.1", apply=_shadow("nvjitlink-12.1"), codes=SYMBOLS),
    Scenario(name="shadow NCCL 2.18", apply=_shadow("nccl-2.18"), silent=True),
    Scenario(name="shadow cublas 12.1", apply=_shadow("cublas-12.1"), silent=True),
    Scenario(name="shadow cudart 11", apply=_shadow("cudart-11"), silent=True),
    Scenario(name="shadow cuDNN 8", apply=_if("libcudnn.so.9", _shadow("cudnn-8")), silent=True),
    Scenario(
        name="shadow cuDNN 9.5",
        apply=_if("libcudnn.so.9", _shadow("cudnn-9.5")),
        hidden=("ED351",),
    ),
    Scenario(name="an identical cuDNN on the path", apply=_identical("libcudnn*.so.*")),
    Scenario(
        name="shadow by a whole toolkit",
        apply=_shadow("cudart-12.1", "cublas-12.1", "nccl-2.18", "nvjitlink-12.1"),
        codes=SYMBOLS,
    ),
    Scenario(name="preload NCCL 2.18", apply=_preload("nccl-2.18", "libnccl.so.2"), codes=SYMBOLS),
    Scenario(
        name="preload nvJitLink 12.1",
        apply=_preload("nvjitlink-12.1", "libnvJitLink.so.12"),
        codes=SYMBOLS,
    ),
    Scenario(name="preload of a missing file", apply=_missing_preload),
    Scenario(name="nvidia wheels elsewhere on the path", apply=_moved, codes=MISSING),
    Scenario(name="empty folders on the path", apply=_empty_folder_first, silent=True),
    Scenario(name="the wheels' own folders on the path", apply=_own_folder, silent=True),
    Scenario(name="an identical copy on the path", apply=_identical("libnvJitLink.so.*")),
)
