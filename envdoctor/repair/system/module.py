"""Repairs of the driver's kernel module: its headers, its build, its signature.

Sources: NVIDIA Driver Installation Guide; Ubuntu Server, NVIDIA drivers installation; Proxmox VE
wiki, NVIDIA vGPU; Oracle, Unbreakable Enterprise Kernel release notes; the Arch and Gentoo wikis;
RPM Fusion, Howto/NVIDIA; Universal Blue, Secure Boot.
"""

import re

from envdoctor.findings import Fix
from envdoctor.repair.site import OsFamily, Site
from envdoctor.repair.system.place import on_host
from envdoctor.shell import quote
from envdoctor.versions import parse_number

__all__ = [
    "INITRAMFS",
    "NIXOS_CONFIGURATION",
    "allow_module",
    "boot_kernel",
    "build_for_real_time",
    "build_module",
    "headers_of",
    "load_module",
    "packaged_module",
    "read_build_log",
    "sign_module",
    "signed_packages",
]

INITRAMFS: dict[OsFamily, str] = {
    "debian": "sudo update-initramfs -u",
    "ubuntu": "sudo update-initramfs -u",
    "fedora": "sudo dracut --force",
    "rhel": "sudo dracut --force",
    "suse": "sudo dracut --force",
    "arch": "sudo mkinitcpio -P",
}
"""How the initramfs is rebuilt."""


NIXOS_CONFIGURATION = (
    'in configuration.nix: services.xserver.videoDrivers = [ "nvidia" ]; and '
    "hardware.nvidia.package, then `sudo nixos-rebuild switch`"
)

_LOAD = "sudo modprobe nvidia"
_DKMS = f"sudo dkms autoinstall && {_LOAD}"

_BUILD: dict[OsFamily, str] = {
    "debian": _DKMS,
    "ubuntu": _DKMS,
    "fedora": f"sudo akmods --force && {_LOAD}",
    "rhel": _DKMS,
    "suse": _LOAD,
    "arch": _DKMS,
    "gentoo": f"sudo emerge --ask @module-rebuild && {_LOAD}",
}
"""How the module is built for the running kernel, once its headers are there."""

_PROXMOX_HEADERS = (6, 5)
"""From this kernel on those of Proxmox VE are called proxmox-kernel and proxmox-headers."""

_ARCH_KERNELS = ("lts", "zen", "hardened", "rt", "cachyos")


def headers_of(site: Site) -> str | None:
    """The command that installs the headers of the running kernel, whose package has the name of
    its kind; None where the family has no such package."""
    kernel = site.kernel or ""
    if site.os_family in ("debian", "ubuntu"):
        package = _proxmox_headers(kernel) if kernel.endswith("-pve") else "linux-headers"
        return f"sudo apt-get install {package}-$(uname -r)"
    if site.os_family == "fedora":
        return "sudo dnf install kernel-devel-$(uname -r)"
    if site.os_family == "rhel":
        return f"sudo dnf install {_rhel_headers(kernel)}"
    if site.os_family == "suse":
        flavour = re.search(r"-([a-z][a-z0-9]*)$", kernel)
        return f"sudo zypper install kernel-{flavour[1] if flavour else 'default'}-devel"
    if site.os_family == "arch":
        return f"sudo pacman -S {_arch_headers(kernel)}"
    return None


def _proxmox_headers(kernel: str) -> str:
    numbers = tuple(parse_number(part) or 0 for part in re.split(r"[.-]", kernel)[:2])
    return "proxmox-headers" if numbers >= _PROXMOX_HEADERS else "pve-headers"


def _rhel_headers(kernel: str) -> str:
    if "uek" in kernel:
        return "kernel-uek-devel-$(uname -r)"
    if kernel.endswith("64k"):
        return "kernel-64k-devel-$(uname -r | cut -d+ -f1)"
    return "kernel-devel-$(uname -r) kernel-headers"


def _arch_headers(kernel: str) -> str:
    if kernel.endswith("-MANJARO"):
        return "linux{}{}-headers".format(*kernel.split(".")[:2])
    kind = next((one for one in _ARCH_KERNELS if re.search(rf"-{one}\b", kernel)), None)
    return f"linux-{kind}-headers" if kind else "linux-headers"


_ENROLL: dict[OsFamily, str] = {
    "debian": "sudo mokutil --import /var/lib/dkms/mok.pub",
    "ubuntu": "sudo mokutil --import /var/lib/shim-signed/mok/MOK.der",
    "fedora": "sudo mokutil --import /etc/pki/akmods/certs/public_key.der",
    "fedora-atomic": "sudo mokutil --import /etc/pki/akmods/certs/public_key.der",
    "universal-blue": "ujust enroll-secure-boot-key",
    "rhel": "sudo mokutil --import /var/lib/dkms/mok.pub",
}


_WHY_NOT_BUILT = {
    None: "the driver is installed without a module for the running kernel, most often because the "
    "kernel is new and its headers are missing: install the headers, build the module, load it",
    False: "install the headers of the running kernel, build the module, load it",
    True: "the headers are there: build the module for the running kernel, load it",
}


def build_module(site: Site, *, headers: bool | None = None) -> Fix:
    """Build the module of an installed driver for the running kernel, whose headers are installed,
    or not, or nobody knows."""
    if site.os_family == "nixos":
        return Fix(summary=f"rebuild the system with the driver {NIXOS_CONFIGURATION}")
    if site.os_family in ("fedora-atomic", "universal-blue"):
        return on_host(
            site,
            "the module belongs to each deployment of the system: make a new one, or start the one "
            "before it",
            "rpm-ostree status",
            "sudo rpm-ostree upgrade",
            "systemctl reboot",
        )
    first = None if headers else headers_of(site)
    build = _BUILD.get(site.os_family, _LOAD)
    return on_host(site, _WHY_NOT_BUILT[headers], *((first,) if first else ()), build)


def packaged_module(site: Site, release: str | None) -> Fix | None:
    """The module from a package that was built for one kernel, where no DKMS has its source; None
    where the family has no such packages."""
    branch = (release or "").partition(".")[0] or "BRANCH"
    commands = {
        "ubuntu": (
            "dpkg -l 'nvidia-driver-*' 'linux-modules-nvidia-*' | grep ^ii",
            f"sudo apt-get install linux-modules-nvidia-{branch}-{_flavour(site)}",
            _LOAD,
        ),
        "rhel": ("sudo dnf upgrade 'kmod-nvidia*' 'nvidia-*-kmod'", _LOAD),
        "arch": (f"sudo pacman -S nvidia-open-dkms {_arch_headers(site.kernel or '')}", _LOAD),
    }.get(site.os_family)
    if commands is None:
        return None
    return on_host(
        site,
        "no DKMS builds it here, it came in a package for one kernel: take that for the running "
        "one, or, where the driver is from NVIDIA's .run file, run that again with --dkms",
        *commands,
    )


def _flavour(site: Site) -> str:
    """`azure` of 6.8.0-1041-azure, by which Ubuntu names the packages that follow its kernels."""
    return (site.kernel or "").rpartition("-")[2] or "generic"


def load_module(site: Site) -> Fix:
    """Load a module that is on disk."""
    return on_host(
        site,
        "the module is there for this kernel: load it, and read why where that fails",
        "sudo modprobe nvidia",
    )


def read_build_log(site: Site, log: str) -> Fix:
    """Read why the module could not be built."""
    return on_host(
        site,
        "read why the build failed; a kernel that is newer than the driver knows needs a newer "
        "driver, and the compiler has to be that of the kernel",
        f"grep -nE 'error|Error' {quote(log)} | head",
    )


def build_for_real_time(site: Site) -> Fix:
    """Have the module built although the kernel is a real-time one (kernel-open/conftest.sh)."""
    return on_host(
        site,
        "this is a real-time kernel (PREEMPT_RT), for which the build refuses: start the usual "
        "kernel, or have it built all the same, which NVIDIA does not support",
        "sudo env IGNORE_PREEMPT_RT_PRESENCE=1 dkms autoinstall && sudo modprobe nvidia",
    )


def boot_kernel(site: Site, kernel: str) -> Fix:
    """Start a kernel for which there is a module."""
    return on_host(
        site, f"until then: restart, and choose the kernel {kernel} in the boot menu, which has one"
    )


def allow_module(site: Site, file: str) -> Fix:
    """Let modprobe load the module again."""
    if "prime" in file or (site.os_family == "ubuntu" and file.endswith("blacklist-nvidia.conf")):
        return on_host(
            site,
            "switch the NVIDIA GPU of this laptop on again, and restart",
            "sudo prime-select on-demand",
            "sudo reboot",
        )
    rebuild = INITRAMFS.get(site.os_family)
    return on_host(
        site,
        f"take the lines that name `nvidia` out of `{file}`, rebuild the initramfs, restart",
        f"grep -n nvidia {quote(file)}",
        *((rebuild,) if rebuild else ()),
    )


def sign_module(site: Site, *, certain: bool = False) -> Fix:
    """Let Secure Boot accept the module; `certain` where it is known to be on."""
    enroll = _ENROLL.get(site.os_family)
    if certain:
        firmware = (
            "in the settings of this virtual machine, with whoever provides it (on Azure its "
            "security type, on Google Cloud Shielded VM)"
            if site.virtual
            else "in the firmware"
        )
        return on_host(
            site,
            "enroll the key that signs the module (a password is asked for now, and again by the "
            f"firmware at the restart), or switch Secure Boot off {firmware}",
            enroll or "sudo mokutil --import KEY.der",
            "sudo reboot",
        )
    return on_host(
        site,
        "if Secure Boot is on, the kernel refuses a module that is not signed with a key it knows: "
        "enroll the key that signed it, and restart",
        "mokutil --sb-state",
        *((enroll,) if enroll else ()),
    )


def signed_packages(site: Site, release: str | None) -> tuple[Fix, ...]:
    """The module as the distribution signs it, for which no key has to be enrolled."""
    if site.os_family != "ubuntu":
        return ()
    branch = (release or "").partition(".")[0] or "BRANCH"
    return (
        on_host(
            site,
            "or take the module that Ubuntu signs with its own key, in place of the one that is "
            "built here",
            f"sudo apt-get install linux-modules-nvidia-{branch}-{_flavour(site)}",
            "sudo reboot",
        ),
    )
