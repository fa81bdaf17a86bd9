"""The diseases of the loader, and which of them a problem of the resolution is."""

import re

from envdoctor.api import Code, Severity
from envdoctor.facts.libraries import Problem
from envdoctor.knowledge import Library, LibraryCatalogue

_CONSEQUENCES = ("ED401", "ED402", "ED403", "ED404", "ED410", "ED411", "ED413", "ED349")
_SHADOWS = ("ED310", "ED314", "ED360")


def _code(id: str, name: str, message: str, *, family: str = "", also: object = ()) -> Code:
    explains = (*_CONSEQUENCES, *also)  # type: ignore[misc]
    return Code(
        id=id,
        name=name,
        family=family or name,
        severity=Severity.ERROR,
        message=message,
        explains=explains,
    )


_MISSING = "`{library}`, which {needed_by} needs, is not found where the loader looks"
_LACKS = "{library_said} lacks {symbols}, which {needed_by} needs"

MISSING_LIBCUDART = _code("ED300", "missing-libcudart", _MISSING)
MISSING_CUDA_LIB = _code("ED301", "missing-cuda-lib", _MISSING)
LIBCUDA_MISSING = _code("ED302", "libcuda-missing", _MISSING)
MISSING_LIBRARY = _code("ED303", "missing-library", _MISSING, family="missing-library")
UNREADABLE_LIBRARY = _code(
    "ED304", "unreadable-library", "`{path}` cannot be loaded: {detail}", also=_SHADOWS
)
UNDEFINED_SYMBOL = _code("ED305", "undefined-symbol", _LACKS, also=_SHADOWS)
LD_LIBRARY_PATH_SHADOW = Code(
    id="ED310",
    name="ld-library-path-shadow",
    family="ld-library-path-shadow",
    severity=Severity.WARNING,
    message="{what} taken from {rule} in place of torch's own: `{library}` is {path}",
    explains=_CONSEQUENCES,
)
NVJITLINK_MISMATCH = _code("ED311", "nvjitlink-mismatch", _LACKS, also=_SHADOWS)
NCCL_SYMBOL_MISMATCH = _code("ED312", "nccl-symbol-mismatch", _LACKS, also=_SHADOWS)
CUBLAS_MISMATCH = _code("ED313", "cublas-mismatch", _LACKS, also=_SHADOWS)
MIXED_CUDA_WHEELS = Code(
    id="ED314",
    name="mixed-cuda-wheels",
    family="mixed-cuda-wheels",
    severity=Severity.WARNING,
    message="{what} for different CUDA majors are side by side: {items}",
)
GLIBCXX_TOO_OLD = _code("ED320", "glibcxx-too-old", _LACKS, also=_SHADOWS)
GLIBC_TOO_OLD = _code("ED321", "glibc-too-old", _LACKS)
MKL_MISMATCH = _code("ED322", "mkl-mismatch", _LACKS)
OPENMP_DUPLICATE = Code(
    id="ED325",
    name="openmp-duplicate",
    family="openmp-duplicate",
    severity=Severity.WARNING,
    message="{count} copies of the Intel/LLVM OpenMP runtime are loaded into one process",
    explains=("ED402", "ED404"),
)
DRIVER_STUB = Code(
    id="ED330",
    name="driver-stub",
    family="driver-stub-34",
    severity=Severity.ERROR,
    message="`libcuda.so.1` is found at `{path}`, a stub for linking, not the driver's",
    explains=("ED410", "ED411"),
)
CUDA_COMPAT_WRONG = Code(
    id="ED331",
    name="cuda-compat-wrong",
    family="cuda-compat-wrong",
    severity=Severity.WARNING,
    message="`libcuda.so.1` is the forward-compatibility build {compat} at `{path}`, and the "
    "driver is {driver}",
    explains=("ED410", "ED411"),
)
PRELOAD_MISSING = Code(
    id="ED332",
    name="preload-missing",
    family="preload-missing",
    severity=Severity.WARNING,
    message="{source} names `{library}`, which {what}",
)
_EXTENSION = "`{file}` of {distribution} does not fit the installed torch: {what}"
EXTENSION_LIBRARY_MISMATCH = _code(
    "ED345", "extension-library-mismatch", _EXTENSION, family="extension-abi-mismatch"
)
TORCHVISION_LIBRARY_MISMATCH = _code(
    "ED346", "torchvision-library-mismatch", _EXTENSION, family="torchvision-mismatch"
)
TORCHAUDIO_LIBRARY_MISMATCH = _code(
    "ED347", "torchaudio-library-mismatch", _EXTENSION, family="torchaudio-mismatch"
)
PREDICTION_DIFFERS = Code(
    id="ED349",
    name="prediction-differs",
    family="prediction-differs",
    severity=Severity.INFO,
    message="{library}: predicted {predicted}, really mapped {mapped}",
)
CUDNN_MISSING = _code("ED350", "cudnn-missing", _MISSING)
CUDNN_VERSION_MISMATCH = _code(
    "ED351",
    "cudnn-version-mismatch",
    "cuDNN's parts come from {count} places: `{one}` from {one_place}, `{other}` from "
    "{other_place}",
    also=_SHADOWS,
)
CUDNN_SYMBOL_MISMATCH = _code(
    "ED352", "cudnn-symbol-mismatch", _LACKS, family="cudnn-version-mismatch", also=_SHADOWS
)
DEPENDENCY_PIN_VIOLATED = Code(
    id="ED360",
    name="dependency-pin-violated",
    family="dependency-pin-violated",
    severity=Severity.WARNING,
    message="{name} {installed} is installed, and {by} {by_version} requires {wanted}",
)
DEPENDENCY_MISSING = Code(
    id="ED361",
    name="dependency-missing",
    family="dependency-missing",
    severity=Severity.WARNING,
    message="{name} is not installed, and {by} {by_version} requires {wanted}",
    explains=("ED300", "ED301", "ED350", "ED303", *_CONSEQUENCES),
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
    MKL_MISMATCH,
    CUDNN_MISSING,
    CUDNN_SYMBOL_MISMATCH,
)


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
