"""The torch on disk, read without importing it."""

import ast
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from envdoctor.facts.python import Distributions
from envdoctor.facts.torch import TorchAbsent, TorchBuild
from envdoctor.knowledge import LibraryCatalogue
from envdoctor.probes.fatbin import common_targets
from envdoctor.probes.files import matching, read_text

_PYTHON_FILES = ("__init__.py", "version.py")
_MINOR = re.compile(r"python3\.(\d{1,3})t?$")
_TARGET = re.compile(r"code=\[?([\w,]+)")


def find_torch(folders: Sequence[Path], libraries: LibraryCatalogue) -> Path | None:
    """The torch package that an import would find, whole or damaged."""
    packages = (folder / "torch" for folder in folders)
    return next((package for package in packages if _is_torch(package, libraries)), None)


def _is_torch(package: Path, libraries: LibraryCatalogue) -> bool:
    """A folder is torch if something of it is there: a local folder of that name is not.

    One that is closed to this user is asked for by `os.path`, which raises for none.
    """
    parts = ("version.py", "_C", *_libraries(libraries, cuda=False))
    return any(os.path.exists(package / part) for part in parts) or (
        os.path.isfile(package / "__init__.py") and os.path.isdir(package / "nn")
    )


def _libraries(libraries: LibraryCatalogue, *, cuda: bool) -> tuple[str, ...]:
    return tuple(f"lib/{name}" for name in libraries.torch_files(cuda=cuda))


def read_torch_absent(
    folders: Sequence[Path],
    package: Path | None,
    distributions: Distributions,
    own: Sequence[Path] = (),
) -> TorchAbsent:
    """Whether torch is nowhere on the path: neither its package nor its metadata. `own` are the
    folders of packages that the interpreter would read if they were there, or if it took the
    folder that it was started from for an environment."""
    absent = package is None and distributions.first("torch") is None
    return TorchAbsent(
        absent=absent,
        searched=tuple(str(folder) for folder in folders),
        elsewhere=tuple(_beside((*folders, *own), searched=folders)) if absent else (),
    )


def _beside(folders: Sequence[Path], searched: Sequence[Path]) -> Iterable[str]:
    """The packages of minor releases, beside those of this one, that have a torch and were not
    searched."""
    for folder in dict.fromkeys(folders):
        if folder.name in ("site-packages", "dist-packages") and _MINOR.match(folder.parent.name):
            beside = matching(folder.parent.parent, f"python3.*/{folder.name}/torch/version.py")
            found = {str(file.parents[1]) for file in beside} - {str(one) for one in searched}
            yield from sorted(found, key=_by_minor, reverse=True)


def _by_minor(folder: str) -> int:
    match = _MINOR.match(Path(folder).parent.name)
    return int(match[1]) if match else 0


def read_torch_build(
    package: Path | None, distributions: Distributions, libraries: LibraryCatalogue
) -> TorchBuild | None:
    """The build of that torch; None where there is none. Damaged parts are null, not guessed."""
    distribution = distributions.first("torch")
    if package is None:
        if distribution is None:
            return None
        package = Path(distribution.location) / "torch"
    said = _version_file(package / "version.py")
    version = _text(said, "__version__") or (distribution.version if distribution else None)
    cuda, hip = _text(said, "cuda"), _text(said, "hip")
    variant = _variant(version, cuda, hip, bool(said), package)
    flags = _compiled_flags(package)
    return TorchBuild(
        version=version,
        cuda=cuda or _cuda_of(variant),
        hip=hip,
        path=str(package),
        variant=variant,
        version_source=_version_source(package, said, distribution is not None),
        arch_flags=flags,
        arch_source="include/ATen/cuda/CUDAConfig.h" if flags else "",
        fatbin_arch_flags=common_targets(package / "lib" / "libtorch_cuda.so"),
        git_version=_text(said, "git_version"),
        debug=said.get("debug") is True,
        cxx11_abi=_cxx11_abi(package),
        missing_parts=tuple(_missing(package, variant, libraries)),
    )


_SHAPES = {
    "__version__": r"\d[\w.+!-]{0,63}",
    "cuda": r"\d{1,3}(?:\.\d{1,4}){0,3}",
    "hip": r"\d{1,3}\.\d[\w.-]{0,31}",
    "git_version": r"[0-9a-f]{7,40}|Unknown",
}
"""What the texts of torch/version.py look like; another one is not taken for any."""


def _version_file(path: Path) -> dict[str, Any]:
    """The constants that torch/version.py assigns; empty where it is missing or cut."""
    text = read_text(path)
    if not text:
        return {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        # The latter two for what is nested too deeply.
        return {}
    return {
        name: value
        for name, value in _constants(tree.body)
        if not isinstance(value, str) or re.fullmatch(_SHAPES.get(name, ".*"), value)
    }


def _text(said: dict[str, Any], name: str) -> str | None:
    """A constant that the build system writes as a text; null for whatever else stands there."""
    value = said.get(name)
    return value if isinstance(value, str) else None


def _constants(statements: Iterable[ast.stmt]) -> Iterable[tuple[str, Any]]:
    for statement in statements:
        value = getattr(statement, "value", None)
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        if isinstance(value, ast.Constant) and isinstance(targets[0], ast.Name):
            yield targets[0].id, value.value


def _variant(
    version: str | None, cuda: str | None, hip: str | None, said: bool, package: Path
) -> str:
    """The tag of the build: cu126, rocm6.2, cpu; `unknown` where nothing tells."""
    if cuda:
        return "cu" + "".join(cuda.split(".")[:2])
    if hip:
        return "rocm" + ".".join(hip.split(".")[:2])
    local = (version or "").partition("+")[2]
    if re.match(r"(cpu|cu\d|rocm|xpu)", local):
        return local.split(".")[0] if local.startswith("cu") else local
    if said or os.path.exists(package / "lib/libtorch_cpu.so"):
        return "unknown" if os.path.exists(package / "lib/libtorch_cuda.so") else "cpu"
    return "unknown"


def _cuda_of(variant: str) -> str | None:
    match = re.fullmatch(r"cu(\d+)(\d)", variant)
    return f"{match[1]}.{match[2]}" if match else None


def _version_source(package: Path, said: dict[str, Any], has_distribution: bool) -> str:
    if said:
        return str(package / "version.py")
    return "METADATA of torch" if has_distribution else ""


def _compiled_flags(package: Path) -> tuple[str, ...]:
    """The targets in NVCC_FLAGS_EXTRA, which the build system writes into CUDAConfig.h."""
    text = read_text(package / "include/ATen/cuda/CUDAConfig.h") or ""
    lines = (line for line in text.splitlines() if "NVCC_FLAGS_EXTRA" in line)
    found = [
        target for line in lines for group in _TARGET.findall(line) for target in group.split(",")
    ]
    return tuple(sorted(set(found), key=_by_number))


def _by_number(target: str) -> tuple[str, int, str]:
    match = re.match(r"([a-z]+)_(\d+)(\w*)", target)
    return (match[1], int(match[2]), match[3]) if match else (target, 0, "")


def _cxx11_abi(package: Path) -> bool | None:
    text = read_text(package / "share/cmake/Torch/TorchConfig.cmake") or ""
    match = re.search(r"_GLIBCXX_USE_CXX11_ABI=([01])", text)
    return match[1] == "1" if match else None


def _missing(package: Path, variant: str, libraries: LibraryCatalogue) -> Iterable[str]:
    parts = (*_PYTHON_FILES, *_libraries(libraries, cuda=variant.startswith("cu")))
    yield from (part for part in parts if not os.path.exists(package / part))
    if not any(matching(package, "_C.*.so")) and not os.path.exists(package / "_C.so"):
        yield "_C"
