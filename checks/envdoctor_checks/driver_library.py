"""The libcuda that wins: the driver's own, a stub, or a forward-compatibility build."""

import os

from envdoctor.api import (
    Code,
    CudaInit,
    DriverRelease,
    Environment,
    Evidence,
    Findings,
    Fix,
    GpuTrace,
    Layer,
    LibraryResolution,
    Place,
    Safety,
    Severity,
    Site,
    check,
    is_forward_compat,
    parse_number,
    surroundings,
    system,
)

DRIVER_STUB = Code(
    id="ED330",
    name="driver-stub",
    family="driver-stub-34",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    fault="environment",
    breaks="compute:gpu",
    message="`libcuda.so.1` is a stub for linking, not the driver's",
    detailed="`libcuda.so.1` is found at `{path}`, a stub for linking, not the driver's",
    explains=("ED212",),
)
CUDA_COMPAT_WRONG = Code(
    id="ED331",
    name="cuda-compat-wrong",
    family="cuda-compat-wrong",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.CUDA_INIT,
    fault="environment",
    breaks="compute:gpu",
    message="a forward-compatibility libcuda is loaded that is not newer than the driver",
    detailed="`libcuda.so.1` is the forward-compatibility build {compat} at `{path}`, and the "
    "driver is {driver}",
    explains=("ED203", "ED204", "ED212"),
)

_STUB_ERROR = 34
"""CUDA_ERROR_STUB_LIBRARY (CUDA Driver API, CUresult)."""


@check(DRIVER_STUB)
def driver_stub(
    init: CudaInit | None,
    resolution: LibraryResolution | None,
    environment: Environment | None,
    site: Site,
    trace: GpuTrace,
) -> Findings:
    """The libcuda that wins is the toolkit's stub: by its folder, or by what it answers."""
    path, rule = _libcuda(init, resolution)
    answers_as_stub = init is not None and init.code == _STUB_ERROR
    if not answers_as_stub and "/stubs/" not in path:
        return
    yield DRIVER_STUB.finding(
        severity=Severity.ERROR if trace.visible or answers_as_stub else Severity.WARNING,
        path=path or None,
        evidence=(
            Evidence(label="libcuda.so.1", value=path or "unknown", source=rule),
            *(
                (Evidence(label="cuInit", value=f"{init.status} (34)", source="libcuda.so.1"),)
                if init and answers_as_stub
                else ()
            ),
        ),
        fixes=(take_out(path, "/stubs", environment, site),),
        notes=(
            "stubs exist for linking on machines without a driver; every call of them returns "
            "CUDA_ERROR_STUB_LIBRARY (34)",
        ),
    )


@check(CUDA_COMPAT_WRONG)
def cuda_compat_wrong(
    init: CudaInit | None,
    resolution: LibraryResolution | None,
    release: DriverRelease,
    environment: Environment | None,
    site: Site,
) -> Findings:
    """A forward-compatibility libcuda wins although it is not newer than the driver."""
    path, rule = _libcuda(init, resolution)
    compat = os.path.basename(path).partition(".so.")[2]
    if not is_forward_compat(path) or not release.release or "." not in compat:
        return
    if _numbers(compat) > _numbers(release.release):
        return
    fails = init is not None and init.status != "ok"
    yield CUDA_COMPAT_WRONG.finding(
        severity=Severity.ERROR if fails else Severity.WARNING,
        compat=compat,
        path=path,
        driver=release.release,
        evidence=(
            Evidence(label="libcuda.so.1", value=path, source=rule),
            Evidence(label="driver", value=release.release, source=release.source),
        ),
        fixes=(take_out(path, "compat", environment, site),),
        notes=(
            "a compatibility package serves drivers that are older than it (CUDA Compatibility "
            "guide, docs.nvidia.com/deploy/cuda-compatibility)",
        ),
    )


def _libcuda(init: CudaInit | None, resolution: LibraryResolution | None) -> tuple[str, str]:
    """The file of libcuda.so.1, and what says so: the one that was loaded, else the predicted."""
    if init is not None and init.library:
        return init.library, "/proc/self/maps"
    library = resolution.named("libcuda.so.1") if resolution else None
    if library is None or library.path is None:
        return "", "predicted"
    return library.path, library.rule or "predicted"


def take_out(path: str, part: str, environment: Environment | None, site: Site) -> Fix:
    """Take a folder out of the loader's way: of the variable, else of the loader's cache."""
    variable = environment.variables.get("LD_LIBRARY_PATH", "") if environment else ""
    entries = variable.split(":")
    unwanted = [entry for entry in entries if part in entry]
    if unwanted:
        return surroundings.without_entry("LD_LIBRARY_PATH", entries, unwanted)
    folder = os.path.dirname(path)
    if part == "/stubs":
        return Fix(
            summary="remove the link `libcuda.so.1` that leads to the stub, or the entry of "
            f"`{folder}` in /etc/ld.so.conf.d" + (", in the image" if site.contained else ""),
            commands=(
                "find / -xdev -name 'libcuda.so*' -lname '*stubs*'",
                "grep -rl stubs /etc/ld.so.conf.d",
                "sudo ldconfig",
            ),
            safety=Safety.NEEDS_ROOT,
            where=Place.IMAGE if site.contained else Place.HERE,
        )
    return system.without_compat(site, path)


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(
        number for part in release.split(".") if (number := parse_number(part)) is not None
    )
