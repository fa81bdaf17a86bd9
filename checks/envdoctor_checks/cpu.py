"""What keeps torch from computing on the CPU as fast as the CPU can."""

import re
from collections.abc import Iterator

from envdoctor.api import (
    Code,
    Environment,
    Evidence,
    Finding,
    Findings,
    Fix,
    Gpus,
    Host,
    Layer,
    Severity,
    Site,
    TorchBuild,
    TorchRuntime,
    check,
    surroundings,
    system,
)
from envdoctor_checks.used_gpus import used_gpus, with_a_gpu

INSTRUCTIONS_UNUSED = Code(
    id="ED622",
    name="cpu-instructions-unused",
    family="cpu-instructions-unused",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    fault="environment",
    message="torch leaves instructions unused that the CPU has",
    detailed="{how}, and this CPU has {better}",
    explains=("ED624", "ED627"),
)

CPU_AT_LOWEST_CLOCK = Code(
    id="ED623",
    name="cpu-at-lowest-clock",
    family="cpu-at-lowest-clock",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="the governor of the CPU's clock keeps it at its lowest",
    detailed="the governor `powersave` of `{driver}` keeps the CPU at its lowest clock",
)

_PLAIN = ("DEFAULT", "NO AVX")
"""What torch.backends.cpu.get_cpu_capability() says of the kernels that every x86-64 CPU runs."""

_ATEN_LEVELS = ("default", "avx2", "avx512")
"""The values of ATEN_CPU_CAPABILITY on x86, the least first (ATen/native/DispatchStub.cpp)."""

_ONEDNN_LEVELS = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
    "AVX512_CORE_BF16",
    "AVX512_CORE_AMX",
)
"""The values of ONEDNN_MAX_CPU_ISA that are ordered among themselves, the least first (oneDNN, CPU
dispatcher control). Those of hybrid CPUs (AVX2_VNNI ...) stand beside them."""

_ONEDNN_NEEDS = {
    "AVX2": "avx2",
    "AVX512_CORE": "avx512f",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_AMX": "amx_tile",
}
"""The feature of /proc/cpuinfo that tells that a CPU has a level."""


@check(INSTRUCTIONS_UNUSED)
def cpu_instructions_unused(
    host: Host,
    environment: Environment,
    runtime: TorchRuntime | None,
    build: TorchBuild | None,
    gpus: Gpus | None,
) -> Findings:
    """A variable, or a build, that keeps torch on older instructions than the CPU has; information
    where a GPU computes."""
    if host.machine != "x86_64":
        return
    used = used_gpus(environment, runtime, build, gpus)
    severity = Severity.INFO if used is not None and with_a_gpu(used) else None
    kept = list(_kept_by_variables(environment.variables, frozenset(host.cpu_flags), severity))
    yield from kept or _kept_by_the_build(host, runtime, severity)


_CHOOSES_BY_ITSELF = re.compile(r"intel_pstate|amd[-_]pstate[-_]epp")
"""Drivers whose `powersave` follows the load (Linux, intel_pstate and amd-pstate, active mode)."""


@check(CPU_AT_LOWEST_CLOCK)
def cpu_at_lowest_clock(host: Host, site: Site) -> Findings:
    """`powersave` of the kernel itself; that of drivers which bear the name as well is sound."""
    driver = host.frequency_driver
    if host.frequency_governor != "powersave" or driver is None:
        return
    if _CHOOSES_BY_ITSELF.fullmatch(driver):
        return
    yield CPU_AT_LOWEST_CLOCK.finding(
        driver=driver,
        evidence=(
            Evidence(
                label="governor",
                value=f"powersave of {driver}",
                source="/sys/devices/system/cpu/cpu0/cpufreq",
            ),
        ),
        fixes=(
            system.on_host(
                site,
                "choose one that follows the load",
                "echo schedutil | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
            ),
        ),
        notes=("its decoding of images and its launching of kernels are slower by the same part",),
    )


def _kept_by_variables(
    variables: dict[str, str], flags: frozenset[str], severity: Severity | None
) -> Iterator[Finding]:
    aten = ("avx512" if "avx512f" in flags else "avx2") if _has_avx2(flags) else "default"
    onednn = [level for level in _ONEDNN_LEVELS if _ONEDNN_NEEDS.get(level) in flags]
    best = {
        "ATEN_CPU_CAPABILITY": (_ATEN_LEVELS, aten),
        "ONEDNN_MAX_CPU_ISA": (_ONEDNN_LEVELS, onednn[-1] if onednn else _ONEDNN_LEVELS[0]),
        "DNNL_MAX_CPU_ISA": (_ONEDNN_LEVELS, onednn[-1] if onednn else _ONEDNN_LEVELS[0]),
    }
    for name, (levels, better) in best.items():
        value = variables.get(name, "")
        level = value.lower() if levels is _ATEN_LEVELS else value.upper()
        if level not in levels or levels.index(level) >= levels.index(better):
            continue
        yield INSTRUCTIONS_UNUSED.finding(
            subjects=(name,),
            severity=severity,
            how=f"{name}={value} keeps torch on older instructions",
            better=better.upper(),
            evidence=(Evidence(label=name, value=value, source="environment"),),
            fixes=(surroundings.unset(name, summary="let torch choose what this CPU has"),),
        )


def _kept_by_the_build(
    host: Host, runtime: TorchRuntime | None, severity: Severity | None
) -> Iterator[Finding]:
    if runtime is None or runtime.cpu_capability not in _PLAIN or not _has_avx2(host.cpu_flags):
        return
    said = Evidence(label="CPU capability", value=runtime.cpu_capability, source="torch")
    yield INSTRUCTIONS_UNUSED.finding(
        subjects=("torch",),
        severity=severity,
        how=f"torch {runtime.version} computes with its kernels for CPUs without AVX2",
        better="AVX2",
        evidence=(said,),
        fixes=(
            Fix(
                summary="install a torch that has kernels for AVX2, as those of PyPI have "
                "(`envdoctor prescribe`)"
            ),
        ),
    )


def _has_avx2(flags: tuple[str, ...] | frozenset[str]) -> bool:
    """AVX2 and FMA: the kernels are compiled with both."""
    return {"avx2", "fma"} <= {*flags}
