"""Repairs of what lies below torch: the driver, its kernel module, device nodes, containers, WSL.

What belongs to the host is never printed in a container as if it worked there: such a fix says
`on the host` and where it is done (`Fix.where`).
Sources: NVIDIA Driver Installation Guide; NVIDIA Container Toolkit documentation; RPM Fusion's page
on NVIDIA; the Debian and Arch wikis; NVIDIA's CUDA on WSL User Guide.
"""

from collections.abc import Iterable

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import OsFamily, Site
from envdoctor.shell import quote

_HOST = "on the host, not in this container: "


def on_host(site: Site, summary: str, *commands: str, safety: Safety = Safety.NEEDS_ROOT) -> Fix:
    """A repair of the machine itself, said to be one of the host where this is a container."""
    if not site.contained:
        return Fix(summary=summary, commands=commands, safety=safety)
    return Fix(summary=_HOST + summary, commands=commands, safety=Safety.MANUAL, where=Place.HOST)


def look_at_kernel_log(site: Site) -> Fix:
    """Read what the kernel says of the driver and of its GPUs."""
    return on_host(
        site,
        "read what the kernel says of the driver",
        "sudo dmesg | grep -iE 'nvidia|nvrm|xid' | tail -n 20",
    )


# --- the driver and its module ---

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
        return Fix(summary=f"make the system anew with the driver {_NIXOS_CONFIGURATION}")
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
        f"take the lines that name `nvidia` out of `{file}`, build the initramfs anew, restart",
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


def release_from_nouveau(site: Site) -> Fix:
    """Keep nouveau from taking the GPU."""
    if site.os_family == "nixos":
        return Fix(
            summary=f'blacklist nouveau: boot.blacklistedKernelModules = [ "nouveau" ]; and '
            f"enable the NVIDIA driver {_NIXOS_CONFIGURATION}"
        )
    if site.os_family == "fedora-atomic":
        return on_host(
            site,
            "nouveau holds the GPU: keep it from loading, and restart",
            "sudo rpm-ostree kargs --append=rd.driver.blacklist=nouveau,nova_core "
            "--append=modprobe.blacklist=nouveau,nova_core",
            "systemctl reboot",
        )
    rebuild = _INITRAMFS.get(site.os_family)
    return on_host(
        site,
        "nouveau holds the GPU: blacklist it, build the initramfs anew, restart",
        "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' | "
        "sudo tee /etc/modprobe.d/blacklist-nouveau.conf",
        *((rebuild,) if rebuild else ()),
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
    if site.os_family == "nixos":
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


def restart(site: Site, because: str) -> Fix:
    """Restart the machine."""
    return on_host(site, f"restart the machine: {because}", "sudo reboot")


def reset_gpu(site: Site, index: int) -> Fix:
    """Reset one GPU, as NVML numbers it; a virtual machine or a GPU of a display cannot."""
    return on_host(
        site,
        "end the processes on the GPU and reset it; where that is refused (a display uses it, or "
        "it is passed through), restart the machine",
        f"nvidia-smi -i {index} -q -d ECC,ROW_REMAPPER,PAGE_RETIREMENT",
        f"sudo nvidia-smi -i {index} --gpu-reset",
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


def connect_power() -> Fix:
    """Connect the power cables of a card."""
    return Fix(
        summary="switch the machine off and connect all power cables of the card, each to a "
        "connector of its own",
        where=Place.FIRMWARE,
    )


def more_address_space() -> Fix:
    """Let the firmware map all of a GPU's memory."""
    return Fix(
        summary="switch `Above 4G decoding` and `Resizable BAR` on in the firmware; in a virtual "
        "machine give it more MMIO space",
        where=Place.FIRMWARE,
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
        "load the module anew",
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


def fabric_manager(site: Site, release: str | None, *, fifth_nvlink: bool = False) -> Fix:
    """Install and start the fabric manager of the driver's own release; from NVLink 5 on (B200) it
    works with a subnet manager, NVLSM (NVIDIA Fabric Manager User Guide)."""
    branch = (release or "").partition(".")[0]
    install = {
        "ubuntu": f"sudo apt-get install nvidia-fabricmanager-{branch}",
        "debian": "sudo apt-get install nvidia-fabricmanager",
        "rhel": "sudo dnf install nvidia-fabricmanager",
        "fedora": "sudo dnf install nvidia-fabricmanager",
        "suse": "sudo zypper install nvidia-fabricmanager",
    }.get(site.os_family)
    of_release = f" of the driver's release {release}" if release else " of the driver's release"
    beside = ", and the subnet manager NVLSM that B200 and later need," if fifth_nvlink else ""
    if install and fifth_nvlink:
        install += " nvlsm"
    return on_host(
        site,
        f"install the fabric manager{of_release}{beside} where it is missing, and start its "
        "service",
        *((install,) if install else ()),
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


# --- containers and schedulers ---

_GIVE: dict[str, tuple[str, tuple[str, ...], Place]] = {
    "docker": (
        "start the container with the GPUs; the host needs the NVIDIA Container Toolkit",
        ("docker run --gpus all IMAGE",),
        Place.HOST,
    ),
    "podman": (
        "start the container with the GPUs by CDI; on the host the NVIDIA Container Toolkit writes "
        "the specification",
        (
            "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
            "podman run --device nvidia.com/gpu=all IMAGE",
        ),
        Place.HOST,
    ),
    "kubernetes": (
        "ask for a GPU in the pod: resources.limits `nvidia.com/gpu: 1` and, where the cluster has "
        "one, `runtimeClassName: nvidia`; the node needs NVIDIA's device plugin",
        (),
        Place.SCHEDULER,
    ),
    "apptainer": (
        "start it with --nv, which brings the driver's libraries and nodes in",
        ("apptainer exec --nv IMAGE.sif python train.py",),
        Place.HOST,
    ),
    "lxc": (
        "give the container the nodes /dev/nvidia* (lxc.mount.entry and the device cgroup) on the "
        "host, and install in it the driver's libraries of the host's release",
        (),
        Place.HOST,
    ),
}
_GIVE["singularity"] = _GIVE["apptainer"]
_GIVE["enroot"] = (
    "start it in a job that has GPUs, with NVIDIA_VISIBLE_DEVICES=all; enroot's hook needs "
    "libnvidia-container on the node",
    ("srun --gres=gpu:1 --container-image=IMAGE ...",),
    Place.SCHEDULER,
)


def remove_empty_libraries() -> Fix:
    """Take empty files of the driver out of an image."""
    return Fix(
        summary="build the image without the driver's empty files: an image that was made by "
        "`docker commit`, or while a runtime had mounted the driver, keeps the places of its files",
        commands=(
            "find /usr/lib /usr/lib64 -size 0 \\( -name 'libcuda*' -o -name 'libnvidia*' \\) "
            "-delete",
        ),
        where=Place.IMAGE,
    )


def give_gpus(site: Site) -> Fix:
    """Start this container, pod or job with GPUs, in the words of what started it."""
    if site.jetson and site.container == "docker":
        return Fix(
            summary="start the container with NVIDIA's runtime, which mounts the libraries of "
            "JetPack; the board needs the package nvidia-container",
            commands=("docker run --runtime nvidia IMAGE",),
            where=Place.HOST,
        )
    summary, commands, where = _GIVE.get(
        site.container,
        ("start this container with access to the host's GPUs", (), Place.HOST),
    )
    return Fix(summary=summary, commands=commands, where=where)


def give_amd_gpus(site: Site) -> Fix:
    """Start this container, pod or job with AMD's GPUs."""
    if site.container == "kubernetes":
        return Fix(
            summary="ask for a GPU in the pod: resources.limits `amd.com/gpu: 1`; the node needs "
            "AMD's device plugin",
            where=Place.SCHEDULER,
        )
    if site.container in ("apptainer", "singularity"):
        return Fix(
            summary="start it with --rocm, which brings AMD's nodes and libraries in",
            commands=("apptainer exec --rocm IMAGE.sif python train.py",),
            where=Place.HOST,
        )
    engine = "podman" if site.container == "podman" else "docker"
    return Fix(
        summary="start the container with AMD's device nodes, and in the groups that own them",
        commands=(
            f"{engine} run --device=/dev/kfd --device=/dev/dri --group-add video "
            "--security-opt seccomp=unconfined IMAGE",
        ),
        where=Place.HOST,
    )


def allow_compute(site: Site) -> Fix:
    """Let the container runtime bring in libcuda."""
    engine = {"podman": "podman", "docker": "docker"}.get(site.container)
    commands = (
        (f"{engine} run -e NVIDIA_DRIVER_CAPABILITIES=compute,utility ...",) if engine else ()
    )
    return Fix(
        summary="start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility, or set it so "
        "in the image",
        commands=commands,
        where=Place.HOST,
    )


def more_shared_memory(site: Site) -> Fix:
    """Start the container with more shared memory."""
    if site.container == "kubernetes":
        return Fix(
            summary="mount a volume `emptyDir: {medium: Memory}` at /dev/shm of the pod",
            where=Place.SCHEDULER,
        )
    engine = "podman" if site.container == "podman" else "docker"
    return Fix(
        summary="start the container with more",
        commands=(f"{engine} run --shm-size=8g IMAGE", f"{engine} run --ipc=host IMAGE"),
        where=Place.HOST,
    )


def start_anew(site: Site) -> Fix:
    """Make the container anew, so that it gets its devices again."""
    if site.container == "kubernetes":
        return Fix(
            summary="delete the pod, so that it is created anew; on the node, the driver of the "
            "cgroups `cgroupfs` or CDI keeps it from happening again",
            commands=("kubectl delete pod POD",),
            where=Place.SCHEDULER,
        )
    commands = {
        "docker": ("docker restart CONTAINER",),
        "podman": ("podman restart CONTAINER",),
    }.get(site.container, ())
    return Fix(
        summary="start the container anew from outside; CDI or the cgroup driver `cgroupfs` keeps "
        "it from happening again",
        commands=commands,
        where=Place.HOST,
    )


def ask_slurm(condition: str = "") -> Fix:
    """Let the scheduler give the job a GPU."""
    return Fix(
        summary=f"{condition}ask for a GPU, the device cgroup hides those of others",
        commands=("srun --gres=gpu:1 ...",),
        where=Place.SCHEDULER,
    )


_OF_LXC = Fix(
    summary="on the host, allow the nodes in the container's configuration and start it anew: one "
    "line `lxc.cgroup2.devices.allow = c MAJOR:* rwm` for each major number that `ls -l "
    "/dev/nvidia*` shows there; that of nvidia-uvm may change at a restart of the host",
    commands=("ls -l /dev/nvidia*",),
    where=Place.HOST,
)


def open_nodes(site: Site, *, in_slurm: bool = False) -> tuple[Fix, ...]:
    """Let this user open the device nodes."""
    if in_slurm:
        return (ask_slurm(),)
    if site.container == "lxc":
        return (_OF_LXC,)
    if site.container == "podman":
        label = Fix(
            summary="if SELinux refuses them: start the container without its label, or allow "
            "containers to use devices on the host",
            commands=(
                "podman run --security-opt=label=disable --device nvidia.com/gpu=all IMAGE",
                "sudo setsebool -P container_use_devices on",
            ),
            where=Place.HOST,
        )
        group = Fix(
            summary="if a group owns them: keep your groups in the user namespace of the container",
            commands=("podman run --group-add keep-groups --device nvidia.com/gpu=all IMAGE",),
            where=Place.HOST,
        )
        return (
            (label, group)
            if site.os_family in ("fedora", "fedora-atomic", "rhel")
            else (group, label)
        )
    if site.container == "kubernetes":
        group = Fix(
            summary="if a group owns them: let the pod be in it, securityContext: "
            "`supplementalGroups: [GID]` with the number that `ls -ln` shows",
            commands=("ls -ln /dev/nvidia0",),
            where=Place.SCHEDULER,
        )
        return group, give_gpus(site)
    if site.container == "docker":
        group = Fix(
            summary="if a group owns them and the container has a user of its own: be in that "
            "group, by the number that `ls -ln` shows",
            commands=("ls -ln /dev/nvidia0", "docker run --gpus all --group-add GID IMAGE"),
            where=Place.HOST,
        )
        return group, give_gpus(site)
    if site.contained:
        return (give_gpus(site),)
    return (
        Fix(
            summary="join the group that owns the nodes, and log in again",
            commands=("ls -l /dev/nvidia*", 'sudo usermod -aG video,render "$USER"'),
            safety=Safety.NEEDS_ROOT,
        ),
    )


def libraries_of_release(
    site: Site, release: str | None, libraries: str | None, *, of_image: bool = False
) -> tuple[Fix, ...]:
    """Bring the driver's user-space libraries to the release of the kernel module. `of_image` says
    that others that the container toolkit brings in are of that release."""
    if site.container not in ("docker", "podman", "kubernetes"):
        return (_libraries_of_release(site, release),)
    out = Fix(
        summary="where the image brings driver libraries of its own: take them out of the image, "
        "the container toolkit brings those of the host's release",
        commands=("dpkg -S libcuda.so.1 || rpm -q --whatprovides libcuda.so.1",),
        where=Place.IMAGE,
    )
    if of_image:
        return (out,)
    anew = on_host(
        site,
        "where they are the host's own, which the container toolkit brings in: its packages were "
        "updated under the loaded module, so restart the host, and then this container",
        "cat /proc/driver/nvidia/version",
        "sudo reboot",
    )
    branch = (release or "").partition(".")[0]
    updated = bool(branch) and (libraries or "").partition(".")[0] == branch
    return (anew, out) if updated else (out, anew)


def _libraries_of_release(site: Site, release: str | None) -> Fix:
    if site.contained:
        machine = site.machine or "x86_64"
        installer = f"NVIDIA-Linux-{machine}-{release}.run" if release else "the driver's installer"
        return Fix(
            summary=f"install in this container the driver's libraries of the host's release"
            f"{f' {release}' if release else ''}, without a kernel module",
            commands=(f"sudo sh {installer} --no-kernel-modules",) if release else (),
            safety=Safety.NEEDS_ROOT,
        )
    return Fix(
        summary="restart the machine, or load the module of the installed release",
        commands=(
            "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia",
            "sudo modprobe nvidia",
        ),
        safety=Safety.NEEDS_ROOT,
    )


def show_libcuda(site: Site, release: str | None, files: Iterable[str]) -> Fix:
    """Let the loader find the driver's user-space library: where it is, or by installing it."""
    if site.os_family == "nixos":
        return Fix(
            summary="NixOS keeps it in /run/opengl-driver/lib, where programs that are not of its "
            "store do not look: show them that folder, in the shell or by nix-ld",
            commands=("export LD_LIBRARY_PATH=/run/opengl-driver/lib",),
            safety=Safety.SAFE,
        )
    own = [one for one in files if not any(part in one for part in _NOT_THE_DRIVERS)]
    if own:
        folder = own[0].rpartition("/")[0]
        return Fix(
            summary=f"it lies in `{folder}`, where the loader does not look: show it that folder",
            commands=(
                f"echo {quote(folder)} | sudo tee /etc/ld.so.conf.d/nvidia.conf",
                "sudo ldconfig",
            ),
            safety=Safety.NEEDS_ROOT,
        )
    return _install_libcuda(site, release)


_NOT_THE_DRIVERS = ("/compat/", "/stubs/", "i386-linux-gnu", "/lib32/")
"""In the path of a libcuda that is not the one which this system's driver brings for torch."""


def _install_libcuda(site: Site, release: str | None) -> Fix:
    """Install the driver's user-space library, of the release of the loaded module."""
    branch = (release or "").partition(".")[0]
    package = {
        "ubuntu": f"sudo apt-get install libnvidia-compute-{branch}",
        "debian": "sudo apt-get install libcuda1",
        "fedora": "sudo dnf install xorg-x11-drv-nvidia-cuda-libs",
        "fedora-atomic": "sudo rpm-ostree install xorg-x11-drv-nvidia-cuda-libs",
        "rhel": "sudo dnf install nvidia-driver-cuda-libs",
        "suse": "sudo zypper install nvidia-compute-G06",
        "arch": "sudo pacman -S nvidia-utils",
    }.get(site.os_family)
    return Fix(
        summary="install the library of the same release as the driver"
        f"{f', {release}' if release else ''}, and refresh the loader's cache",
        commands=(*((package,) if package else ()), "sudo ldconfig"),
        safety=Safety.NEEDS_ROOT,
    )


# --- WSL and Jetson ---


def gpu_for_wsl(version: int | None) -> tuple[Fix, ...]:
    """Let Windows show its GPU to WSL."""
    if version == 1:
        return (
            Fix(
                summary="turn this distribution into one of WSL 2, in a terminal of Windows",
                commands=("wsl.exe --list --verbose", "wsl.exe --set-version DISTRIBUTION 2"),
                where=Place.HOST,
            ),
        )
    return (
        Fix(
            summary="install NVIDIA's driver on Windows, none inside WSL, and update WSL; "
            "`nvidia-smi` in a terminal of Windows has to list the GPU",
            commands=("wsl.exe --update", "wsl.exe --shutdown"),
            where=Place.HOST,
        ),
    )


def update_wsl(site: Site) -> Fix:
    """Update the kernel of WSL, from Windows."""
    return Fix(
        summary="update WSL's kernel, in a terminal of Windows",
        commands=("wsl.exe --update", "wsl.exe --shutdown"),
        where=Place.HOST,
    )


def remove_driver_inside_wsl(site: Site) -> Fix:
    """Take a Linux driver out of WSL."""
    if site.contained:
        return Fix(
            summary="take the Linux driver's libraries out of the image: Windows brings its own, "
            "which `--gpus all` mounts",
            commands=("dpkg -S libcuda.so.1",),
            where=Place.IMAGE,
        )
    packages = {
        "ubuntu": "sudo apt-get purge '^nvidia-.*' '^libnvidia-.*'",
        "debian": "sudo apt-get purge '^nvidia-.*' '^libnvidia-.*' libcuda1",
    }.get(site.os_family)
    return Fix(
        summary="remove the Linux driver's libraries from WSL: Windows brings its own in "
        "/usr/lib/wsl/lib",
        commands=(*((packages,) if packages else ()), "sudo ldconfig"),
        safety=Safety.NEEDS_ROOT,
    )


def show_wsl_libraries(site: Site) -> Fix:
    """Let the loader find WSL's own libraries."""
    return Fix(
        summary="show WSL's libraries to the loader",
        commands=(
            "echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf",
            "sudo ldconfig",
        ),
        safety=Safety.NEEDS_ROOT,
    )


def torch_of_jetpack(site: Site) -> Fix:
    """The torch that NVIDIA builds for a Jetson; wheels for servers lack its code.

    JetPack 4 has Linux 4.9, 5 has 5.10, 6 has 5.15 and 7 has 6.8 (NVIDIA Jetson Linux release
    notes). Wheels: NVIDIA, "Installing PyTorch for Jetson Platform".
    """
    kernel = site.kernel or ""
    if kernel.startswith("4."):
        return Fix(
            summary="install NVIDIA's torch for JetPack 4 (torch 1.10 for Python 3.6, from the "
            'page "PyTorch for Jetson"), or write a newer JetPack onto the board',
            safety=Safety.MANUAL,
        )
    if kernel.startswith("5.10."):
        return Fix(
            summary="install NVIDIA's torch for JetPack 5 (CUDA 11.4), whose wheels are for "
            "Python 3.8, or use an l4t-pytorch container",
            commands=(
                "python3.8 -m pip install https://developer.download.nvidia.com/compute/redist/jp/"
                "v512/pytorch/torch-2.1.0a0+41361538.nv23.06-cp38-cp38-linux_aarch64.whl",
            ),
            safety=Safety.CHANGES_ENV,
        )
    if kernel.startswith("6."):
        return Fix(
            summary="install PyTorch's own build for CUDA 13, which serves JetPack 7",
            commands=(
                f"{site.target} -m pip install torch "
                "--index-url https://download.pytorch.org/whl/cu130",
            ),
            safety=Safety.CHANGES_ENV,
        )
    return Fix(
        summary="install the torch that is built for this Jetson's JetPack, from NVIDIA's index of "
        "JetPack wheels (below: JetPack 6 with CUDA 12.6), or use an l4t-pytorch container",
        commands=(
            f"{site.target} -m pip install torch "
            "--index-url https://pypi.jetson-ai-lab.io/jp6/cu126",
        ),
        safety=Safety.CHANGES_ENV,
    )
