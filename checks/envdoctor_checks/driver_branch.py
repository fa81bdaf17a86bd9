"""Whether branch and flavour of the driver serve the GPUs that are on the bus."""

import re

from envdoctor.api import (
    OPEN_FROM,
    OPEN_ONLY,
    Code,
    Driver,
    DriverRelease,
    Evidence,
    Findings,
    GpuTrace,
    Knowledge,
    Layer,
    Severity,
    Site,
    TorchBuild,
    TracedGpu,
    advised_branch,
    check,
    driver_knows,
    driver_serves,
    system,
)

DRIVER_DROPPED_GPU = Code(
    id="ED213",
    name="driver-dropped-gpu",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the installed driver branch no longer supports this GPU",
    detailed="driver {release} no longer supports {gpu} (compute capability {capability}); the "
    "last branch that does is {branch}",
    explains=("ED200", "ED209", "ED214", "ED222", "ED226", "ED245"),
)
OPEN_MODULE_REQUIRED = Code(
    id="ED214",
    name="open-module-required",
    family="open-module-required",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="this GPU is driven by NVIDIA's open kernel modules only, and the proprietary one is "
    "loaded",
    detailed="{gpu} is driven by NVIDIA's open kernel modules only, and the proprietary module "
    "{release} is loaded",
    explains=("ED200", "ED226", "ED245"),
)
PROPRIETARY_MODULE_REQUIRED = Code(
    id="ED222",
    name="proprietary-module-required",
    family="wrong-module-flavor",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="this GPU is older than NVIDIA's open kernel modules serve, and these are loaded",
    detailed="{gpu} is older than NVIDIA's open kernel modules serve, and these are loaded"
    "{release}",
    explains=("ED200", "ED226", "ED245"),
)
GPU_NEWER_THAN_DRIVER = Code(
    id="ED230",
    name="gpu-newer-than-driver",
    family="driver-too-old",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the installed driver is older than this GPU, and does not list it",
    detailed="driver {release} is older than {gpu}, and does not list it; the first branch that "
    "does is {branch}",
    explains=("ED200", "ED201", "ED209", "ED222", "ED226", "ED245"),
)


@check(DRIVER_DROPPED_GPU)
def driver_dropped_gpu(
    trace: GpuTrace, release: DriverRelease, known: Knowledge, site: Site
) -> Findings:
    """A driver branch that has ended the support of this GPU's architecture."""
    installed = release.release or release.libraries
    if installed is None or release.windows:
        return
    for gpu in trace.visible:
        capability = gpu.compute_capability
        if gpu.torch_index is not None or not capability:
            continue
        limit = known.max_driver_branch(capability)
        if limit is None or driver_serves(installed, capability, known) is not False:
            continue
        yield DRIVER_DROPPED_GPU.finding(
            subjects=(gpu.subject,),
            release=installed,
            gpu=_described(gpu),
            capability=capability,
            branch=limit.branch,
            evidence=(
                Evidence(
                    label="driver release",
                    value=installed,
                    source=release.source or "its libraries' file names",
                ),
                Evidence(
                    label="compute capability",
                    value=capability,
                    source="NVML" if gpu.nvml_index is not None else "the PCI device id",
                ),
            ),
            fixes=(system.driver_of_branch(site, limit.branch),),
            notes=(f"source: {limit.source}, retrieved {limit.retrieved}",),
        )


def _described(gpu: TracedGpu) -> str:
    if gpu.name or not gpu.architecture:
        return gpu.described
    return f"the {gpu.architecture} GPU 10de:{gpu.device_id}"


@check(GPU_NEWER_THAN_DRIVER)
def gpu_newer_than_driver(
    trace: GpuTrace,
    release: DriverRelease,
    build: TorchBuild | None,
    known: Knowledge,
    site: Site,
) -> Findings:
    """A driver branch from before this GPU: it does not list it, whatever its module's flavour."""
    installed = release.release or release.libraries
    if installed is None or release.windows:
        return
    for gpu in trace.visible:
        capability = gpu.compute_capability
        if gpu.nvml_index is not None or gpu.torch_index is not None or not capability:
            continue
        start = known.min_driver_branch(capability)
        if start is None or driver_knows(installed, capability, known) is not False:
            continue
        capabilities = filter(None, (one.compute_capability for one in trace.visible))
        floor = known.driver_floor(build.cuda) if build and build.cuda else None
        of_torch = floor.min_release_linux if floor else start.branch
        # One update serves both the GPU and the CUDA of torch.
        minimum = max(start.branch, of_torch, key=minor_of)
        advised = advised_branch((minimum,), capabilities, known)
        update = system.update_driver(
            site,
            minimum,
            branch=advised.branch if advised else None,
            open_only=int(capability.partition(".")[0]) >= OPEN_ONLY,
        )
        yield GPU_NEWER_THAN_DRIVER.finding(
            subjects=(gpu.subject,),
            release=installed,
            gpu=_described(gpu),
            branch=start.branch,
            evidence=(
                Evidence(
                    label="driver release",
                    value=installed,
                    source=release.source or "its libraries' file names",
                ),
                Evidence(
                    label="PCI device",
                    value=f"10de:{gpu.device_id}, {gpu.architecture}",
                    source=f"/sys/bus/pci/devices/{gpu.pci_address}",
                ),
            ),
            fixes=(update,),
            notes=(f"source: {start.source}, retrieved {start.retrieved}",),
        )


@check(OPEN_MODULE_REQUIRED)
def open_module_required(
    trace: GpuTrace, driver: Driver, release: DriverRelease, known: Knowledge, site: Site
) -> Findings:
    """A GPU without a proprietary module, under that module: the driver does not list it."""
    if driver.flavor != "proprietary":
        return
    for gpu in trace.visible:
        capability = gpu.compute_capability
        if gpu.nvml_index is not None or gpu.torch_index is not None or not capability:
            continue
        if int(capability.partition(".")[0]) < OPEN_ONLY:
            continue
        if release.release and driver_knows(release.release, capability, known) is False:
            continue
        branch = (release.release or "").partition(".")[0]
        yield OPEN_MODULE_REQUIRED.finding(
            subjects=(gpu.subject,),
            gpu=_described(gpu),
            release=release.release or "",
            evidence=(
                Evidence(
                    label="kernel module", value="proprietary", source="/proc/driver/nvidia/version"
                ),
                Evidence(
                    label="PCI device",
                    value=f"10de:{gpu.device_id}, {gpu.architecture}",
                    source=f"/sys/bus/pci/devices/{gpu.pci_address}",
                ),
            ),
            fixes=(system.open_module(site, branch),),
            notes=(
                "from Blackwell on NVIDIA ships the open kernel modules only (NVIDIA Driver "
                "Installation Guide)",
            ),
        )


@check(PROPRIETARY_MODULE_REQUIRED)
def proprietary_module_required(
    trace: GpuTrace, driver: Driver, release: DriverRelease, site: Site
) -> Findings:
    """A GPU from before Turing under the open modules: the driver does not list it."""
    if driver.flavor != "open" or site.jetson:
        return
    for gpu in trace.visible:
        capability = gpu.compute_capability
        if gpu.nvml_index is not None or gpu.torch_index is not None or not capability:
            continue
        if minor_of(capability) >= OPEN_FROM:
            continue
        yield PROPRIETARY_MODULE_REQUIRED.finding(
            subjects=(gpu.subject,),
            gpu=_described(gpu),
            release=f" ({release.release})" if release.release else "",
            evidence=(
                Evidence(label="kernel module", value="open", source="/proc/driver/nvidia/version"),
                Evidence(
                    label="PCI device",
                    value=f"10de:{gpu.device_id}, {gpu.architecture}",
                    source=f"/sys/bus/pci/devices/{gpu.pci_address}",
                ),
            ),
            fixes=(system.proprietary_module(site, (release.release or "").partition(".")[0]),),
        )


def minor_of(cuda: str) -> tuple[int, ...]:
    """The numbers of a CUDA version; none where it is no such version."""
    match = re.match(r"([0-9]{1,4})(?:\.([0-9]{1,4}))?(?![0-9])", cuda)
    return tuple(int(part) for part in match.groups() if part) if match else ()
