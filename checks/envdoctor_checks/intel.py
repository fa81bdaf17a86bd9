"""Intel's GPUs under a build for them: whether torch was let at one."""

from collections.abc import Iterator

from envdoctor.api import (
    Code,
    Confidence,
    Evidence,
    Findings,
    Fix,
    Layer,
    PciDevice,
    PciGpus,
    RenderNodes,
    Safety,
    Severity,
    Site,
    TorchBuild,
    TorchRuntime,
    Wanted,
    check,
    system,
)

INTEL = "8086"
"""Intel's vendor id on the PCI bus."""

XPU_FINDS_NO_GPU = Code(
    id="ED426",
    name="xpu-finds-no-gpu",
    family="device-permission",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="a GPU of Intel is here, and the build of torch for it is not let at it",
    detailed="a GPU of Intel is here (8086:{device}, kernel driver {driver}), and torch {version} "
    "is not let at it{why}",
)

_DRIVERS = ("i915", "xe")
"""Linux's drivers of Intel's GPUs."""


@check(XPU_FINDS_NO_GPU)
def xpu_finds_no_gpu(
    build: TorchBuild,
    runtime: TorchRuntime,
    wanted: Wanted,
    pci: PciGpus,
    site: Site,
    nodes: RenderNodes | None,
) -> Findings:
    """A build for XPU that counts no GPU although the bus shows one of Intel."""
    intel = next((one for one in pci.devices if one.vendor_id == INTEL), None)
    if intel is None or not build.variant.startswith("xpu") or runtime.xpu_count != 0:
        return
    if wanted.gpu != "yes" or site.wsl:
        return
    closed = nodes is not None and nodes.all_closed
    yield XPU_FINDS_NO_GPU.finding(
        confidence=Confidence.CERTAIN if closed else Confidence.LIKELY,
        device=intel.device_id,
        driver=intel.driver or "none",
        version=build.version,
        why=": its device nodes are closed to this user" if closed else "",
        evidence=(
            Evidence(
                label="PCI device",
                value=f"8086:{intel.device_id}, kernel driver {intel.driver or 'none'}",
                source=f"/sys/bus/pci/devices/{intel.address}",
            ),
            Evidence(label="torch", value="0 GPUs", source="torch.xpu.device_count()"),
            *(
                (
                    Evidence(
                        label="not readable and writable",
                        value=" ".join(nodes.unusable) or "none",
                        source="access(2)",
                    ),
                )
                if nodes
                else ()
            ),
        ),
        fixes=tuple(_ways_in(site, intel, nodes)),
        notes=("/dev/dri/renderD* belong to the group `render` (Intel, GPU driver documentation)",),
    )


def _ways_in(site: Site, intel: PciDevice, nodes: RenderNodes | None) -> Iterator[Fix]:
    if site.contained and (nodes is None or not nodes.nodes):
        yield system.give_intel_gpus(site)
        return
    if intel.driver not in _DRIVERS and not site.contained:
        yield Fix(
            summary="start a kernel that drives the GPU: neither `i915` nor `xe` holds it (Arc "
            "began with Linux 6.2, Battlemage with 6.12)",
            commands=("lspci -nnk -d 8086::0300", "sudo dmesg | grep -iE 'i915|xe ' | tail"),
            safety=Safety.NEEDS_ROOT,
        )
        return
    if nodes is None or nodes.all_closed:
        yield system.open_render_nodes(site)
    if nodes is None or not nodes.all_closed:
        yield Fix(
            summary="install Intel's compute runtime, Level Zero with its driver for the GPU",
            commands=("sudo apt-get install libze1 libze-intel-gpu1",)
            if site.os_family in ("ubuntu", "debian")
            else (),
            safety=Safety.NEEDS_ROOT,
        )
