"""The NVIDIA kernel module that is not loaded: not built, refused, forbidden, or displaced."""

import re
from collections.abc import Iterator

from envdoctor.api import (
    Code,
    Confidence,
    Driver,
    DriverRelease,
    Evidence,
    Finding,
    Findings,
    Fix,
    GpuTrace,
    KernelLog,
    KernelModules,
    Layer,
    MessageKind,
    PciDevice,
    PciGpus,
    Record,
    Severity,
    Site,
    check,
    is_forward_compat,
    system,
)

DRIVER_NOT_LOADED = Code(
    id="ED200",
    name="driver-not-loaded",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="an NVIDIA device is on the PCI bus, but the NVIDIA kernel driver is not loaded",
    detailed="an NVIDIA device is on the PCI bus, but the NVIDIA kernel driver is not loaded{why}",
)
MODULE_NOT_BUILT = Code(
    id="ED240",
    name="module-not-built",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the NVIDIA driver is installed, and has no kernel module for the running kernel",
    detailed="the NVIDIA driver is installed, and has no kernel module for the running kernel "
    "{kernel}: {why}",
)
MODULE_REFUSED = Code(
    id="ED241",
    name="module-refused",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="the kernel refuses the NVIDIA module: it is not signed with a key that is enrolled",
    detailed="the kernel refuses the NVIDIA module: {why}, and it is {what}",
)
MODULE_BLOCKED = Code(
    id="ED242",
    name="module-blocked",
    family="driver-not-loaded",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.KERNEL_MODULE,
    breaks="compute:gpu",
    message="a configuration of modprobe keeps the NVIDIA kernel module from being loaded",
    detailed="`{file}` keeps the NVIDIA kernel module from being loaded",
)


_OF_THE_KERNEL = ("nouveau", "nova_core", "NovaCore")
"""Drivers of Linux itself for NVIDIA's GPUs; the last two are the module and the driver of
drivers/gpu/nova-core."""


class Case(Record):
    """What is known of a GPU whose driver is not loaded."""

    device: PciDevice
    driver: Driver
    libraries: str | None
    site: Site
    modules: KernelModules | None
    log: KernelLog | None

    @property
    def installed(self) -> bool:
        """Whether the driver's libraries are on this machine; cuda-compat is no driver."""
        own = (file for file in self.driver.libcuda_files if not is_forward_compat(file))
        return bool(self.libraries) or any(own)

    @property
    def nouveau(self) -> bool:
        """Whether a driver of the kernel's own has the GPU, so that NVIDIA's could not take it."""
        return self.device.driver in _OF_THE_KERNEL or self.driver.nouveau_loaded

    @property
    def holder(self) -> str:
        """Its name as that of a module."""
        return "nova_core" if self.device.driver in _OF_THE_KERNEL[1:] else "nouveau"

    @property
    def locked(self) -> str:
        """What makes the kernel ask for signatures; empty where nothing does."""
        modules = self.modules
        if modules is None or (modules.lockdown == "none" and not modules.signatures_enforced):
            return ""
        if modules.secure_boot:
            return "Secure Boot is on"
        if modules.lockdown not in (None, "none"):
            return f"the kernel is locked down ({modules.lockdown})"
        return "module.sig_enforce is set" if modules.signatures_enforced else ""

    def said(self, kind: MessageKind) -> str:
        """The last line of the kernel's log of that kind; empty where there is none."""
        lines = self.log.messages if self.log else ()
        return next((line.text for line in reversed(lines) if line.kind == kind), "")


@check(DRIVER_NOT_LOADED, MODULE_NOT_BUILT, MODULE_REFUSED, MODULE_BLOCKED)
def driver_not_loaded(
    pci: PciGpus,
    driver: Driver,
    release: DriverRelease,
    trace: GpuTrace,
    site: Site,
    modules: KernelModules | None,
    log: KernelLog | None,
) -> Findings:
    """An NVIDIA GPU that this process may use, without its kernel driver."""
    if driver.loaded or site.contained or site.wsl:
        return
    visible = {gpu.pci_address for gpu in trace.visible}
    device = next((one for one in pci.nvidia if one.address in visible), None)
    if device is None:
        return
    case = Case(
        device=device,
        driver=driver,
        libraries=release.libraries,
        site=site,
        modules=modules,
        log=log,
    )
    causes = (_blocked, _not_built, _refused, _for_another_kernel)
    found = (one for cause in causes if case.installed and (one := cause(case)) is not None)
    yield next(found, None) or _not_loaded(case)


def _blocked(case: Case) -> Finding | None:
    if case.modules is None or case.modules.blocked_by is None:
        return None
    file = case.modules.blocked_by
    return MODULE_BLOCKED.finding(
        file=file,
        evidence=(
            *_evidence(case),
            Evidence(label="modprobe", value="blacklist nvidia, or alias nvidia off", source=file),
        ),
        fixes=(system.allow_module(case.site, file),),
        notes=(
            "`prime-select intel` and tools like it write such a file to save a laptop's battery",
        ),
    )


def _not_built(case: Case) -> Finding | None:
    modules = case.modules
    if modules is None or modules.files is None or modules.files or case.nouveau:
        return None
    return MODULE_NOT_BUILT.finding(
        kernel=modules.kernel or "",
        why=_why_not_built(modules),
        evidence=(*_evidence(case), *_evidence_of_build(modules)),
        fixes=tuple(_ways_to_build(case, modules)),
    )


def _why_not_built(modules: KernelModules) -> str:
    if modules.headers is False:
        return "the headers of this kernel are not installed, so that none can be built"
    if modules.build_log:
        return f"its build failed, see `{modules.build_log}`"
    if modules.other_kernels:
        return f"there is one for {modules.other_kernels[-1]}"
    return "none is on disk"


def _evidence_of_build(modules: KernelModules) -> Iterator[Evidence]:
    folder = f"/lib/modules/{modules.kernel}"
    yield Evidence(label="nvidia.ko", value="none", source=f"{folder}/modules.dep")
    if modules.headers is not None:
        there = "installed" if modules.headers else "not installed"
        yield Evidence(label="headers of the kernel", value=there, source=f"{folder}/build")
    for one in modules.dkms:
        built = ", ".join(one.kernels) or "no kernel"
        yield Evidence(
            label=f"DKMS {one.release}", value=f"built for {built}", source="/var/lib/dkms"
        )


def _ways_to_build(case: Case, modules: KernelModules) -> Iterator[Fix]:
    site = case.site
    packaged = bool(modules.other_kernels) and not modules.dkms and not modules.build_log
    package = system.packaged_module(site, case.libraries) if packaged else None
    if _REAL_TIME.search(modules.kernel or ""):
        yield system.build_for_real_time(site)
    if modules.build_log and modules.headers:
        yield system.read_build_log(site, modules.build_log)
    yield package or system.build_module(site, headers=modules.headers)
    if modules.other_kernels:
        yield system.boot_kernel(site, modules.other_kernels[-1])


_REAL_TIME = re.compile(r"(?<![a-z])(rt\d*|realtime)(?![a-z])")
"""In the name of a kernel with PREEMPT_RT: of Debian and SUSE -rt, RHEL .rt14, Ubuntu -realtime."""


def _refused(case: Case) -> Finding | None:
    modules = case.modules
    if modules is None or not modules.files or case.nouveau or not case.locked:
        return None
    said = case.said("module-refused")
    seen = bool(said) or modules.signed is False
    if not seen and case.log is not None:
        # The log can be read and names no refusal: nobody has tried to load it.
        return None
    return MODULE_REFUSED.finding(
        confidence=Confidence.CERTAIN if seen else Confidence.LIKELY,
        why=case.locked,
        what="not signed" if modules.signed is False else "not signed with a key that is enrolled",
        evidence=(
            *_evidence(case),
            Evidence(label="module on disk", value="not loaded", source=modules.files[0]),
            Evidence(label="Secure Boot", value=case.locked, source="/sys/firmware/efi/efivars"),
            *((Evidence(label="kernel log", value=said, source="/dev/kmsg"),) if said else ()),
        ),
        fixes=(
            system.sign_module(case.site, certain=True),
            *system.signed_packages(case.site, case.libraries),
            system.look_at_kernel_log(case.site),
        ),
        notes=(
            "the firmware asks for the password of `mokutil --import` at the next start; without "
            "that step the key is not enrolled (mokutil(1))",
        ),
    )


def _for_another_kernel(case: Case) -> Finding | None:
    said = case.said("built-for-another-kernel")
    if not said or case.nouveau:
        return None
    return MODULE_NOT_BUILT.finding(
        kernel=(case.modules.kernel if case.modules else None) or "",
        why="the one on disk was built for another",
        evidence=(
            *_evidence(case),
            Evidence(label="kernel log", value=said, source="/dev/kmsg"),
        ),
        fixes=(system.build_module(case.site),),
    )


def _not_loaded(case: Case) -> Finding:
    return DRIVER_NOT_LOADED.finding(
        why=_why_not_loaded(case),
        evidence=(
            *_evidence(case),
            Evidence(
                label="the driver's libraries",
                value=case.libraries or ("installed" if case.installed else "none"),
                source=" ".join(case.driver.libcuda_files) or "/usr",
            ),
        ),
        fixes=tuple(dict.fromkeys(_ways_to_load(case))),
    )


def _evidence(case: Case) -> Iterator[Evidence]:
    device = case.device
    yield Evidence(
        label="PCI device",
        value=f"{device.vendor_id}:{device.device_id}, kernel driver {device.driver or 'none'}",
        source=f"/sys/bus/pci/devices/{device.address}",
    )
    yield Evidence(label="module nvidia", value="not loaded", source="/proc/modules")


def _why_not_loaded(case: Case) -> str:
    if case.nouveau:
        return f": {case.holder} holds it"
    return "" if case.installed else ": no driver is installed"


def _ways_to_load(case: Case) -> Iterator[Fix]:
    site = case.site
    if case.nouveau:
        yield system.release_from_nouveau(site, case.holder)
    if not case.installed:
        yield system.install_driver(site)
        return
    on_disk = case.modules is not None and bool(case.modules.files)
    if not case.nouveau:
        yield system.load_module(site) if on_disk else system.build_module(site)
    if case.modules is None or case.modules.secure_boot is None or case.locked:
        yield system.sign_module(site, certain=bool(case.locked))
    yield system.look_at_kernel_log(site)
