"""Repairs of what compiles code for torch: compilers, headers, ninja, and their folders."""

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.managers import conda_install
from envdoctor.repair.packages import install
from envdoctor.repair.site import OsFamily, Site
from envdoctor.shell import command
from envdoctor.stores import store_of

_CXX: dict[OsFamily, str] = {
    "debian": "sudo apt-get install g++",
    "ubuntu": "sudo apt-get install g++",
    "fedora": "sudo dnf install gcc-c++",
    "rhel": "sudo dnf install gcc-c++",
    "suse": "sudo zypper install gcc-c++",
    "arch": "sudo pacman -S gcc",
    "alpine": "sudo apk add g++",
}
"""How the families of systems call GNU's C++ compiler, which brings the C compiler."""


def cxx_compiler(site: Site) -> Fix:
    """Install a C++ compiler, into the environment where conda manages it."""
    summary = "install a C++ compiler; CXX names one that is not on PATH"
    if _is_of_conda(site):
        return _by_conda(site, summary, "gxx")
    return _by_system(site, summary, _CXX.get(site.os_family, ""))


_OF_ANOTHER_MINOR: dict[OsFamily, str] = {
    "debian": "sudo apt-get install python{version}-dev",
    "ubuntu": "sudo apt-get install python{version}-dev",
    "fedora": "sudo dnf install python{version}-devel",
    "rhel": "sudo dnf install python{version}-devel",
    "suse": "sudo zypper install python{digits}-devel",
    "arch": "sudo pacman -S python",
    "alpine": "sudo apk add python3-dev",
}
"""The package with Python.h of a minor version (`3.11`, in digits `311`)."""

_OF_THE_SYSTEM: dict[OsFamily, str] = {
    **_OF_ANOTHER_MINOR,
    "fedora": "sudo dnf install python3-devel",
    "rhel": "sudo dnf install python3-devel",
}
"""The same where the minor version is not known."""


def python_headers(site: Site) -> Fix:
    """Bring Python.h of the target's Python, as that Python came."""
    base, version = site.base_prefix or "", site.python
    if _is_of_conda(site):
        line = command("conda", "install", "--yes", "--force-reinstall", "--prefix", base, "python")
        summary = "let conda install this Python again, whose headers come with it"
        return Fix(summary=summary, commands=(line,), safety=Safety.CHANGES_ENV)
    if "/uv/python/" in base and version:
        return Fix(
            summary="let uv install this Python again, whose headers come with it",
            commands=(command("uv", "python", "install", "--reinstall", version),),
            safety=Safety.CHANGES_ENV,
        )
    if base != "/usr":
        folder = f" into `{base}`" if base else ""
        return Fix(
            summary=f"install this Python again{folder} with its headers, as it was installed",
            where=_place(site),
        )
    table = _OF_ANOTHER_MINOR if version else _OF_THE_SYSTEM
    line = table.get(site.os_family, "").format(
        version=version or "3", digits=(version or "3").replace(".", "")
    )
    return _by_system(site, "install the headers of this Python", line)


def ninja(site: Site, *, is_installed: bool) -> Fix:
    """Install ninja into the target, or let it be found there."""
    if not is_installed:
        return install(site, "ninja", summary="install ninja, which runs the compilers")
    folder = command(f"{site.prefix}/bin")
    return Fix(
        summary="ninja is installed, and its folder is not on PATH: activate the environment, or "
        "put the folder there",
        commands=(f"export PATH={folder}:$PATH",) if site.prefix else (),
        safety=Safety.SAFE,
    )


_TOOLKIT_OF_CONDA = "cuda-toolkit"


def cuda_toolkit(site: Site, cuda: str | None) -> Fix:
    """Install a CUDA toolkit, with nvcc, of the CUDA that torch is built with."""
    of = f" of CUDA {cuda}" if cuda else ""
    summary = f"install a toolkit{of} with nvcc, and point CUDA_HOME at its folder"
    if _is_of_conda(site):
        wanted = f"{_TOOLKIT_OF_CONDA}={cuda}" if cuda else _TOOLKIT_OF_CONDA
        return _by_conda(site, summary, wanted)
    return Fix(
        summary=f"{summary}; the driver stays as it is "
        "(https://developer.nvidia.com/cuda-toolkit-archive)",
        where=_place(site),
    )


def link_cudart(site: Site) -> Fix:
    """Let the linker find the CUDA runtime of the toolkit."""
    return Fix(
        summary="let the linker look into the folder of the toolkit that holds libcudart.so: "
        "CUDA_HOME has to be that of a whole toolkit, not of a part of it",
        commands=(
            'find -L "${CUDA_HOME:-/usr/local/cuda}" -name "libcudart.so*"',
            'export LIBRARY_PATH="${CUDA_HOME:-/usr/local/cuda}/lib64:$LIBRARY_PATH"',
        ),
        safety=Safety.SAFE,
        where=_place(site),
    )


def show_libcuda_to_triton() -> Fix:
    """Name the folder of libcuda to triton, which otherwise asks ldconfig."""
    return Fix(
        summary="name triton the folder that holds libcuda.so.1; this finds it",
        commands=(
            "find /usr /run/opengl-driver -name 'libcuda.so*' 2>/dev/null",
            'export TRITON_LIBCUDA_PATH="$(dirname "$(find /usr /run/opengl-driver -name '
            'libcuda.so.1 2>/dev/null | head -n 1)")"',
        ),
        safety=Safety.SAFE,
    )


def another_folder(variable: str, folder: str | None) -> Fix:
    """Let a compiler keep its files elsewhere than in a folder that does not serve."""
    at_home = folder is not None and folder.startswith(("/home/", "/root/"))
    other = '"/var/tmp/torch-$(id -u)"' if at_home else '"$HOME/.cache/torch-compiled"'
    return Fix(
        summary="let the compiled code lie in a folder that can be written to and executed from",
        commands=(f"mkdir -p {other}", f"export {variable}={other}"),
        safety=Safety.SAFE,
    )


def how_mounted(folder: str) -> Fix:
    """See how a file system is mounted, and what room it has."""
    return Fix(
        summary="see how the file system is mounted, and how full it is",
        commands=(
            command("findmnt", "--target", folder),
            command("df", "-h", folder),
            command("ls", "-ld", folder),
        ),
        safety=Safety.SAFE,
    )


def _is_of_conda(site: Site) -> bool:
    return site.installer is not None and site.installer.in_conda


def _by_conda(site: Site, summary: str, package: str) -> Fix:
    line = conda_install(site, "conda-forge", package)
    return Fix(summary=summary, commands=(line,), safety=Safety.CHANGES_ENV)


def _by_system(site: Site, summary: str, line: str) -> Fix:
    store = store_of(site.prefix or site.target)
    if store:
        return Fix(summary=f"{summary}: let the expression that makes this environment name it")
    return Fix(
        summary=summary,
        commands=(line,) if line else (),
        safety=Safety.NEEDS_ROOT if line else Safety.MANUAL,
        where=_place(site),
    )


def _place(site: Site) -> Place:
    return Place.IMAGE if site.contained else Place.HERE
