"""Repairs of the driver's user-space libraries."""

import os
import re
from collections.abc import Iterable

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import OsFamily, Site
from envdoctor.repair.system.place import on_host
from envdoctor.shell import command, quote


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


def libraries_of_release(
    site: Site, release: str | None, libraries: str | None, *, stray: str | None = None
) -> tuple[Fix, ...]:
    """Bring the driver's user-space libraries to the release of the kernel module. `stray` is the
    one library of another release, where the others are of that one."""
    if site.container not in ("docker", "podman", "kubernetes"):
        if stray and not site.contained:
            return (_remove_stray(stray, release),)
        return (_libraries_of_release(site, release),)
    out = Fix(
        summary="where the image brings driver libraries of its own: take them out of the image "
        "(this command names their package), the container toolkit brings those of the host's "
        "release",
        commands=("dpkg -S libcuda.so.1 || rpm -q --whatprovides libcuda.so.1",),
        where=Place.IMAGE,
    )
    if stray:
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


def _remove_stray(path: str, release: str | None) -> Fix:
    """A restart loads the same module, and leaves the same library in front."""
    name = path.rpartition("/")[2].partition(".so")[0]
    return Fix(
        summary=f"remove `{path}`, which another installer left in front of the driver's own "
        f"{name}{f' of {release}' if release else ''}: by its package, which the second command "
        "names, or the file itself",
        commands=(
            f"ldconfig -p | grep {name}.so.1",
            f"dpkg -S {quote(path)} || rpm -qf {quote(path)}",
            "sudo ldconfig",
        ),
        safety=Safety.NEEDS_ROOT,
    )


_REMOVE_COMPAT: dict[OsFamily, str] = {
    "debian": "sudo apt-get remove 'cuda-compat-*'",
    "ubuntu": "sudo apt-get remove 'cuda-compat-*'",
    "fedora": "sudo dnf remove 'cuda-compat-*'",
    "rhel": "sudo dnf remove 'cuda-compat-*'",
    "suse": "sudo zypper remove 'cuda-compat-*'",
}
"""NVIDIA's packages put it into /usr/local/cuda-X.Y/compat (CUDA Compatibility guide)."""


def without_compat(site: Site, path: str) -> Fix:
    """Remove what the loader's cache leads to: the package, else the file or its folder's entry."""
    where = ", in the image" if site.contained else ""
    remove = _REMOVE_COMPAT.get(site.os_family) if path.startswith("/usr/local/cuda") else None
    commands: tuple[str, ...]
    if remove is not None:
        summary, commands = f"remove the package cuda-compat, which brings `{path}`", (remove,)
    else:
        folder = os.path.dirname(path)
        summary = (
            f"remove the package that owns `{path}` (the first command names it), or the line with "
            f"`{folder}` from the file that the second one names; then refresh the loader's cache"
        )
        file = quote(path)
        commands = (
            f"dpkg -S {file} || rpm -qf {file}",
            command("grep", "-rnF", folder, "/etc/ld.so.conf.d"),
        )
    return Fix(
        summary=f"{summary}{where}",
        commands=(*commands, "sudo ldconfig"),
        safety=Safety.NEEDS_ROOT,
        where=Place.IMAGE if site.contained else Place.HERE,
    )


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
    folder = folder_off_the_path(files)
    if folder:
        return Fix(
            summary=f"it lies in `{folder}`, where the loader does not look: show it that folder",
            commands=(
                f"echo {quote(folder)} | sudo tee /etc/ld.so.conf.d/nvidia.conf",
                "sudo ldconfig",
            ),
            safety=Safety.NEEDS_ROOT,
        )
    return _install_libcuda(site, release)


def open_libcuda(site: Site, file: str) -> Fix:
    """Let every user read the driver's library."""
    return Fix(
        summary="let every user read it: it was installed under a umask that lets root alone",
        commands=(
            f"ls -lL {quote(file)}",
            f'sudo chmod a+rx "$(readlink -f {quote(file)})"',
        ),
        safety=Safety.NEEDS_ROOT,
    )


_NOT_THE_DRIVERS = ("compat/", "/stubs/", "i386-linux-gnu", "/lib32/")
"""In the path of a libcuda that is not the one which this system's driver brings for torch."""

_OF_THE_LOADER = re.compile(r"(/usr)?/lib(64)?(/(x86_64|aarch64)-linux-gnu)?")
"""Folders in which the loader looks by itself: what it does not find there is a link that leads
nowhere, or not in its cache."""


def folder_off_the_path(files: Iterable[str]) -> str | None:
    """The folder of the driver's own libcuda where the loader does not look."""
    own = (one for one in files if not any(part in one for part in _NOT_THE_DRIVERS))
    folders = (one.rpartition("/")[0] for one in own)
    return next((one for one in folders if not _OF_THE_LOADER.fullmatch(one)), None)


def show_mounted_libcuda(site: Site, folder: str) -> Fix:
    """Let the loader of an image find the driver's libraries where a node mounts them."""
    where = "the pod's `env`" if site.container == "kubernetes" else "the container's environment"
    return Fix(
        summary=f"show the loader `{folder}`: set LD_LIBRARY_PATH in the image or in {where}, as "
        "NVIDIA's own images do",
        commands=(f'export LD_LIBRARY_PATH={quote(folder)}:"$LD_LIBRARY_PATH"',),
        safety=Safety.SAFE,
    )


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
