"""Repairs of the driver and its kernel module.

Sources: NVIDIA Driver Installation Guide; RPM Fusion, Howto/NVIDIA (also what rpm-ostree is
told); the Debian and Arch wikis.
"""

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import OsFamily, Site
from envdoctor.repair.system.place import on_host
from envdoctor.shell import quote

_INSTALL: dict[OsFamily, tuple[str, ...]] = {
    "debian": ("sudo apt-get install linux-headers-$(uname -r) nvidia-driver",),
    "ubuntu": ("sudo ubuntu-drivers install",),
    "fedora": ("sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda",),
    "fedora-atomic": (
        "sudo rpm-ostree install akmod-nvidia xorg-x11-drv-nvidia-cuda",
        "sudo rpm-ostree kargs --append=rd.driver.blacklist=nouveau,nova_core "
        "--append=modprobe.blacklist=nouveau,nova_core",
        "systemctl reboot",
    ),
    "rhel": (
        "sudo dnf install kernel-devel-$(uname -r) kernel-headers",
        "sudo dnf install nvidia-open",
    ),
    "suse": ("sudo zypper install nvidia-open-driver-G06-signed-kmp-default",),
    "arch": ("sudo pacman -S nvidia-open-dkms nvidia-utils linux-headers",),
}
"""How a driver is installed, once the distribution's or NVIDIA's repository is set up."""


_BUILD: dict[OsFamily, tuple[str, ...]] = {
    "debian": (
        "sudo apt-get install linux-headers-$(uname -r)",
        "sudo dkms autoinstall && sudo modprobe nvidia",
    ),
    "ubuntu": (
        "sudo apt-get install linux-headers-$(uname -r)",
        "sudo dkms autoinstall && sudo modprobe nvidia",
    ),
    "fedora": (
        "sudo dnf install kernel-devel-$(uname -r)",
        "sudo akmods --force && sudo modprobe nvidia",
    ),
    "rhel": (
        "sudo dnf install kernel-devel-$(uname -r) kernel-headers",
        "sudo dkms autoinstall && sudo modprobe nvidia",
    ),
    "suse": ("sudo zypper install kernel-default-devel", "sudo modprobe nvidia"),
    "arch": ("sudo pacman -S linux-headers", "sudo dkms autoinstall && sudo modprobe nvidia"),
}
"""How the module is built for the running kernel: its headers come first."""


_ENROLL: dict[OsFamily, str] = {
    "debian": "sudo mokutil --import /var/lib/dkms/mok.pub",
    "ubuntu": "sudo mokutil --import /var/lib/shim-signed/mok/MOK.der",
    "fedora": "sudo mokutil --import /etc/pki/akmods/certs/public_key.der",
    "fedora-atomic": "sudo mokutil --import /etc/pki/akmods/certs/public_key.der",
    "rhel": "sudo mokutil --import /var/lib/dkms/mok.pub",
}


_INITRAMFS: dict[OsFamily, str] = {
    "debian": "sudo update-initramfs -u",
    "ubuntu": "sudo update-initramfs -u",
    "fedora": "sudo dracut --force",
    "rhel": "sudo dracut --force",
    "suse": "sudo dracut --force",
    "arch": "sudo mkinitcpio -P",
}


_NIXOS_CONFIGURATION = (
    'in configuration.nix: services.xserver.videoDrivers = [ "nvidia" ]; and '
    "hardware.nvidia.package, then `sudo nixos-rebuild switch`"
)


def install_driver(site: Site) -> Fix:
    """Install a driver where none is."""
    if site.os_family == "nixos":
        return Fix(summary=f"enable the NVIDIA driver {_NIXOS_CONFIGURATION}")
    commands = _INSTALL.get(site.os_family, ())
    return on_host(site, "install the NVIDIA driver, and restart", *commands)


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
        return Fix(summary=f"rebuild the system with the driver {_NIXOS_CONFIGURATION}")
    if site.os_family == "fedora-atomic":
        return on_host(
            site,
            "the module belongs to each deployment of the system: make a new one, or start the one "
            "before it",
            "rpm-ostree status",
            "sudo rpm-ostree upgrade",
            "systemctl reboot",
        )
    commands = _BUILD.get(site.os_family, ("sudo modprobe nvidia",))
    if headers and len(commands) > 1:
        commands = commands[1:]
    return on_host(site, _WHY_NOT_BUILT[headers], *commands)


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
    rebuild = _INITRAMFS.get(site.os_family)
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
        return on_host(
            site,
            "enroll the key that signs the module (a password is asked for now, and again by the "
            "firmware at the restart), or switch Secure Boot off in the firmware",
            *((enroll,) if enroll else ("sudo mokutil --import KEY.der",)),
            "sudo reboot",
        )
    return on_host(
        site,
        "if Secure Boot is on, the kernel refuses a module that is not signed with a key it knows: "
        "enroll the key that signed it, and restart",
        "mokutil --sb-state",
        *((enroll,) if enroll else ()),
    )


def release_from_nouveau(site: Site, holder: str = "nouveau") -> Fix:
    """Keep the kernel's own driver, nouveau or nova_core, from taking the GPU."""
    if site.os_family == "nixos":
        return Fix(
            summary=f'blacklist {holder}: boot.blacklistedKernelModules = [ "{holder}" ]; and '
            f"enable the NVIDIA driver {_NIXOS_CONFIGURATION}"
        )
    if site.os_family == "fedora-atomic":
        return on_host(
            site,
            f"{holder} holds the GPU: keep it from loading, and restart",
            "sudo rpm-ostree kargs --append=rd.driver.blacklist=nouveau,nova_core "
            "--append=modprobe.blacklist=nouveau,nova_core",
            "systemctl reboot",
        )
    rebuild = _INITRAMFS.get(site.os_family)
    return on_host(
        site,
        f"{holder} holds the GPU: blacklist it, rebuild the initramfs, restart",
        f"printf 'blacklist {holder}\\noptions {holder} modeset=0\\n' | "
        "sudo tee /etc/modprobe.d/blacklist-nouveau.conf"
        if holder == "nouveau"
        else f"echo blacklist {holder} | sudo tee /etc/modprobe.d/blacklist-{holder}.conf",
        *((rebuild,) if rebuild else ()),
        "sudo reboot",
    )


def take_from_vfio(site: Site, address: str | None, device_id: str | None) -> Fix:
    """Give a GPU that is held for a virtual machine back to NVIDIA's driver."""
    return on_host(
        site,
        f"vfio-pci holds the GPU for virtual machines: take 10de:{device_id or '...'} out of "
        "`vfio-pci.ids=` of the kernel's command line and of /etc/modprobe.d, and restart; a "
        "virtual machine that has it now has to be stopped first",
        "grep -rn vfio /etc/modprobe.d /proc/cmdline",
        *((f"cat /sys/bus/pci/devices/{address}/driver_override",) if address else ()),
        "sudo reboot",
    )


def update_driver(
    site: Site,
    minimum: str,
    *,
    newest: str | None = None,
    branch: str | None = None,
    open_only: bool = False,
) -> Fix:
    """Install a newer driver, of that `branch` where one is advised. `newest` is the last branch
    that serves this machine's GPUs; `open_only` says that these have no proprietary module."""
    if site.jetson:
        return Fix(
            summary="the driver of a Jetson is that of its JetPack: write a newer JetPack onto the "
            "board, with NVIDIA's SDK Manager",
            where=Place.FIRMWARE,
        )
    ceiling = f", of branch {newest} at most, which is the last one for this GPU" if newest else ""
    if site.wsl:
        return Fix(
            summary=f"update the NVIDIA driver on Windows to {minimum} or later; install none "
            "inside WSL",
            where=Place.HOST,
        )
    if site.os_family == "nixos":
        return Fix(summary=f"choose a driver >= {minimum}{ceiling} {_NIXOS_CONFIGURATION}")
    branch = newest or branch or minimum.partition(".")[0]
    commands = {
        "ubuntu": (f"sudo apt-get install nvidia-driver-{branch}{'-open' if open_only else ''}",),
        "debian": ("sudo apt-get install --only-upgrade nvidia-driver",),
        "fedora": ("sudo dnf upgrade akmod-nvidia",),
        "fedora-atomic": ("sudo rpm-ostree upgrade", "systemctl reboot"),
        "arch": ("sudo pacman -Syu",),
    }.get(site.os_family, ())
    kind = ", with the open kernel modules" if open_only else ""
    return on_host(
        site, f"update the NVIDIA driver to {minimum} or later{ceiling}{kind}", *commands
    )


def driver_of_branch(site: Site, branch: str) -> Fix:
    """Install a driver of an older branch, the last that serves a GPU."""
    if site.os_family == "nixos" and not site.contained:
        return Fix(
            summary=f"hardware.nvidia.package = config.boot.kernelPackages.nvidiaPackages."
            f"legacy_{branch}; in configuration.nix, then `sudo nixos-rebuild switch`",
            commands=("sudo nixos-rebuild switch",),
            safety=Safety.NEEDS_ROOT,
        )
    commands = {
        "ubuntu": (f"sudo apt-get install nvidia-driver-{branch}",),
        "arch": (f"yay -S nvidia-{branch}xx-dkms",),
        "fedora": (f"sudo dnf install akmod-nvidia-{branch}xx",),
    }.get(site.os_family, ())
    return on_host(site, f"install a driver of branch {branch}, the last for this GPU", *commands)


def open_module(site: Site, branch: str) -> Fix:
    """Replace the proprietary flavour of the kernel module by the open one."""
    commands = {
        "ubuntu": (f"sudo apt-get install nvidia-driver-{branch}-open", "sudo reboot"),
        "debian": ("sudo apt-get install nvidia-open-kernel-dkms", "sudo reboot"),
        "fedora": (
            "echo '%_with_kmod_nvidia_open 1' | sudo tee /etc/rpm/macros.nvidia-kmod",
            "sudo akmods --kernels $(uname -r) --rebuild",
            "sudo reboot",
        ),
        "rhel": ("sudo dnf install nvidia-open", "sudo reboot"),
        "suse": ("sudo zypper install nvidia-open-driver-G06-signed-kmp-default", "sudo reboot"),
        "arch": ("sudo pacman -S nvidia-open-dkms", "sudo reboot"),
    }.get(site.os_family, ())
    if site.os_family == "nixos":
        return Fix(
            summary="hardware.nvidia.open = true; in configuration.nix, then "
            "`sudo nixos-rebuild switch`"
        )
    return on_host(
        site,
        "install the open kernel modules of the driver in place of the proprietary ones",
        *commands,
    )


def proprietary_module(site: Site, branch: str) -> Fix:
    """Replace the open flavour of the kernel module by the proprietary one."""
    if site.os_family == "nixos":
        return Fix(
            summary="hardware.nvidia.open = false; in configuration.nix, then "
            "`sudo nixos-rebuild switch`"
        )
    commands = {
        "ubuntu": (f"sudo apt-get install nvidia-driver-{branch}", "sudo reboot"),
        "debian": ("sudo apt-get install nvidia-kernel-dkms", "sudo reboot"),
        "arch": ("sudo pacman -S nvidia-dkms", "sudo reboot"),
    }.get(site.os_family, ())
    return on_host(
        site,
        "install the proprietary kernel modules of the driver in place of the open ones, of a "
        "branch that still serves this GPU",
        *commands,
    )
