"""Containers: whether they were given the GPU, and enough shared memory."""

from collections.abc import Iterator

from envdoctor.api import (
    CdiSpecs,
    Code,
    Confidence,
    Container,
    CudaInit,
    Driver,
    DriverRelease,
    Environment,
    Evidence,
    Findings,
    Fix,
    GpuTrace,
    Layer,
    Limits,
    Place,
    Severity,
    Site,
    Wanted,
    check,
    gpu_nodes,
    release_numbers,
    system,
)

CONTAINER_NO_GPU_RUNTIME = Code(
    id="ED500",
    name="container-no-gpu-runtime",
    family="container-no-gpu-runtime",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="this container was started without access to the machine's NVIDIA GPU",
    detailed="this {kind} container was started without {what}",
)
CONTAINER_DEVICE_NODES = Code(
    id="ED501",
    name="container-device-nodes",
    family="container-device-nodes",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="device nodes that CUDA needs are missing in this container",
    detailed="the driver is there, but {nodes} is missing in this container",
    # NVML answers without the node of a GPU, and does not list that GPU.
    explains=("ED226",),
)
SHM_TOO_SMALL = Code(
    id="ED503",
    name="shm-too-small",
    family="shm-too-small",
    severity=Severity.WARNING,
    topic="container",
    layer=Layer.SPEED,
    message="/dev/shm is small; DataLoader workers share their batches through it",
    detailed="/dev/shm has {size_mib:.0f} MiB; DataLoader workers share their batches through it",
)


CDI_SPEC_STALE = Code(
    id="ED507",
    name="cdi-spec-stale",
    family="container-no-gpu-runtime",
    severity=Severity.WARNING,
    topic="container",
    layer=Layer.DEVICE_NODES,
    message="the CDI specification that gives containers the GPUs is of another driver",
    detailed="`{path}` gives containers the libraries of driver {named}, and {runs} runs: those "
    "that are started with it get no GPU",
)

CDI_SPEC_TOO_NEW = Code(
    id="ED508",
    name="cdi-spec-too-new",
    family="container-no-gpu-runtime",
    severity=Severity.INFO,
    topic="container",
    layer=Layer.DEVICE_NODES,
    message="the CDI specification for NVIDIA's GPUs is newer than Podman reads",
    detailed="`{path}` is a specification of CDI {version}, and Podman {podman} reads {most}: its "
    "containers get no GPU",
)

DOCKER_DEFAULT_SHM_BYTES = 64 * 2**20
"""The size that `docker run` gives /dev/shm without --shm-size (docker run reference)."""


@check(CDI_SPEC_STALE)
def cdi_spec_stale(specs: CdiSpecs, release: DriverRelease, driver: Driver, site: Site) -> Findings:
    """On a host: the specification that engines use names the libraries of a driver from before."""
    first = next((one for one in specs.items if one.release), None)
    if first is None or site.contained or not driver.loaded or not release.release:
        return
    if first.release == release.release:
        return
    yield CDI_SPEC_STALE.finding(
        subjects=(first.path,),
        path=first.path,
        named=first.release,
        runs=release.release,
        evidence=(
            Evidence(label="libcuda", value=f"of {first.release}", source=first.path),
            Evidence(label="driver", value=release.release, source=release.source),
        ),
        fixes=(system.write_cdi(site, first.path),),
        notes=(
            "the NVIDIA Container Toolkit wants it written again whenever the driver changes "
            "(Support for Container Device Interface)",
        ),
    )


_READ_BY_PODMAN = (((4, 1), (0, 0)), ((4, 3), (0, 4)), ((5, 0), (0, 6)))
"""Before which Podman: the newest CDI that it reads. Native support began with 4.1 (issue 63 of
the NVIDIA Container Toolkit), 4.2 has 0.4.0 (issue 38), 4.9.3 knows nothing of 0.7.0 (1860)."""


@check(CDI_SPEC_TOO_NEW)
def cdi_spec_too_new(specs: CdiSpecs, site: Site) -> Findings:
    """On a host: a Podman that refuses a specification because of fields that it does not know. It
    is information, since nothing tells whether Podman or another engine is to give the GPUs."""
    first = next((one for one in specs.items if one.version), None)
    if first is None or first.version is None or specs.podman is None or site.contained:
        return
    podman, version = release_numbers(specs.podman), release_numbers(first.version)
    most = next((reads for before, reads in _READ_BY_PODMAN if podman < before), None)
    if most is None or not podman or version[:2] <= most:
        return
    yield CDI_SPEC_TOO_NEW.finding(
        subjects=(first.path,),
        path=first.path,
        version=first.version,
        podman=specs.podman,
        most=f"{most[0]}.{most[1]} at most" if most[1] else "none",
        evidence=(
            Evidence(label="cdiVersion", value=first.version, source=first.path),
            Evidence(label="Podman", value=specs.podman, source="its package"),
        ),
        fixes=(
            system.on_host(
                site,
                "update Podman to 5 or later; where the distribution has none, keep to an older "
                "NVIDIA Container Toolkit (before 1.19) and have it write the specification again",
                "podman --version",
                "nvidia-ctk --version",
            ),
        ),
        notes=("an engine refuses fields that it does not know (CDI, SPEC.md)",),
    )


@check(CONTAINER_NO_GPU_RUNTIME)
def container_no_gpu_runtime(
    container: Container,
    driver: Driver,
    init: CudaInit | None,
    wanted: Wanted,
    trace: GpuTrace,
    site: Site,
    environment: Environment | None,
) -> Findings:
    """A GPU that torch wants, and a container without its nodes, or without its libraries."""
    if not site.contained or wanted.gpu != "yes" or not trace.visible:
        return
    if any(gpu.torch_index is not None for gpu in trace.gpus):
        return
    capabilities = environment.variables.get("NVIDIA_DRIVER_CAPABILITIES") if environment else None
    what = _what_is_missing(driver, init, capabilities)
    if what is None:
        return
    is_missing = init is not None and "No such file" in init.message
    mounted = system.folder_off_the_path(driver.libcuda_files) if is_missing else None
    of_a_job = environment is not None and "SLURM_JOB_ID" in environment.variables
    if what == _WITHOUT_COMPUTE:
        fixes: tuple[Fix, ...] = (system.allow_compute(site),)
    elif of_a_job and not driver.device_nodes:
        fixes = (system.ask_slurm(), system.give_gpus(site))
    elif what == _TOO_NEW:
        fixes = (_newer_image(),)
    elif what == _EMPTY:
        fixes = (system.remove_empty_libraries(), system.give_gpus(site))
    elif mounted and driver.device_nodes:
        what = _OFF_THE_PATH.format(mounted)
        fixes = (system.show_mounted_libcuda(site, mounted),)
    elif site.container == "lxc" and driver.device_nodes:
        fixes = system.libraries_of_release(site, driver.release, None)
    else:
        fixes = (system.give_gpus(site),)
    visible = container.nvidia_visible_devices
    nodes = " ".join(driver.device_nodes) or "none"
    yield CONTAINER_NO_GPU_RUNTIME.finding(
        kind=container.kind,
        what=what,
        evidence=(
            Evidence(label="container", value=container.kind, source=container.evidence),
            *_on_the_bus(trace),
            Evidence(label="/dev/nvidia*", value=nodes, source="/dev"),
            *(
                (Evidence(label="libcuda.so.1", value=init.message, source="dlopen"),)
                if init and init.status == "libcuda-missing"
                else ()
            ),
            *(
                (Evidence(label="NVIDIA_VISIBLE_DEVICES", value=visible, source="environment"),)
                if visible is not None
                else ()
            ),
        ),
        fixes=fixes,
    )


_WITHOUT_COMPUTE = (
    "the capability `compute`: NVIDIA_DRIVER_CAPABILITIES leaves it out, so libcuda.so.1 is missing"
)


_EMPTY = (
    "the driver's libraries: the GPU's device nodes are there, and the image has an empty "
    "libcuda.so.1"
)


_TOO_NEW = (
    "libraries of the driver that fit it: the host's were made for a newer C library than that of "
    "the image"
)


def _newer_image() -> Fix:
    return Fix(
        summary="take a newer image as the base, whose C library is at least that of the host; "
        "NVIDIA's own libraries ask for an old one, those of NixOS for that of the host",
        commands=("ldd --version",),
        where=Place.IMAGE,
    )


_OFF_THE_PATH = (
    "a way to the driver's libraries: they are mounted in `{}`, where the loader does not look"
)


def _what_is_missing(driver: Driver, init: CudaInit | None, capabilities: str | None) -> str | None:
    if not driver.device_nodes:
        return "access to the machine's NVIDIA GPU"
    if init is None or init.status != "libcuda-missing":
        return None
    if capabilities is not None and not {"compute", "all"} & set(capabilities.split(",")):
        return _WITHOUT_COMPUTE
    if "file too short" in init.message:
        return _EMPTY
    if "GLIBC_" in init.message:
        return _TOO_NEW
    return "the driver's libraries: the GPU's device nodes are there, libcuda.so.1 is not"


def _on_the_bus(trace: GpuTrace) -> Iterator[Evidence]:
    for gpu in trace.visible[:1]:
        if gpu.pci_address:
            source = f"/sys/bus/pci/devices/{gpu.pci_address}"
            yield Evidence(label="PCI device", value=f"10de:{gpu.device_id}", source=source)


@check(CONTAINER_DEVICE_NODES)
def container_device_nodes(
    driver: Driver, init: CudaInit | None, trace: GpuTrace, site: Site
) -> Findings:
    """Some of the device nodes that CUDA opens were not given to the container."""
    if not site.contained or site.wsl or site.jetson or not driver.device_nodes:
        return
    starts = init is not None and init.code == 0
    if starts or any(gpu.torch_index is not None for gpu in trace.gpus):
        return
    needed = ("/dev/nvidiactl", "/dev/nvidia-uvm")
    missing = [node for node in needed if node not in driver.device_nodes]
    if trace.visible and not gpu_nodes(driver.device_nodes):
        missing.append("/dev/nvidia0")
    if not missing:
        return
    yield CONTAINER_DEVICE_NODES.finding(
        nodes=" and ".join(missing),
        evidence=(
            Evidence(label="device nodes", value=" ".join(driver.device_nodes), source="/dev"),
        ),
        fixes=(
            system.on_host(site, "make the nodes there", "sudo nvidia-modprobe -u -c=0"),
            system.give_gpus(site),
        ),
    )


# --- shared memory ---


@check(SHM_TOO_SMALL)
def shm_too_small(limits: Limits, container: Container, site: Site) -> Findings:
    """A container with Docker's default of 64 MiB of shared memory."""
    if not site.contained or limits.shm_bytes is None:
        return
    if limits.shm_bytes > DOCKER_DEFAULT_SHM_BYTES:
        return
    yield SHM_TOO_SMALL.finding(
        confidence=Confidence.LIKELY,
        size_mib=limits.shm_bytes / 2**20,
        evidence=(Evidence(label="/dev/shm", value=f"{limits.shm_bytes} bytes", source="statvfs"),),
        fixes=(system.more_shared_memory(site),),
        notes=("without it a DataLoader with workers dies by a bus error",),
    )
