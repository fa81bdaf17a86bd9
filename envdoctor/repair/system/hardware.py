"""Repairs of GPUs and of what connects them: firmware, fabric, power, licences."""

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import OsFamily, Site
from envdoctor.repair.system.place import on_host
from envdoctor.versions import parse_number


def restart(site: Site, because: str) -> Fix:
    """Restart the machine."""
    return on_host(site, f"restart the machine: {because}", "sudo reboot")


def reset_gpu(site: Site, index: int) -> Fix:
    """Reset one GPU, as NVML numbers it; a virtual machine or a GPU of a display cannot."""
    return on_host(
        site,
        "see its memory errors (first command), end the processes on it, and reset it; where that "
        "is refused (a display uses it, or it is passed through), restart the machine",
        f"nvidia-smi -i {index} -q -d ECC,ROW_REMAPPER,PAGE_RETIREMENT",
        f"sudo nvidia-smi -i {index} --gpu-reset",
    )


def reset_for_mig(site: Site, index: int) -> Fix:
    """Have a GPU take on the MIG mode that waits (NVIDIA MIG User Guide, "Enable MIG Mode")."""
    return on_host(
        site,
        "to have the mode now, end the processes on the GPU and reset it; where that is refused, "
        "restart the machine",
        f"sudo nvidia-smi -i {index} --gpu-reset",
    )


def reset_amd_gpu(site: Site, index: int) -> Fix:
    """Reset a GPU of AMD (amd-smi, Reset)."""
    return on_host(
        site,
        "end the processes on the GPU and reset it; where that is refused, restart the machine",
        f"sudo amd-smi reset -G -g {index}",
    )


def share_gpu(site: Site, index: int) -> Fix:
    """Let every process compute on a GPU."""
    return on_host(site, "let processes share the GPU", f"sudo nvidia-smi -i {index} -c DEFAULT")


def replace_gpu() -> Fix:
    """What is left where an error comes back."""
    return Fix(
        summary="if it comes back: check power and cooling, reseat the card, have it replaced "
        "(RMA)",
        where=Place.FIRMWARE,
    )


def leave_out_node() -> Fix:
    """What the user of a cluster can do about a GPU that is broken: Slurm sends the next job to the
    same node (sbatch(1), --exclude)."""
    return Fix(
        summary="leave this node out, and report it to who runs the cluster: the next job would "
        "be sent to the same GPU",
        commands=('sbatch --exclude="$SLURMD_NODENAME" ...',),
        where=Place.SCHEDULER,
    )


def connect_power() -> Fix:
    """Connect the power cables of a card."""
    return Fix(
        summary="switch the machine off and connect all power cables of the card, each to a "
        "connector of its own",
        where=Place.FIRMWARE,
    )


def cool_gpu(site: Site) -> Fix:
    """Have a GPU that is too hot cooled."""
    return on_host(
        site,
        "look at temperatures and fans; clear the air path or cool the room",
        "nvidia-smi -q -d TEMPERATURE,PERFORMANCE",
        safety=Safety.SAFE,
    )


def power_gpu(site: Site) -> Fix:
    """Have a GPU that the hardware holds back given its power."""
    return on_host(
        site,
        "look at the power: cables of the card, each to a connector of its own, the power supply, "
        "and what the server's management says of its power limit",
        "nvidia-smi -q -d POWER,PERFORMANCE",
        safety=Safety.SAFE,
    )


def more_address_space() -> Fix:
    """Let the firmware map all of a GPU's memory."""
    return Fix(
        summary="switch `Above 4G decoding` and `Resizable BAR` on in the firmware; in a virtual "
        "machine give it more MMIO space",
        where=Place.FIRMWARE,
    )


_KERNEL_ARGUMENT: dict[OsFamily, tuple[str, ...]] = {
    "ubuntu": ("sudoedit /etc/default/grub", "sudo update-grub"),
    "debian": ("sudoedit /etc/default/grub", "sudo update-grub"),
    "fedora": ("sudo grubby --update-kernel=ALL --args=iommu=pt",),
    "fedora-atomic": ("sudo rpm-ostree kargs --append=iommu=pt",),
    "universal-blue": ("sudo rpm-ostree kargs --append=iommu=pt",),
    "rhel": ("sudo grubby --update-kernel=ALL --args=iommu=pt",),
    "suse": ("sudoedit /etc/default/grub", "sudo grub2-mkconfig -o /boot/grub2/grub.cfg"),
    "arch": ("sudoedit /etc/default/grub", "sudo grub-mkconfig -o /boot/grub/grub.cfg"),
}
"""How `iommu=pt` comes into the kernel's command line; those who edit add it to
GRUB_CMDLINE_LINUX."""


def pass_through_iommu(site: Site) -> Fix:
    """Have the IOMMU pass the addresses of the machine's own devices through."""
    return on_host(
        site,
        "give the kernel `iommu=pt` (in GRUB_CMDLINE_LINUX) and restart, or switch the IOMMU "
        "(VT-d, AMD-Vi) off in the firmware where no virtual machine needs it",
        *_KERNEL_ARGUMENT.get(site.os_family, ()),
        "sudo reboot",
    )


def switch_acs_off(site: Site, ports: tuple[str, ...]) -> Fix:
    """Let the ports of PCIe switches send between the devices below them, until the next start."""
    return on_host(
        site,
        "switch ACS off on the ports of the switch (until the next start of the machine), or in "
        "the firmware; not where virtual machines have the GPUs",
        *(f"sudo setpci -s {port} ECAP_ACS+0x6.w=0000" for port in ports),
    )


def look_at_topology() -> Fix:
    """See which GPUs reach each other."""
    return Fix(
        summary="see which pairs reach each other, and give those to a job of few GPUs",
        commands=("nvidia-smi topo -p2p r", "nvidia-smi topo -m"),
        safety=Safety.SAFE,
    )


def install_gsp_firmware(site: Site) -> Fix:
    """Install the firmware that the driver loads into the GPU."""
    package = {
        "debian": "sudo apt-get install firmware-nvidia-gsp",
        "ubuntu": "ls /lib/firmware/nvidia; apt-cache search '^nvidia-firmware-'",
        "fedora": "sudo dnf reinstall nvidia-gpu-firmware xorg-x11-drv-nvidia",
        "arch": "sudo pacman -S linux-firmware-nvidia nvidia-utils",
    }.get(site.os_family)
    return on_host(
        site,
        "install the GSP firmware of the driver's own release (/lib/firmware/nvidia/RELEASE), and "
        "reload the module",
        *((package,) if package else ()),
    )


def fabric_of_rack() -> Fix:
    """Have the fabric started that links the GPUs of a whole rack."""
    return Fix(
        summary="in a rack of GB200 or GB300 the fabric manager runs on the NVLink switch trays, "
        "and not on this machine: have it looked at there",
        commands=("nvidia-smi -q | grep -A 6 Fabric",),
        where=Place.HOST,
    )


_LAST_WITH_A_HYPHEN = 575
"""The last branch whose RPM is called nvidia-fabric-manager; from 580 on it is
nvidia-fabricmanager, as its service and its Debian packages always were."""


def fabric_manager(site: Site, release: str | None, *, fifth_nvlink: bool = False) -> Fix:
    """Install and start the fabric manager of the driver's own release. From NVLink 5 on (B200) it
    starts a subnet manager, the package nvlsm, which reaches the switches by the module ib_umad
    (NVIDIA Fabric Manager User Guide, fourth generation NVSwitches; the EC2 guide on P6-B200 has
    the packages)."""
    branch = (release or "").partition(".")[0]
    number = parse_number(branch)
    before = number is not None and number <= _LAST_WITH_A_HYPHEN
    rpm = "nvidia-fabric-manager" if before else "nvidia-fabricmanager"
    install = {
        "ubuntu": f"sudo apt-get install nvidia-fabricmanager-{branch}",
        "debian": "sudo apt-get install nvidia-fabricmanager",
        "rhel": f"sudo dnf install {rpm}",
        "fedora": f"sudo dnf install {rpm}",
        "suse": f"sudo zypper install {rpm}",
    }.get(site.os_family)
    of_release = f" of the driver's release {release}" if release else " of the driver's release"
    beside = ", and the subnet manager NVLSM that B200 and later need," if fifth_nvlink else ""
    if install and fifth_nvlink:
        install += " nvlsm infiniband-diags"
    return on_host(
        site,
        f"install the fabric manager{of_release}{beside} where it is missing, and start its "
        "service",
        *((install,) if install else ()),
        *(("sudo modprobe ib_umad",) if fifth_nvlink else ()),
        "sudo systemctl enable --now nvidia-fabricmanager",
    )


def fabric_manager_of_hypervisor() -> Fix:
    """Have the fabric of a GPU that is passed through started where it is managed."""
    return Fix(
        summary="in a virtual machine with one GPU of an NVSwitch server the fabric manager runs "
        "on the host or in its service machine: have the provider start it there",
        commands=("nvidia-smi -q | grep -A 2 Fabric",),
        where=Place.HOST,
    )


def reset_by_hypervisor() -> Fix:
    """Have a GPU reset that its last guest did not leave in order."""
    return Fix(
        summary="stop this virtual machine, start it again from outside (a restart from within "
        "resets no GPU that was passed through), and if that is not enough restart the host; of a "
        "cloud's machine: stop and start it, so that it comes up on another host",
        where=Place.HOST,
    )


def compute_in_a_guest(site: Site) -> Fix:
    """Have CUDA where the driver of a virtualisation host leaves it to the guests (NVIDIA Virtual
    GPU Software User Guide, "How NVIDIA vGPU Software Is Used")."""
    return on_host(
        site,
        "this driver is NVIDIA's Virtual GPU Manager, which has no CUDA of its own: run torch in a "
        "virtual machine that has a virtual GPU, or a GPU passed through; a host that is to "
        "compute itself needs the usual driver in its place",
        "nvidia-smi vgpu",
        safety=Safety.SAFE,
    )


def guest_driver(site: Site) -> Fix:
    """Install the driver that a part of a GPU needs (Azure, N-series driver setup for Linux)."""
    return on_host(
        site,
        "or, where the provider gives this virtual machine a part of a GPU (vGPU, NVads A10 of "
        "Azure): install the provider's GRID driver in place of the usual one",
    )


def license_vgpu(site: Site) -> Fix:
    """Give a virtual GPU its licence, or a profile with CUDA."""
    return on_host(
        site,
        "see whether this virtual GPU has its licence, and the guest driver of the host's vGPU "
        "release; CUDA needs a profile of type C or Q, and unified memory has to be allowed for it "
        "on the hypervisor",
        "nvidia-smi -q | grep -i -A 2 license",
        "sudo systemctl restart nvidia-gridd",
    )
