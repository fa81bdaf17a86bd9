"""The NVIDIA driver that runs: whether it is new enough, and its libraries are of its release."""

from envdoctor.api import (
    Code,
    Confidence,
    CudaInit,
    Distributions,
    DriverRelease,
    Evidence,
    Findings,
    Fix,
    GpuTrace,
    KernelLog,
    Knowledge,
    Layer,
    Nvml,
    Prescription,
    Severity,
    Site,
    TorchBuild,
    check,
    driver_runs,
    prescribed,
    system,
)
from envdoctor_checks.driver_branch import minor_of

DRIVER_TOO_OLD = Code(
    id="ED201",
    name="driver-too-old",
    family="driver-too-old",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the driver is too old for the CUDA that torch is built with",
    detailed="driver {release} is too old for torch {version}, which is built with CUDA {cuda} and "
    "needs a driver >= {minimum}",
)
NVML_DRIVER_MISMATCH = Code(
    id="ED202",
    name="nvml-driver-mismatch",
    family="nvml-driver-mismatch",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="the NVIDIA libraries are of another release than the loaded kernel driver",
    detailed="the NVIDIA libraries{libraries} are of another release than the loaded kernel driver"
    "{release}",
)

PTX_TOO_NEW = Code(
    id="ED220",
    name="ptx-too-new",
    family="driver-too-old",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    message="a package brings PTX that the driver is too old to compile",
    detailed="{package} {version} is made with CUDA {cuda} and brings PTX, which driver {release} "
    "(CUDA {offered}) is too old to compile",
)

_WITH_PTX = ("vllm",)
"""Packages whose kernels are in part PTX, compiled by the driver at their first use."""


@check(DRIVER_TOO_OLD)
def driver_too_old(
    build: TorchBuild,
    release: DriverRelease,
    known: Knowledge,
    init: CudaInit | None,
    site: Site,
    trace: GpuTrace | None,
    prescription: Prescription | None,
) -> Findings:
    """The driver cannot run builds of torch's CUDA major; a minor release never matters."""
    if build.cuda is None or _runs_by_compat(init, build.cuda):
        return
    if site.jetson:
        yield from _jetpack_too_old(build, init, site)
        return
    if release.release is None:
        return
    floor = known.driver_floor(build.cuda)
    # WSL uses the driver of Windows, whose releases are numbered on their own.
    numbering = "windows" if release.windows else "linux"
    if floor is None or driver_runs(release.release, build.cuda, known, os=numbering) is not False:
        return
    minimum = floor.min_release_windows if release.windows else floor.min_release_linux
    ceiling = _ceiling(trace, known)
    other = prescribed(prescription, "install a build that this driver runs")
    update = system.update_driver(site, minimum, newest=ceiling)
    if ceiling is not None and int(ceiling) < int(minimum.partition(".")[0]):
        # No driver serves both this GPU and this build.
        fixes: tuple[Fix, ...] = (other,)
    else:
        # In a container the driver is another's; the build is ours.
        fixes = (other, update) if site.contained else (update, other)
    yield DRIVER_TOO_OLD.finding(
        release=release.release,
        version=build.version,
        cuda=build.cuda,
        minimum=minimum,
        evidence=(
            Evidence(label="driver release", value=release.release, source=release.source),
            Evidence(label="torch.version.cuda", value=build.cuda, source=build.version_source),
        ),
        fixes=fixes,
        notes=(
            f"CUDA {build.cuda.split('.')[0]}.x runs on any driver >= {minimum} "
            f"({floor.source}, retrieved {floor.retrieved})",
        ),
    )


def _jetpack_too_old(build: TorchBuild, init: CudaInit | None, site: Site) -> Findings:
    """A Jetson's driver is numbered by its JetPack, and offers the CUDA of that."""
    offered = (init.driver_cuda if init else None) or ""
    have, need = minor_of(offered)[:1], minor_of(build.cuda or "")[:1]
    if not have or not need or have >= need:
        return
    yield DRIVER_TOO_OLD.finding(
        release=f"of this JetPack (CUDA {offered})",
        version=build.version,
        cuda=build.cuda,
        minimum=f"that of CUDA {need[0]}",
        evidence=(
            Evidence(label="CUDA of the driver", value=offered, source="cuDriverGetVersion"),
            Evidence(
                label="torch.version.cuda", value=build.cuda or "", source=build.version_source
            ),
        ),
        fixes=(system.torch_of_jetpack(site), system.update_driver(site, "")),
    )


def _ceiling(trace: GpuTrace | None, known: Knowledge) -> str | None:
    """The last driver branch that serves all GPUs here, where there is a last one."""
    limits = [
        limit
        for gpu in (trace.visible if trace else ())
        if gpu.compute_capability and (limit := known.max_driver_branch(gpu.compute_capability))
    ]
    return min((limit.branch for limit in limits), key=int, default=None)


def _runs_by_compat(init: CudaInit | None, cuda: str) -> bool:
    """A forward-compatibility libcuda that starts offers a newer CUDA than the kernel driver."""
    if init is None or init.status != "ok" or init.driver_cuda is None:
        return False
    return minor_of(init.driver_cuda)[:1] >= minor_of(cuda)[:1] != ()


@check(NVML_DRIVER_MISMATCH)
def nvml_driver_mismatch(
    nvml: Nvml, release: DriverRelease, site: Site, log: KernelLog | None, init: CudaInit | None
) -> Findings:
    """The user-space libraries are of another release than the kernel driver that runs."""
    if nvml.status != "NVML_ERROR_LIB_RM_VERSION_MISMATCH":
        return
    # Where CUDA starts, its library is of the driver's release, and NVML's alone is not.
    stray = nvml.library if init is not None and init.code == 0 else None
    yield NVML_DRIVER_MISMATCH.finding(
        libraries=f" ({release.libraries})" if release.libraries else "",
        release=f" ({release.release})" if release.release else "",
        evidence=(
            Evidence(label="NVML", value=nvml.status, source=nvml.library or "libnvidia-ml.so.1"),
            Evidence(
                label="kernel driver",
                value=release.release or "unknown",
                source=release.source or "/proc/driver/nvidia/version",
            ),
            *(
                Evidence(label="kernel log", value=one.text, source="/dev/kmsg")
                for one in (log.messages if log else ())
                if one.kind == "api-mismatch"
            ),
        ),
        fixes=system.libraries_of_release(site, release.release, release.libraries, stray=stray),
        notes=(
            "a package update replaces the libraries at once, the module only when it is loaded",
        )
        if not site.contained and not stray
        else (),
    )


@check(PTX_TOO_NEW)
def ptx_too_new(
    build: TorchBuild,
    distributions: Distributions,
    release: DriverRelease,
    init: CudaInit,
    site: Site,
) -> Findings:
    """A driver of an older CUDA minor runs torch's own code, but compiles no newer PTX."""
    offered = init.driver_cuda
    if build.cuda is None or offered is None or init.code != 0:
        return
    ours, theirs = minor_of(build.cuda), minor_of(offered)
    if ours[:1] != theirs[:1] or ours <= theirs:
        return
    for item in filter(None, map(distributions.first, _WITH_PTX)):
        branch = ".".join(map(str, ours))
        yield PTX_TOO_NEW.finding(
            subjects=(item.name,),
            confidence=Confidence.LIKELY,
            package=item.name,
            version=item.version,
            cuda=branch,
            release=release.release or "",
            offered=offered,
            evidence=(
                Evidence(label=item.name, value=item.version, source=item.metadata_path),
                Evidence(label="CUDA of the driver", value=offered, source="cuDriverGetVersion"),
                Evidence(label="CUDA of torch", value=build.cuda, source=build.version_source),
            ),
            fixes=(
                system.on_host(
                    site, f"update the driver to one that offers CUDA {branch} or later"
                ),
                Fix(
                    summary="or, on a data-centre GPU, put the package cuda-compat of that CUDA "
                    "into the loader's path"
                ),
            ),
            notes=(
                "a driver does not compile PTX of a newer CUDA minor than its own (CUDA "
                "Compatibility guide, minor version compatibility); torch itself is not affected",
            ),
        )
