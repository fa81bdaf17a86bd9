"""The kernel's modules and its log, from small trees of files that look like other machines."""

import os
from pathlib import Path

import pytest

from envdoctor.api import DkmsModule, KernelLog, KernelModules, Observed, Reason, Unknown
from envdoctor.facts.machine import PciDevice, PciGpus
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.kernel_log import observe_kernel_log, read_kernel_log
from envdoctor.probes.kernel_modules import read_kernel_modules
from envdoctor.probes.run import Children

KERNEL = "6.8.0-60-generic"
MODULES = f"lib/modules/{KERNEL}"
OF_THE_KERNEL = """\
kernel/drivers/video/fbdev/nvidia/nvidiafb.ko.zst: kernel/drivers/video/fbdev/core/fb_ddc.ko.zst
kernel/drivers/i2c/busses/i2c-nvidia-gpu.ko.zst:
kernel/drivers/platform/x86/nvidia-wmi-ec-backlight.ko.zst: kernel/drivers/video/nvidia.ko.zst
kernel/drivers/gpu/drm/nouveau/nouveau.ko.zst:
"""
GPU = PciGpus(
    devices=(PciDevice(address="0000:07:00.0", vendor_id="10de", device_id="20b2", driver=None),)
)


class Root:
    """The files of a machine, and the questions about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file("proc/sys/kernel/osrelease", f"{KERNEL}\n")

    @property
    def context(self) -> Context:
        return context_of(Children(), root=self.folder, env={}, cwd="/")

    @property
    def modules(self) -> KernelModules:
        return read_kernel_modules(self.context)

    def file(self, name: str, content: str | bytes = "") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def logged(self, *texts: str) -> KernelLog:
        """What matters of a log of these texts, one second apart."""
        lines = (f"6,{i},{i * 1_000_000},-;{text}\n" for i, text in enumerate(texts, start=1))
        return read_kernel_log(self.file("dev/kmsg", "".join(lines)))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


# --- Secure Boot and lockdown ---

VARIABLE = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


@pytest.mark.parametrize(
    ("content", "on"),
    [
        (b"\x06\0\0\0\x01", True),
        (b"\x06\0\0\0\x00", False),
        (b"\x06\0\0", None),
        (b"", None),
        (None, None),
    ],
)
def test_secure_boot_is_the_fifth_byte(root: Root, content: bytes | None, on: bool | None) -> None:
    (root.folder / "sys/firmware/efi").mkdir(parents=True)
    if content is not None:
        root.file(VARIABLE, content)
    assert root.modules.secure_boot is on


def test_firmware_without_efi_has_no_secure_boot(root: Root) -> None:
    assert root.modules.secure_boot is None, "no sysfs at all says nothing"
    (root.folder / "sys/firmware/acpi").mkdir(parents=True)
    assert root.modules.secure_boot is False


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("none [integrity] confidentiality\n", "integrity"),
        ("[none] integrity confidentiality\n", "none"),
        ("none integrity [confidentiality]\n", "confidentiality"),
        ("garbage", None),
    ],
)
def test_the_lockdown_is_in_brackets(root: Root, text: str, mode: str | None) -> None:
    root.file("sys/kernel/security/lockdown", text)
    root.file("sys/module/module/parameters/sig_enforce", "Y\n")
    assert (root.modules.lockdown, root.modules.signatures_enforced) == (mode, True)


# --- the module ---


@pytest.mark.parametrize(
    "name",
    [
        "updates/dkms/nvidia.ko.zst",
        "kernel/nvidia-535/nvidia.ko",
        "extra/nvidia/nvidia.ko.xz",
        "updates/dkms/nvidia-current.ko",
        "updates/dkms/nvidia-legacy-390xx.ko",
        "nvidia.ko.gz",
    ],
)
def test_a_module_of_every_distribution_is_found(root: Root, name: str) -> None:
    root.file(f"{MODULES}/modules.dep", f"{OF_THE_KERNEL}{name}: kernel/drivers/x.ko\n")
    assert root.modules.files == (f"/{MODULES}/{name}",)


def test_what_the_kernel_itself_brings_is_no_driver(root: Root) -> None:
    root.file(f"{MODULES}/modules.dep", OF_THE_KERNEL)
    assert root.modules.files == ()


def test_a_kernel_without_a_folder_says_nothing(root: Root) -> None:
    assert (root.modules.files, root.modules.headers) == (None, None)


@pytest.mark.parametrize(
    ("end", "signed"), [(b"~Module signature appended~\n", True), (b"\0" * 64, False)]
)
def test_a_signature_is_at_the_end(root: Root, end: bytes, signed: bool) -> None:
    root.file(f"{MODULES}/modules.dep", "updates/dkms/nvidia.ko:\n")
    root.file(f"{MODULES}/updates/dkms/nvidia.ko", b"\x7fELF" + b"\0" * 100 + end)
    assert root.modules.signed is signed


def test_a_compressed_module_keeps_its_signature_to_itself(root: Root) -> None:
    root.file(f"{MODULES}/modules.dep", "updates/dkms/nvidia.ko.zst:\n")
    root.file(f"{MODULES}/updates/dkms/nvidia.ko.zst", b"\x28\xb5\x2f\xfd")
    assert root.modules.signed is None


def test_nothing_more_is_looked_for_where_the_module_is_loaded(root: Root) -> None:
    root.file(f"{MODULES}/modules.dep", "updates/dkms/nvidia.ko:\n")
    (root.folder / "sys/module/nvidia").mkdir(parents=True)
    assert root.modules == KernelModules(kernel=KERNEL)


def test_headers_are_where_the_link_leads_below_the_root(root: Root) -> None:
    root.file(f"{MODULES}/modules.dep", OF_THE_KERNEL)
    assert root.modules.headers is False, "no link"
    (root.folder / MODULES / "build").symlink_to(f"/usr/src/linux-headers-{KERNEL}")
    assert root.modules.headers is False, "a link that leads nowhere"
    root.file(f"usr/src/linux-headers-{KERNEL}/Makefile")
    assert root.modules.headers is True


def test_the_kernel_before_the_update_has_a_module(root: Root) -> None:
    root.file(f"{MODULES}/modules.dep", OF_THE_KERNEL)
    root.file("lib/modules/6.8.0-55-generic/modules.dep", "updates/dkms/nvidia.ko:\n")
    root.file("lib/modules/6.8.0-40-generic/modules.dep", OF_THE_KERNEL)
    root.file("var/lib/dkms/nvidia/535.183.01/6.8.0-55-generic/x86_64/module/nvidia.ko")
    root.file("var/lib/dkms/nvidia/535.183.01/source/dkms.conf")
    found = root.modules
    assert found.other_kernels == ("6.8.0-55-generic",)
    assert found.dkms == (DkmsModule(release="535.183.01", kernels=("6.8.0-55-generic",)),)
    assert found.build_log is None


@pytest.mark.parametrize(
    "log",
    [
        "var/lib/dkms/nvidia/535.183.01/build/make.log",
        f"var/cache/akmods/nvidia/565.77-1-for-{KERNEL}.failed.log",
    ],
)
def test_the_log_of_a_build_that_failed(root: Root, log: str) -> None:
    root.file(f"{MODULES}/modules.dep", OF_THE_KERNEL)
    root.file("var/cache/akmods/nvidia/565.77-1-for-6.1.0.failed.log")
    root.file(log)
    assert root.modules.build_log == f"/{log}"


@pytest.mark.parametrize(
    ("text", "blocked"),
    [
        ("blacklist nvidia\n", True),
        ("# a comment\n  alias nvidia off\n", True),
        ("install nvidia /bin/false\n", True),
        ("blacklist nouveau\nblacklist nvidiafb\n", False),
        ("blacklist nvidia-drm\nblacklist nvidia_uvm\n", False),
        ("# blacklist nvidia\n", False),
        ("install nvidia modprobe -i nvidia-current $CMDLINE_OPTS\n", False),
        ("options nvidia NVreg_PreserveVideoMemoryAllocations=1\n", False),
    ],
)
def test_what_forbids_the_module(root: Root, text: str, blocked: bool) -> None:
    root.file(f"{MODULES}/modules.dep", "updates/dkms/nvidia.ko:\n")
    root.file("lib/modprobe.d/blacklist-nvidia.conf", text)
    wanted = "/lib/modprobe.d/blacklist-nvidia.conf" if blocked else None
    assert root.modules.blocked_by == wanted


# --- the log ---

FALLEN = "NVRM: Xid (PCI:0000:07:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off."
FAULT = "NVRM: Xid (PCI:0000:07:00): 31, pid=4711, name=python, Ch 00000008, intr 00000000."


def test_xids_are_counted_by_gpu_and_number(root: Root) -> None:
    log = root.logged(
        "usb 1-1: new device", FAULT, FAULT.replace("07", "08"), "NVRM: hello", FAULT, FALLEN
    )
    events = [(one.pci_address, one.code, one.count, one.last_s) for one in log.xids]
    assert events == [
        ("0000:08:00.0", 31, 1, 3.0),
        ("0000:07:00.0", 31, 2, 5.0),
        ("0000:07:00.0", 79, 1, 6.0),
    ]


def test_whose_process_it_was_is_left_out(root: Root) -> None:
    texts = [one.text for one in root.logged(FAULT, FALLEN).xids]
    assert texts == ["Ch 00000008, intr 00000000.", "GPU has fallen off."]


@pytest.mark.parametrize(
    ("text", "address", "code"),
    [
        ("NVRM: Xid (0000:06:00): 13, Graphics Exception", "0000:06:00.0", 13),
        ("NVRM: Xid (PCI:0000:C1:00): 63, Row Remapper", "0000:c1:00.0", 63),
        ("NVRM: Xid (PCI:0000:41:00 GPU-I:07): 94, pid=1, Contained", "0000:41:00.0", 94),
    ],
)
def test_every_way_to_write_an_xid(root: Root, text: str, address: str, code: int) -> None:
    (event,) = root.logged(text).xids
    assert (event.pci_address, event.code) == (address, code)


def test_what_was_before_the_driver_was_loaded_is_past(root: Root) -> None:
    loaded = "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 2024"
    assert root.logged(FALLEN, "NVRM: API mismatch: x", loaded) == KernelLog()
    assert [one.code for one in root.logged(FALLEN, loaded, FAULT).xids] == [31]


def test_an_error_that_the_driver_calls_settled_is_past(root: Root) -> None:
    settled = (
        "NVRM: Xid (PCI:0000:07:00): 154, pid=1, GPU recovery action changed from 0x1 (GPU Reset "
        "Required) to 0x0 (None)"
    )
    other = FALLEN.replace("07", "08")
    assert [one.pci_address for one in root.logged(FALLEN, other, settled).xids] == ["0000:08:00.0"]
    asked = settled.replace("0x1 (GPU Reset Required) to 0x0 (None)", "0x0 (None) to 0x1 (GPU)")
    assert [one.code for one in root.logged(FALLEN, asked).xids] == [79, 154]


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [
        (
            "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x26:0x56:1463)",
            "init-failed",
            "0000:01:00.0",
        ),
        ("NVRM: rm_init_adapter failed, device minor number 0", "init-failed", None),
        (
            "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\\x0aNVRM: "
            "BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)",
            "bar-unassigned",
            None,
        ),
        (
            "NVRM: GPU 0000:01:00.0: GPU does not have the necessary power cables connected.",
            "power-cable",
            "0000:01:00.0",
        ),
        (
            "NVRM: API mismatch: the client has the version 535.1, but\\x0aNVRM: this module",
            "api-mismatch",
            None,
        ),
        ("Loading of module with unavailable key is rejected", "module-refused", None),
        ("Loading of unsigned module is rejected", "module-refused", None),
        (
            "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7",
            "module-refused",
            None,
        ),
        ("nvidia: disagrees about version of symbol x", "built-for-another-kernel", None),
        (
            "nvidia 0000:01:00.0: Direct firmware load for nvidia/535/gsp.bin failed with error -2",
            "firmware-missing",
            None,
        ),
    ],
)
def test_lines_that_say_why(root: Root, text: str, kind: str, address: str | None) -> None:
    (message,) = root.logged("systemd[1]: Load Kernel Module nvidia", text).messages
    assert (message.kind, message.pci_address) == (kind, address)
    assert "\\x0a" not in message.text


def test_an_ordinary_start_says_nothing(root: Root) -> None:
    log = root.logged(
        "nvidia: loading out-of-tree module taints kernel.",
        "nvidia: module verification failed: signature and/or required key missing - tainting",
        "nvidia-nvlink: Nvlink Core is being initialized, major device number 510",
        "nvidia 0000:07:00.0: enabling device (0000 -> 0003)",
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.183.01",
        "amdgpu: Direct firmware load for amdgpu/x.bin failed with error -2",
    )
    assert log == KernelLog()


def test_a_log_that_has_nothing_more_to_say_is_not_waited_for(root: Root) -> None:
    (root.folder / "dev").mkdir()
    path = root.folder / "dev/kmsg"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(end, f"6,1,1000000,-;{FALLEN}\n".encode())
        assert [one.code for one in read_kernel_log(path).xids] == [79]
    finally:
        os.close(end)


def test_a_log_without_end_is_cut(root: Root) -> None:
    assert read_kernel_log(Path("/dev/zero")) == KernelLog()


def test_a_log_that_is_not_there_is_no_failure(root: Root) -> None:
    fact = observe_kernel_log(root.context, GPU)[KernelLog]
    assert isinstance(fact, Unknown)
    assert (fact.reason, fact.detail) == (
        Reason.NOT_OBSERVED,
        "/dev/kmsg: No such file or directory",
    )


def test_the_log_is_not_read_without_an_nvidia_gpu(root: Root) -> None:
    root.logged(FALLEN)
    fact = observe_kernel_log(root.context, PciGpus(devices=()))[KernelLog]
    assert isinstance(fact, Unknown)
    assert fact.reason is Reason.NOT_APPLICABLE
    assert isinstance(observe_kernel_log(root.context, GPU)[KernelLog], Observed)
