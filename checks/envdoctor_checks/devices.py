"""The GPUs themselves as the driver sees them: lost ones, closed nodes, MIG, faults of memory."""

from collections.abc import Iterator

from envdoctor.api import (
    Code,
    Confidence,
    CudaInit,
    Driver,
    Environment,
    Evidence,
    Findings,
    Fix,
    GpuTrace,
    Layer,
    Nvml,
    Place,
    Safety,
    Severity,
    Site,
    check,
    gpu_nodes,
    in_words,
    system,
)

DEVICE_PERMISSION = Code(
    id="ED207",
    name="device-permission",
    family="device-permission",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="this user may not open the device nodes of the GPU",
    detailed="this user may not open {nodes}",
)
GPU_HW_FAULT = Code(
    id="ED209",
    name="gpu-hw-fault",
    family="gpu-hw-fault",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="the driver has lost a GPU",
    detailed="the driver has lost {lost}: {what}",
)
MIG_NO_INSTANCES = Code(
    id="ED215",
    name="mig-no-instances",
    family="mig-uuid-config",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="MIG mode is on and there is no instance, so that CUDA finds no device",
    detailed="MIG mode is on for {subjects} ({gpu}), and CUDA finds no instance there",
)
MIG_UUID_STALE = Code(
    id="ED221",
    name="mig-uuid-stale",
    family="mig-uuid-config",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    fault="environment",
    breaks="compute:gpu",
    message="CUDA_VISIBLE_DEVICES names a MIG instance that is not there",
    detailed="CUDA_VISIBLE_DEVICES names the MIG instance `{value}`, and CUDA finds no device",
)
DEVICE_NODES_MISSING = Code(
    id="ED231",
    name="device-nodes-missing",
    family="container-device-nodes",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="the kernel driver is loaded, and there is no device node /dev/nvidia*",
    detailed="the kernel driver{release} is loaded, and there is no device node {missing}",
    # NVML answers without the node of a GPU, and does not list that GPU.
    explains=("ED226",),
)
CONTAINER_LOST_GPU = Code(
    id="ED216",
    name="container-lost-gpu",
    family="container-lost-gpu",
    severity=Severity.ERROR,
    topic="container",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="this container has lost access to its GPU: the nodes are there, and the device cgroup "
    "refuses them",
    explains=("ED207",),
)
GPUS_NOT_LISTED = Code(
    id="ED226",
    name="gpus-not-listed",
    family="gpus-not-listed",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="the driver is loaded, and lists none of the GPUs on the PCI bus",
    detailed="the driver is loaded, and lists none of the {count} GPU{plural} on the PCI bus",
)

_NEEDED_BY_ALL = ("/dev/nvidiactl", "/dev/nvidia-uvm")
"""Nodes that every CUDA program opens, beside that of its GPU; a Tegra board has no uvm node."""


@check(DEVICE_PERMISSION)
def device_permission(
    driver: Driver,
    trace: GpuTrace,
    site: Site,
    environment: Environment | None,
    init: CudaInit | None,
) -> Findings:
    """Nodes that this process needs and cannot open; those of GPUs of other users are none."""
    refused = init.refused_nodes if init else ()
    closed = (*driver.unusable_nodes, *refused)
    if not closed or not trace.visible:
        return
    if all(gpu.torch_index is not None for gpu in trace.visible):
        return
    given = any(gpu.nvml_index is not None for gpu in trace.visible)
    of_visible = [f"/dev/nvidia{place}" for place, gpu in enumerate(trace.gpus) if not gpu.unwanted]
    own = of_visible if given else gpu_nodes(driver.device_nodes)
    needed = [node for node in closed if node in (*own, *_NEEDED_BY_ALL)]
    if not needed:
        return
    nodes = ", ".join(needed)
    yield DEVICE_PERMISSION.finding(
        nodes=nodes,
        evidence=(
            Evidence(
                label="not readable and writable",
                value=nodes,
                source="open(2)" if set(needed) & set(refused) else "access(2)",
            ),
        ),
        fixes=system.open_nodes(
            site,
            in_slurm=_in_slurm(environment),
            gpus_alone="/dev/nvidiactl" in driver.device_nodes
            and not {*needed} & {*_NEEDED_BY_ALL},
        ),
        notes=(_ONLY_AT_OPEN,) if set(needed) & set(refused) else (),
    )


_ONLY_AT_OPEN = (
    "their mode allows it: AppArmor refuses at open(2), and `dmesg` names the profile, "
    "or they lie on a mount with `nodev`"
)


def _in_slurm(environment: Environment | None) -> bool:
    return environment is not None and "SLURM_JOB_ID" in environment.variables


@check(DEVICE_NODES_MISSING)
def device_nodes_missing(
    driver: Driver, init: CudaInit | None, trace: GpuTrace, site: Site
) -> Findings:
    """A loaded driver without any device node, or without one that all programs open."""
    if not driver.loaded or site.contained or site.wsl or site.jetson:
        return
    if init is None or init.code == 0 or not trace.visible:
        return
    nodes = driver.device_nodes
    if not nodes:
        missing = "/dev/nvidia*"
    elif "/dev/nvidiactl" not in nodes:
        missing = "/dev/nvidiactl"
    elif not gpu_nodes(nodes):
        missing = "of a GPU (/dev/nvidia0 ...)"
    else:
        return
    yield DEVICE_NODES_MISSING.finding(
        release=f" {driver.release}" if driver.release else "",
        missing=missing,
        evidence=(Evidence(label="/dev/nvidia*", value=" ".join(nodes) or "none", source="/dev"),),
        fixes=(
            Fix(
                summary="make the nodes; `nvidia-smi` as root does it as well, and the service "
                "nvidia-persistenced does it at every start",
                commands=(
                    "sudo nvidia-modprobe -c=0 -u",
                    "sudo systemctl enable --now nvidia-persistenced",
                ),
                safety=Safety.NEEDS_ROOT,
            ),
            *((system.open_devices_to_service(),) if not nodes else ()),
        ),
        notes=(
            "without a display the nodes are made by the first program that runs as root, or by "
            "nvidia-modprobe, which is set to run as root (NVIDIA driver README, nvidia-modprobe)",
        ),
    )


@check(CONTAINER_LOST_GPU)
def container_lost_gpu(
    driver: Driver, nvml: Nvml, init: CudaInit | None, trace: GpuTrace, site: Site
) -> Findings:
    """After `systemctl daemon-reload` systemd rewrites the device cgroup of running containers."""
    found_none = init is None or init.code in (100, 999, 304, 3)
    nodes = gpu_nodes(driver.device_nodes)
    if not site.contained or nvml.status != "NVML_ERROR_UNKNOWN" or not nodes or not found_none:
        return
    if any(gpu.torch_index is not None for gpu in trace.gpus):
        return
    closed = (*driver.unusable_nodes, *(init.refused_nodes if init else ()))
    if site.gvisor or (site.container == "lxc" and closed):
        # gVisor has no such cgroup; the configuration of LXC has refused them from the start, which
        # `device-permission` says.
        return
    yield CONTAINER_LOST_GPU.finding(
        confidence=Confidence.LIKELY,
        evidence=(
            Evidence(label="NVML", value=nvml.status, source=nvml.library or "libnvidia-ml.so.1"),
            Evidence(label="device nodes", value=" ".join(nodes), source="/dev"),
            *(
                (Evidence(label="cuInit", value=f"{init.status} ({init.code})", source="libcuda"),)
                if init
                else ()
            ),
        ),
        fixes=(system.start_anew(site),),
        notes=(
            "`systemctl daemon-reload` on the host rewrites the device rules of containers whose "
            "devices systemd does not know (NVIDIA Container Toolkit, troubleshooting)",
        ),
    )


_WITHOUT_POWER = "NVML_ERROR_INSUFFICIENT_POWER"
_OF_A_GPU = (
    "NVML_ERROR_GPU_IS_LOST",
    "NVML_ERROR_RESET_REQUIRED",
    "NVML_ERROR_IRQ_ISSUE",
    _WITHOUT_POWER,
)
"""What NVML says where a GPU itself is at fault (NVML API, nvmlReturn_t)."""


@check(GPU_HW_FAULT)
def gpu_lost(nvml: Nvml, trace: GpuTrace, init: CudaInit | None, site: Site) -> Findings:
    """A GPU that the bus shows and the driver does not answer for, or no longer."""
    dead = nvml.status in _OF_A_GPU
    lost = [
        gpu
        for gpu in trace.visible
        if gpu.nvml_index is None and gpu.torch_index is None and not gpu.unserved
    ]
    others = [gpu for gpu in trace.gpus if gpu.nvml_index is not None]
    if not dead and not (nvml.status == "ok" and lost and others):
        return
    # A lost GPU can keep cuInit from starting at all, and then takes the others with it.
    starts = init is None or init.code in (None, 0)
    subjects = tuple(gpu.subject for gpu in lost) if others else ()
    errors = sorted({gpu.nvml_error for gpu in lost if gpu.nvml_error})
    yield GPU_HW_FAULT.finding(
        subjects=subjects,
        breaks=None if starts and subjects else ("compute:gpu",),
        lost="a GPU"
        if dead
        else f"{len(lost)} of {len(trace.visible)} GPUs ({in_words(subjects)})",
        what=nvml.status if dead else ", ".join(errors) or "NVML does not list it",
        evidence=tuple(_evidence_of_loss(nvml, trace)),
        fixes=(
            system.connect_power()
            if _WITHOUT_POWER in (nvml.status, *errors)
            else Fix(
                summary="read the Xid errors, then reset the GPU or restart the machine; if it "
                "happens again, check power and cooling, reseat the card, have it replaced",
                commands=("sudo dmesg | grep -i xid", "nvidia-smi -L"),
                safety=Safety.NEEDS_ROOT,
            )
            if not site.contained
            else system.on_host(
                site,
                "read the Xid errors, then reset the GPU or restart the machine",
                "sudo dmesg | grep -i xid",
            ),
        ),
    )


def _evidence_of_loss(nvml: Nvml, trace: GpuTrace) -> Iterator[Evidence]:
    yield Evidence(
        label="GPUs",
        value=f"{_count(trace.bus)} on the PCI bus, {_count(trace.nvml)} in NVML",
        source="/sys/bus/pci/devices, NVML",
    )
    for gpu in trace.visible:
        if gpu.nvml_index is None:
            yield Evidence(
                label=f"PCI {gpu.pci_address}" if gpu.pci_address else in_words((gpu.subject,)),
                value=gpu.nvml_error or "not listed",
                source=nvml.library or "NVML",
            )


@check(MIG_NO_INSTANCES)
def mig_no_instances(
    trace: GpuTrace, init: CudaInit, site: Site, environment: Environment | None
) -> Findings:
    """In MIG mode CUDA sees instances only, and there are none."""
    # A container that was given the GPU without an instance gets an error of another number.
    none_at_all = init.code == 100 or init.device_count == 0 or (site.contained and init.code == 3)
    beside_others = any(gpu.torch_index is not None for gpu in trace.gpus)
    if not none_at_all and not beside_others:
        return
    if environment and environment.variables.get("CUDA_VISIBLE_DEVICES", "").startswith("MIG-"):
        # Somebody knew an instance: `mig-uuid-stale` is about that.
        return
    for gpu in trace.visible:
        if gpu.nvml_index is None or not gpu.mig_mode or gpu.torch_index is not None:
            continue
        index, given = gpu.nvml_index, system.give_mig(site)
        yield MIG_NO_INSTANCES.finding(
            subjects=(gpu.subject,),
            gpu=gpu.described,
            evidence=(
                Evidence(label="MIG mode", value="on", source="NVML"),
                Evidence(label="cuInit", value=f"{init.status} ({init.code})", source="libcuda"),
            ),
            fixes=(
                *((given,) if given else ()),
                system.on_host(
                    site,
                    ("where there are none: " if given else "")
                    + "create instances, for example one that is the whole GPU",
                    f"nvidia-smi mig -i {index} -lgip",
                    f"sudo nvidia-smi mig -i {index} -cgi 0 -C",
                ),
                system.on_host(site, "or switch MIG off", f"sudo nvidia-smi -i {index} -mig 0"),
            ),
            notes=("with MIG on, CUDA uses instances alone (NVIDIA MIG User Guide)",),
        )


@check(MIG_UUID_STALE)
def mig_uuid_stale(environment: Environment, init: CudaInit, trace: GpuTrace) -> Findings:
    """Instances get a new UUID whenever they are made again."""
    value = environment.variables.get("CUDA_VISIBLE_DEVICES", "").strip()
    if not value.startswith("MIG-") or (init.code != 100 and init.device_count != 0):
        return
    if not trace.visible:
        return
    yield MIG_UUID_STALE.finding(
        value=value,
        evidence=(
            Evidence(label="CUDA_VISIBLE_DEVICES", value=value, source="environment"),
            Evidence(label="cuInit", value=f"{init.status} ({init.code})", source="libcuda"),
        ),
        fixes=(
            Fix(
                summary="name an instance that is there; a process sees one instance alone",
                commands=("nvidia-smi -L", "export CUDA_VISIBLE_DEVICES=MIG-..."),
                safety=Safety.SAFE,
            ),
        ),
        notes=("NVIDIA MIG User Guide, device names",),
    )


@check(GPUS_NOT_LISTED)
def gpus_not_listed(nvml: Nvml, driver: Driver, trace: GpuTrace, site: Site) -> Findings:
    """The driver answers and lists no GPU at all."""
    on_bus = [gpu for gpu in trace.visible if gpu.pci_address]
    if nvml.status != "ok" or trace.nvml != 0 or not on_bus or not driver.loaded:
        return
    if any(gpu.torch_index is not None for gpu in trace.gpus):
        return
    yield GPUS_NOT_LISTED.finding(
        count=len(on_bus),
        plural="s" if len(on_bus) > 1 else "",
        evidence=(
            Evidence(label="NVML", value="ok, 0 GPUs", source=nvml.library or "NVML"),
            *(
                Evidence(
                    label=f"PCI {gpu.pci_address}",
                    value=f"10de:{gpu.device_id}, kernel driver {gpu.kernel_driver or 'none'}",
                    source="/sys/bus/pci/devices",
                )
                for gpu in on_bus[:4]
            ),
        ),
        fixes=(
            system.look_at_kernel_log(site),
            Fix(
                summary="if the log speaks of BAR or of too little address space: switch `Above 4G "
                "decoding` on in the firmware; in a virtual machine give it more MMIO space",
                where=Place.FIRMWARE,
            ),
            system.ask_slurm("if this is a job of a scheduler: "),
        ),
    )


def _count(number: int | None) -> str:
    return "an unknown number" if number is None else str(number)
