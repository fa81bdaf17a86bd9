"""What repairs a library, and the rule by which it wins, in words."""

import re

from envdoctor.facts.libraries import LibraryResolution, Problem, ResolvedLibrary
from envdoctor.facts.python import Distributions, Installer, Target
from envdoctor.findings import Fix, Safety
from envdoctor.loader.dlopen import stem_of
from envdoctor.repair import install_command, restore

_WHEELS = {
    "libcudart": "cuda-runtime",
    "libnvrtc": "cuda-nvrtc",
    "libnvrtc-builtins": "cuda-nvrtc",
    "libcupti": "cuda-cupti",
    "libcublas": "cublas",
    "libcublasLt": "cublas",
    "libcufft": "cufft",
    "libcurand": "curand",
    "libcusolver": "cusolver",
    "libcusparse": "cusparse",
    "libcusparseLt": "cusparselt",
    "libnccl": "nccl",
    "libnvJitLink": "nvjitlink",
    "libnvToolsExt": "nvtx",
    "libnvshmem_host": "nvshmem",
    "libcufile": "cufile",
}
"""The part of the wheel's name, by the stem of the library (contents of the nvidia-* wheels)."""


def rule_of(library: ResolvedLibrary) -> str:
    """Why a file wins: the rule and, for RPATH and RUNPATH, whose it is."""
    whose = f" of {library.rule_of}" if library.rule_of else ""
    return f"{library.rule}{whose}"


def without_path(resolution: LibraryResolution, rule: str, part: str = "") -> Fix:
    """Start without the variable, or without the entries that contain `part`."""
    if rule == "LD_PRELOAD":
        return Fix(
            summary="start without LD_PRELOAD", commands=("unset LD_PRELOAD",), safety=Safety.SAFE
        )
    kept = [entry for entry in resolution.library_path if part and part not in entry]
    if kept:
        text = ":".join(kept)
        return Fix(
            summary="keep only the other entries of LD_LIBRARY_PATH",
            commands=(f"export LD_LIBRARY_PATH={text}",),
            safety=Safety.SAFE,
        )
    return Fix(
        summary="start without LD_LIBRARY_PATH (and unload the environment module that sets it)",
        commands=("unset LD_LIBRARY_PATH",),
        safety=Safety.SAFE,
    )


class Repair:
    """Fixes for the problems of one resolution."""

    def __init__(
        self,
        resolution: LibraryResolution,
        distributions: Distributions | None,
        target: Target | None,
        installer: Installer | None,
    ) -> None:
        self.resolution = resolution
        self.distributions = distributions
        self.target = target
        self.installer = installer

    def of(self, library: ResolvedLibrary, problem: Problem) -> tuple[Fix, ...]:
        """What to do about a problem, the surest first."""
        if library.clean_path or library.rule in ("LD_LIBRARY_PATH", "LD_PRELOAD"):
            return (without_path(self.resolution, library.rule or "LD_LIBRARY_PATH"),)
        stem = stem_of(library.soname)
        if problem.kind == "version" and stem in ("libc", "libm", "libpthread"):
            return (Fix(summary="use a newer operating system or container, or an older torch"),)
        if stem == "libstdc++":
            return (
                Fix(
                    summary="put a newer libstdc++ first",
                    commands=("conda install -c conda-forge libstdcxx-ng",),
                    safety=Safety.CHANGES_ENV,
                ),
            )
        if stem == "libcuda":
            return (
                Fix(
                    summary="install the NVIDIA driver; in a container, start it with the GPU",
                    commands=("docker run --gpus all IMAGE",),
                ),
            )
        return self._reinstall(library, stem)

    def _reinstall(self, library: ResolvedLibrary, stem: str) -> tuple[Fix, ...]:
        wanted = self._requirement(stem)
        if wanted is not None:
            command = install_command(
                (wanted,), target=self.target, installer=self.installer, reinstall=True
            )
            summary = f"install the {wanted.partition('=')[0]} that torch pins"
            return (Fix(summary=summary, commands=(command,), safety=Safety.CHANGES_ENV),)
        owner = library.owner
        if owner is not None and owner.kind == "wheel":
            return (
                restore(owner.name, owner.version, target=self.target, installer=self.installer),
            )
        torch = self.distributions.first("torch") if self.distributions else None
        if torch is not None:
            return (
                restore(torch.name, torch.version, target=self.target, installer=self.installer),
            )
        return (Fix(summary=f"install the package that brings `{library.soname}`"),)

    def _requirement(self, stem: str) -> str | None:
        """The pinned requirement of torch that brings a library, `nvidia-cublas-cu12==12.4.5.8`."""
        part = "cudnn" if stem.startswith("libcudnn") else _WHEELS.get(stem)
        torch = self.distributions.first("torch") if self.distributions else None
        if part is None or torch is None:
            return None
        pattern = re.compile(rf"(nvidia-{part}(?:-cu\d+)?==[\w.]+)")
        for requirement in torch.requires:
            match = pattern.match(requirement.replace(" ", "").replace("(", "").replace(")", ""))
            if match:
                return match[1]
        return None
