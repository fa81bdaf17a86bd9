"""Repairs of the driver and its kernel module.

Sources: NVIDIA Driver Installation Guide; RPM Fusion, Howto/NVIDIA (also what rpm-ostree is
told); the Debian and Arch wikis.
"""

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import OsFamily, Site
from envdoctor.repair.system.module import INITRAMFS, NIXOS_CONFIGURATION, headers_of
from envdoctor.repair.system.place import on_host

_INSTALL: dict[OsFamily, tuple[str, ...]] = {
    "debian": ("sudo apt-get install nvidia-driver",),
    "ubuntu": ("sudo ubuntu-drivers install",),
    "fedora": ("sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda",),
    "fedora-atomic": (
        "sudo rpm-ostree install akmod-nvidia xorg-x11-drv-nvidia-cuda",
        "sudo rpm-ostree kargs --append=rd.driver.blacklist=nouveau,nova_core "
        "--append=modprobe.blacklist=nouveau,nova_core",
        "systemctl reboot",
    ),
    "rhel": ("sudo dnf install nvidia-open",),
    "suse": ("sudo zypper install nvidia-open-driver-G06-signed-kmp-default",),
    "arch": ("sudo pacman -S nvidia-open-dkms nvidia-utils",),
    "gentoo": ("sudo emerge --ask x11-drivers/nvidia-drivers",),
    "void": ("sudo xbps-install -S void-repo-nonfree", "sudo xbps-install -S nvidia"),
}
"""How a driver is installed, once the distribution's or NVIDIA's repository is set up."""


def install_driver(site: Site) -> Fix:
    """Install a driver where none is."""
    if site.os_family == "nixos":
        return Fix(summary=f"enable the NVIDIA driver {NIXOS_CONFIGURATION}")
    if site.os_family in _OF_ITS_SYSTEM:
        summary, own = _OF_ITS_SYSTEM[site.os_family]
        return on_host(site, summary, *own)
    if is_manjaro(site):
        return on_host(
            site,
            "install the NVIDIA driver by Manjaro's own tool, which fits it to the kernel and puts "
            "nouveau aside, and restart",
            "sudo mhwd -a pci nonfree 0300",
            "sudo reboot",
        )
    commands = _INSTALL.get(site.os_family, ())
    headers = headers_of(site) if site.os_family in _HEADERS_FIRST else None
    return on_host(
        site, "install the NVIDIA driver, and restart", *((headers,) if headers else ()), *commands
    )


_HEADERS_FIRST: tuple[OsFamily, ...] = ("debian", "rhel", "arch")
"""Where the module is built on the machine, and the driver's package does not bring the headers."""

_OF_ITS_SYSTEM: dict[OsFamily, tuple[str, tuple[str, ...]]] = {
    "universal-blue": (
        "rebase to the image of this system that has NVIDIA's driver: its name ends in `-nvidia`, "
        "or in `-nvidia-open` for Turing and later",
        ("rpm-ostree status", "ujust --list | grep -i nvidia"),
    ),
    "suse-atomic": (
        "install the NVIDIA driver into a new snapshot of the system, and restart into it",
        (
            "sudo transactional-update pkg install nvidia-open-driver-G06-signed-kmp-default "
            "nvidia-compute-utils-G06",
            "sudo reboot",
        ),
    ),
    "flatcar": (
        "Flatcar builds the driver at each start, by nvidia.service or the sysext "
        "nvidia-drivers: read why that failed, and start it again",
        ("journalctl -u nvidia.service", "sudo systemctl restart nvidia.service"),
    ),
    "guix": (
        "name the driver of the channel nonguix in the system's configuration: "
        "`(service nvidia-service-type)`, and `modprobe.blacklist=nouveau` among its "
        "kernel-arguments; then rebuild the system, and restart",
        ("sudo guix system reconfigure /etc/config.scm", "sudo reboot"),
    ),
    "unraid": (
        "Unraid has the driver from its plugin Nvidia-Driver, which fetches it for the running "
        "system: install it, or choose a release there that this system has, and restart",
        (),
    ),
}
"""Systems that are one image, which no package manager changes: how a driver comes into them
(docs.bazzite.gg; openSUSE MicroOS, transactional-update(8); Flatcar, Using NVIDIA GPUs; nonguix,
README; the plugin's support thread)."""


def is_manjaro(site: Site) -> bool:
    """Whether the kernel is one of Manjaro's, which bear its name."""
    return (site.kernel or "").endswith("-MANJARO")


def release_from_nouveau(site: Site, holder: str = "nouveau") -> Fix:
    """Keep the kernel's own driver, nouveau or nova_core, from taking the GPU."""
    if site.os_family == "nixos":
        return Fix(
            summary=f'blacklist {holder}: boot.blacklistedKernelModules = [ "{holder}" ]; and '
            f"enable the NVIDIA driver {NIXOS_CONFIGURATION}"
        )
    if site.os_family in ("guix", "flatcar") or is_manjaro(site):
        return install_driver(site)
    if site.os_family in ("fedora-atomic", "universal-blue"):
        return on_host(
            site,
            f"{holder} holds the GPU: keep it from loading, and restart",
            "sudo rpm-ostree kargs --append=rd.driver.blacklist=nouveau,nova_core "
            "--append=modprobe.blacklist=nouveau,nova_core",
            "systemctl reboot",
        )
    rebuild = INITRAMFS.get(site.os_family)
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
        return Fix(summary=f"choose a driver >= {minimum}{ceiling} {NIXOS_CONFIGURATION}")
    branch = newest or branch or minimum.partition(".")[0]
    commands = {
        "ubuntu": (f"sudo apt-get install nvidia-driver-{branch}{'-open' if open_only else ''}",),
        "debian": ("sudo apt-get install --only-upgrade nvidia-driver",),
        "fedora": ("sudo dnf upgrade akmod-nvidia",),
        "fedora-atomic": ("sudo rpm-ostree upgrade", "systemctl reboot"),
        "universal-blue": ("sudo rpm-ostree upgrade", "systemctl reboot"),
        "gentoo": ("sudo emerge --ask --update x11-drivers/nvidia-drivers", "sudo reboot"),
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
