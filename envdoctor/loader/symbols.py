"""Which library an undefined symbol should have come from, by its name."""

import re
from collections.abc import Iterable

from envdoctor.facts.libraries import Problem
from envdoctor.loader.dlopen import stem_of
from envdoctor.loader.process import SYMBOL, Process

_PROVIDERS = (
    (r"_?_?nvJitLink", "libnvJitLink"),
    (r"p?nccl[A-Z]", "libnccl"),
    (r"cublasLt", "libcublasLt"),
    (r"cublas", "libcublas"),
    (r"cudnn", "libcudnn"),
    (r"cusparseLt", "libcusparseLt"),
    (r"cusparse", "libcusparse"),
    (r"cusolver", "libcusolver"),
    (r"cufft", "libcufft"),
    (r"curand", "libcurand"),
    (r"nvrtc", "libnvrtc"),
    (r"cupti", "libcupti"),
    (r"nvshmem", "libnvshmem_host"),
    (r"cuFile", "libcufile"),
    (r"nvtx", "libnvToolsExt"),
    (r"cuda[A-Z]|__cuda", "libcudart"),
    (r"cu[A-Z]", "libcuda"),
    (r"nvml", "libnvidia-ml"),
    (r"iJIT_", "libmkl_core"),
    (r"GOMP_|omp_", "libgomp"),
    (r"_Z.*(?:2at|5torch|3c10)", "libtorch_cpu"),
    (r"_?Py", "libpython"),
    (r"_ZNK?S|_ZS|__cxa_|_ZTV?N?10__cxxabiv1", "libstdc++"),
)
"""Prefixes of the C interfaces, from NVIDIA's and torch's headers; the first that fits decides."""

_PATTERNS = tuple((re.compile(pattern), stem) for pattern, stem in _PROVIDERS)


def provider_of(symbol: str) -> str | None:
    """The stem of the library that offers such symbols, or None where the name does not tell."""
    return next((stem for pattern, stem in _PATTERNS if pattern.match(symbol)), None)


def with_culprits(problems: Iterable[Problem], process: Process) -> list[Problem]:
    """Symbol problems split by the library that should have offered them, with its path."""
    named: list[Problem] = []
    for problem in problems:
        if problem.kind != SYMBOL:
            named.append(problem)
            continue
        groups: dict[str | None, list[str]] = {}
        for symbol in problem.names:
            groups.setdefault(provider_of(symbol), []).append(symbol)
        for stem, symbols in groups.items():
            named.append(_blamed(problem, stem, tuple(symbols), process))
    return named


def _blamed(
    problem: Problem, stem: str | None, names: tuple[str, ...], process: Process
) -> Problem:
    holders = [*process.mapped, *process.unmapped]
    culprit = next((one for one in holders if stem_of(one.elf.soname or "") == stem), None)
    return Problem(
        kind=SYMBOL,
        library=culprit.elf.soname or problem.library if culprit else stem or problem.library,
        needed_by=problem.needed_by,
        path=culprit.path if culprit else None,
        names=names,
    )
