"""Repairs of WSL, of Jetson boards, and of laptops with a GPU that is switched off or outside.

Sources: NVIDIA's CUDA on WSL User Guide; NVIDIA Jetson Linux release notes; boltctl(1);
Documentation/admin-guide/thunderbolt of Linux.
"""

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import Site
from envdoctor.repair.system.place import on_host

_IN_WSL = {
    "AMD": (
        "install AMD Software: Adrenalin Edition on Windows and, inside WSL, ROCm without a kernel "
        "driver, with the library that leads it to Windows: librocdxg from ROCm 7.2 on (with "
        "HSA_ENABLE_DXG_DETECTION=1), before that `amdgpu-install --usecase=wsl,rocm --no-dkms`",
        ("wsl.exe --update", "rocminfo | grep -i gfx"),
    ),
    "Intel": (
        "install Intel's graphics driver on Windows and, inside WSL, Level Zero with the compute "
        "runtime (libze1, libze-intel-gpu1)",
        ("wsl.exe --update", "sudo apt-get install libze1 libze-intel-gpu1"),
    ),
}


def gpu_for_wsl(version: int | None, vendor: str = "NVIDIA") -> tuple[Fix, ...]:
    """Let Windows show its GPU to WSL."""
    if version == 1:
        return (
            Fix(
                summary="turn this distribution into one of WSL 2, in a terminal of Windows",
                commands=("wsl.exe --list --verbose", "wsl.exe --set-version DISTRIBUTION 2"),
                where=Place.HOST,
            ),
        )
    if vendor in _IN_WSL:
        summary, commands = _IN_WSL[vendor]
        return (Fix(summary=summary, commands=commands, where=Place.HOST),)
    return (
        Fix(
            summary="install NVIDIA's driver on Windows, none inside WSL, and update WSL; "
            "`nvidia-smi` in a terminal of Windows has to list the GPU",
            commands=("wsl.exe --update", "wsl.exe --shutdown"),
            where=Place.HOST,
        ),
    )


def leave_tcc_of_windows() -> Fix:
    """Have Windows drive its GPUs in a way that WSL serves: one in TCC mode hides even the others
    (microsoft/WSL issues 11865, 12835 and 13027; Altair, Windows Driver Mode)."""
    return Fix(
        summary="if Windows drives a card for data centres or workstations in its mode TCC, which "
        "WSL does not serve (`nvidia-smi` there names TCC or WDDM): set every GPU to WDDM in a "
        "terminal of an administrator, and restart Windows",
        commands=("nvidia-smi -g 0 -dm 0",),
        where=Place.HOST,
    )


def update_toolkit_of_wsl() -> Fix:
    """Have the library brought in that drivers of Windows need from 555 on (NVIDIA Container
    Toolkit, issue 520)."""
    return Fix(
        summary="update what starts this container: Docker Desktop to 4.31 or later, or inside WSL "
        "the NVIDIA Container Toolkit to 1.14.4 or later, which brings in libnvdxgdmal.so.1 of "
        "Windows' driver; then start the container again",
        commands=("ls /usr/lib/wsl/lib /usr/lib/wsl/drivers/*/libnvdxgdmal.so.1",),
        where=Place.HOST,
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
            summary="take the Linux driver's libraries out of the image (this command names their "
            "package): Windows brings its own, mounted where the container is started with the GPU",
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
    if site.os_family == "nixos":
        return Fix(
            summary="show programs WSL's libraries: the loader of Nix reads no ld.so.conf; for all "
            "of them `wsl.useWindowsDriver = true;` of NixOS-WSL",
            commands=("export LD_LIBRARY_PATH=/usr/lib/wsl/lib",),
            safety=Safety.SAFE,
        )
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
    notes). Wheels: NVIDIA, "Installing PyTorch for Jetson Platform"; the one of JetPack 5 serves
    5.1 to 5.1.2 ("PyTorch for Jetson", NVIDIA's forum).
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


def authorize_thunderbolt(site: Site, name: str) -> Fix:
    """Let a Thunderbolt device in, for good."""
    return on_host(
        site,
        f"authorize `{name}` (`boltctl` lists its UUID), or let the firmware admit all "
        "Thunderbolt devices",
        "boltctl list",
        "boltctl enroll --policy auto UUID",
    )


_SWITCHES = (
    ("envycontrol", "sudo envycontrol -s hybrid"),
    ("supergfx", "supergfxctl --mode Hybrid"),
    ("system76", "sudo system76-power graphics hybrid"),
    ("prime", "sudo prime-select on-demand"),
)
"""What switches a laptop's GPUs, by a word of the file that it writes."""


def switch_gpu_on(site: Site, file: str) -> Fix:
    """Bring the NVIDIA GPU of a laptop back onto the bus."""
    known = next((line for word, line in _SWITCHES if word in file), None)
    return on_host(
        site,
        "switch the laptop to both GPUs with the tool that wrote that file, and restart; without "
        "the tool remove the file",
        known or "sudo envycontrol -s hybrid",
        "sudo reboot",
    )


def without_emulation(site: Site) -> Fix:
    """Run what is made for the CPU of a Mac, not for the one that macOS emulates."""
    run = f"{site.container} run --platform linux/arm64 IMAGE"
    return Fix(
        summary="macOS emulates this CPU on Apple silicon: take a Python, or an image, for arm64",
        commands=(run,) if site.container in ("docker", "podman") else (),
        where=Place.IMAGE if site.contained else Place.HERE,
    )
