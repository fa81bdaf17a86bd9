"""The diseases of the loader, and which of them a problem of the resolution is."""

import re
from collections.abc import Iterable

from envdoctor.api import Code, Fault, Layer, Library, LibraryCatalogue, Problem, Severity, Topic

_SHADOWS = ("ED310", "ED314", "ED349", "ED360")


def _code(
    id: str,
    name: str,
    message: str,
    detailed: str,
    *,
    family: str = "",
    topic: Topic = "libraries",
    layer: Layer = Layer.LIBRARIES,
    fault: Fault | None = None,
    breaks: str = "import:torch",
    explains: tuple[str, ...] = ("ED349",),
) -> Code:
    return Code(
        id=id,
        name=name,
        family=family or name,
        severity=Severity.ERROR,
        topic=topic,
        layer=layer,
        fault=fault,
        breaks=breaks,
        message=message,
        detailed=detailed,
        explains=explains,
    )


_MISSING = "{missing} {is_not} found where the loader looks"
_LACKS = "{library_said} lacks {symbols}, which {needed_by} needs"

MISSING_LIBCUDART = _code(
    "ED300",
    "missing-libcudart",
    "libcudart of the CUDA that torch is built for is not found",
    _MISSING,
)
MISSING_CUDA_LIB = _code(
    "ED301", "missing-cuda-lib", "a CUDA library that torch needs is not found", _MISSING
)
LIBCUDA_MISSING = _code(
    "ED302",
    "libcuda-missing",
    "libcuda.so.1, the driver's library, is not found",
    _MISSING,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
)
MISSING_LIBRARY = _code(
    "ED303", "missing-library", "a library that torch needs is not found", _MISSING
)
UNREADABLE_LIBRARY = _code(
    "ED304",
    "unreadable-library",
    "a library that torch needs cannot be loaded",
    "`{path}` cannot be loaded: {detail}",
    explains=_SHADOWS,
)
UNDEFINED_SYMBOL = _code(
    "ED305",
    "undefined-symbol",
    "two libraries do not belong together: one lacks a symbol that the other needs",
    _LACKS,
    explains=_SHADOWS,
)
LD_LIBRARY_PATH_SHADOW = Code(
    id="ED310",
    name="ld-library-path-shadow",
    family="ld-library-path-shadow",
    severity=Severity.WARNING,
    topic="libraries",
    layer=Layer.LIBRARIES,
    breaks="import:torch",
    message="libraries are taken from LD_LIBRARY_PATH or LD_PRELOAD in place of the usual ones",
    detailed="{what} taken from {rule} in place of the usual one: `{library}` is {path}",
    explains=("ED349",),
)
NVJITLINK_MISMATCH = _code(
    "ED311",
    "nvjitlink-mismatch",
    "libnvJitLink lacks a symbol that another CUDA library needs",
    _LACKS,
    explains=_SHADOWS,
)
NCCL_SYMBOL_MISMATCH = _code(
    "ED312",
    "nccl-symbol-mismatch",
    "libnccl lacks a symbol that torch needs",
    _LACKS,
    explains=_SHADOWS,
)
CUBLAS_MISMATCH = _code(
    "ED313",
    "cublas-mismatch",
    "libcublas and libcublasLt are of different versions",
    _LACKS,
    explains=_SHADOWS,
)
MIXED_CUDA_WHEELS = Code(
    id="ED314",
    name="mixed-cuda-wheels",
    family="mixed-cuda-wheels",
    severity=Severity.WARNING,
    topic="libraries",
    layer=Layer.LIBRARIES,
    message="CUDA libraries of different CUDA majors are side by side",
    detailed="{what} for different CUDA majors are side by side: {items}",
)
GLIBCXX_TOO_OLD = _code(
    "ED320",
    "glibcxx-too-old",
    "libstdc++ is older than torch needs",
    _LACKS,
    explains=_SHADOWS,
)
GLIBC_TOO_OLD = _code(
    "ED321",
    "glibc-too-old",
    "glibc is older than torch needs",
    _LACKS,
    fault="machine",
)
WHEELS_IN_OTHER_FOLDERS = _code(
    "ED326",
    "wheels-in-other-folders",
    "libraries that torch needs lie in other folders than those in which it looks",
    "{missing} {are} in another folder than torch, which looks beside itself",
)
MKL_MISMATCH = _code(
    "ED322",
    "mkl-mismatch",
    "MKL lacks a symbol that torch needs",
    _LACKS,
)
OPENMP_DUPLICATE = Code(
    id="ED325",
    name="openmp-duplicate",
    family="openmp-duplicate",
    severity=Severity.WARNING,
    topic="libraries",
    layer=Layer.LIBRARIES,
    breaks="import:torch",
    message="two copies of the Intel/LLVM OpenMP runtime are loaded into one process",
    detailed="{count} copies of the Intel/LLVM OpenMP runtime are loaded into one process",
)
PRELOAD_MISSING = Code(
    id="ED332",
    name="preload-missing",
    family="preload-missing",
    severity=Severity.WARNING,
    topic="libraries",
    layer=Layer.LIBRARIES,
    message="LD_PRELOAD or /etc/ld.so.preload names a file that cannot be loaded",
    detailed="{source} names `{library}`, which {what}",
)
_EXTENSION = "`{file}` of {distribution} does not fit the installed torch: {what}"
EXTENSION_LIBRARY_MISMATCH = _code(
    "ED345",
    "extension-library-mismatch",
    "a compiled module does not fit the installed torch",
    _EXTENSION,
    family="extension-abi-mismatch",
    topic="companions",
    breaks="import",
)
TORCHVISION_LIBRARY_MISMATCH = _code(
    "ED346",
    "torchvision-library-mismatch",
    "a library of torchvision does not fit the installed torch",
    _EXTENSION,
    family="torchvision-mismatch",
    topic="companions",
    breaks="import:torchvision",
)
TORCHAUDIO_LIBRARY_MISMATCH = _code(
    "ED347",
    "torchaudio-library-mismatch",
    "a library of torchaudio does not fit the installed torch",
    _EXTENSION,
    family="torchaudio-mismatch",
    topic="companions",
    breaks="import:torchaudio",
)
PREDICTION_DIFFERS = Code(
    id="ED349",
    name="prediction-differs",
    family="prediction-differs",
    severity=Severity.INFO,
    topic="libraries",
    layer=Layer.IMPORT,
    message="a library is mapped from another file than was predicted",
    detailed="{library}: predicted {predicted}, really mapped {mapped}",
)
CUDNN_MISSING = _code(
    "ED350",
    "cudnn-missing",
    "a cuDNN library is not found",
    _MISSING,
    breaks="compute:gpu",
)
CUDNN_VERSION_MISMATCH = _code(
    "ED351",
    "cudnn-version-mismatch",
    "cuDNN's parts come from different places",
    "cuDNN's parts come from {count} places: `{one}` from {one_place}, `{other}` from "
    "{other_place}",
    breaks="compute:gpu",
    explains=_SHADOWS,
)
CUDNN_SYMBOL_MISMATCH = _code(
    "ED352",
    "cudnn-symbol-mismatch",
    "a cuDNN library lacks a symbol that another part needs",
    _LACKS,
    family="cudnn-version-mismatch",
    breaks="compute:gpu",
    explains=_SHADOWS,
)
DEPENDENCY_PIN_VIOLATED = Code(
    id="ED360",
    name="dependency-pin-violated",
    family="dependency-pin-violated",
    severity=Severity.WARNING,
    topic="libraries",
    layer=Layer.FILES,
    message="an installed package is not the version that torch requires",
    detailed="{name} {installed} is installed, and {by} {by_version} requires {wanted}",
)
DEPENDENCY_MISSING = Code(
    id="ED361",
    name="dependency-missing",
    family="dependency-missing",
    severity=Severity.WARNING,
    topic="libraries",
    layer=Layer.FILES,
    breaks="import:torch",
    message="a package that torch requires is not installed",
    detailed="{name} is not installed, and {by} {by_version} requires {wanted}",
    explains=("ED349",),
)

_LACKING = {
    "cudnn": CUDNN_SYMBOL_MISMATCH,
    "nvjitlink": NVJITLINK_MISMATCH,
    "nccl": NCCL_SYMBOL_MISMATCH,
    "cublas": CUBLAS_MISMATCH,
    "mkl": MKL_MISMATCH,
    "libstdc++": GLIBCXX_TOO_OLD,
}
_MISSING_BY_COMPONENT = {
    "cudnn": CUDNN_MISSING,
    "cudart": MISSING_LIBCUDART,
    "libcuda": LIBCUDA_MISSING,
}
"""The diseases of one component, by its name in the knowledge."""
_GLIBC = re.compile(r"GLIBC_\d")

PROBLEM_CODES = (
    MISSING_LIBCUDART,
    MISSING_CUDA_LIB,
    LIBCUDA_MISSING,
    MISSING_LIBRARY,
    UNREADABLE_LIBRARY,
    UNDEFINED_SYMBOL,
    NVJITLINK_MISMATCH,
    NCCL_SYMBOL_MISMATCH,
    CUBLAS_MISMATCH,
    GLIBCXX_TOO_OLD,
    GLIBC_TOO_OLD,
    WHEELS_IN_OTHER_FOLDERS,
    MKL_MISMATCH,
    CUDNN_MISSING,
    CUDNN_SYMBOL_MISMATCH,
)


def outcomes_of(moments: Iterable[str]) -> tuple[str, ...]:
    """What is broken by a library that torch opens at these moments."""
    broken = {"import:torch" if one in ("start", "import") else "compute:gpu" for one in moments}
    return tuple(sorted(broken, reverse=True))


def disease_of(problem: Problem, libraries: LibraryCatalogue) -> Code:
    """The disease that a problem is a sign of."""
    library = libraries.of(problem.library)
    if problem.kind == "unreadable":
        return UNREADABLE_LIBRARY
    if problem.kind == "missing":
        return _disease_of_missing(library)
    if problem.kind == "version" and any(_GLIBC.match(name) for name in problem.names):
        return GLIBC_TOO_OLD
    return _LACKING.get(library.name, UNDEFINED_SYMBOL) if library else UNDEFINED_SYMBOL


def _disease_of_missing(library: Library | None) -> Code:
    if library is None or not library.uses_cuda:
        return MISSING_LIBRARY
    return _MISSING_BY_COMPONENT.get(library.name, MISSING_CUDA_LIB)
