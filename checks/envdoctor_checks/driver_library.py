"""The libcuda that wins: the driver's own, a stub, or a forward-compatibility build."""

import os

from envdoctor.api import CudaInit, Driver, Evidence, Findings, PciGpus, Severity, check
from envdoctor.facts.libraries import LibraryResolution
from envdoctor_checks.loader_codes import CUDA_COMPAT_WRONG, DRIVER_STUB
from envdoctor_checks.loader_fixes import rule_of, without_path


@check(DRIVER_STUB)
def driver_stub(
    resolution: LibraryResolution, driver: Driver | None, pci: PciGpus | None
) -> Findings:
    """The libcuda that wins is the toolkit's stub."""
    library = resolution.named("libcuda.so.1")
    if library is None or library.path is None or "/stubs/" not in library.path:
        return
    has_gpu = bool((driver and driver.loaded) or (pci and pci.nvidia))
    yield DRIVER_STUB.finding(
        severity=Severity.ERROR if has_gpu else Severity.WARNING,
        path=library.path,
        evidence=(Evidence(label="libcuda.so.1", value=library.path, source=rule_of(library)),),
        fixes=(without_path(resolution, "LD_LIBRARY_PATH", part="/stubs"),),
        notes=(
            "stubs exist for linking on machines without a driver; every call of them returns "
            "CUDA_ERROR_STUB_LIBRARY (34)",
        ),
    )


@check(CUDA_COMPAT_WRONG)
def cuda_compat_wrong(
    resolution: LibraryResolution, driver: Driver | None, init: CudaInit | None
) -> Findings:
    """A forward-compatibility libcuda wins although it is not newer than the driver."""
    library = resolution.named("libcuda.so.1")
    if library is None or library.path is None or "/compat" not in library.path:
        return
    compat = os.path.basename(library.path).partition(".so.")[2]
    if driver is None or not driver.release or _numbers(compat) > _numbers(driver.release):
        return
    fails = init is not None and init.status != "ok"
    yield CUDA_COMPAT_WRONG.finding(
        severity=Severity.ERROR if fails else Severity.WARNING,
        compat=compat,
        path=library.path,
        driver=driver.release,
        evidence=(
            Evidence(label="libcuda.so.1", value=library.path, source=rule_of(library)),
            Evidence(label="driver", value=driver.release, source=driver.release_source),
        ),
        fixes=(without_path(resolution, "LD_LIBRARY_PATH", part="/compat"),),
        notes=(
            "a compatibility package serves drivers that are older than it (CUDA Compatibility "
            "guide, docs.nvidia.com/deploy/cuda-compatibility)",
        ),
    )


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".") if part.isdigit())
