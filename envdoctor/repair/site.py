"""Where a repair is done: the target, its installer, the operating system, the container."""

import re
from typing import Literal

from envdoctor.facts.base import Fact
from envdoctor.facts.machine import Container, Environment, Host
from envdoctor.facts.python import Installer, Interpreter, PipSetting, Target
from envdoctor.plugins import derive

OsFamily = Literal[
    "debian",
    "ubuntu",
    "fedora",
    "fedora-atomic",
    "universal-blue",
    "rhel",
    "suse",
    "suse-atomic",
    "arch",
    "nixos",
    "guix",
    "gentoo",
    "void",
    "flatcar",
    "unraid",
    "alpine",
    "macos",
    "windows",
    "other",
]

_MEMBERS: dict[OsFamily, str] = {
    "debian": "debian raspbian kali devuan parrot pureos mx deepin",
    "ubuntu": "ubuntu pop linuxmint elementary zorin neon tuxedo rhino",
    "fedora": "fedora nobara ultramarine",
    "universal-blue": "bazzite bluefin aurora ucore",
    "rhel": "rhel centos rocky almalinux ol amzn scientific cloudlinux miraclelinux virtuozzo "
    "openEuler anolis alinux opencloudos tencentos kylin",
    "suse": "opensuse-leap opensuse-tumbleweed opensuse-slowroll sles sled sle_hpc",
    "suse-atomic": "opensuse-microos opensuse-aeon opensuse-kalpa opensuse-leap-micro sle-micro "
    "sl-micro",
    "arch": "arch manjaro endeavouros cachyos garuda artix arcolinux blendos",
    "nixos": "nixos",
    "guix": "guix",
    "gentoo": "gentoo",
    "void": "void",
    "flatcar": "flatcar",
    "alpine": "alpine",
    "macos": "darwin",
    "windows": "windows",
}
_FAMILIES: dict[str, OsFamily] = {
    member: family for family, members in _MEMBERS.items() for member in members.split()
}
"""The family by the ID of os-release."""


class Site(Fact):
    """Where a repair is done.

    `target` is the interpreter, `installer` what manages its packages; `prefix`, `base_prefix`,
    `user_site` and `python` ("3.11") are the interpreter's own, null where it could not be asked.
    `externally_managed` says that the system forbids others to install into it (PEP 668).
    `read_only` says that its packages lie on a file system that is mounted read-only, `without_pip`
    that no pip is installed in it; `damaged_pip` is the folder of one that lacks parts. `container`
    is its kind, `none` outside of one; `wsl` says that the driver is that of Windows, `virtual`
    that this is a virtual machine; `service` is who runs the container for others.
    """

    target: str = "python3"
    installer: Installer | None = None
    python: str | None = None
    prefix: str | None = None
    base_prefix: str | None = None
    user_site: str | None = None
    externally_managed: bool = False
    read_only: bool = False
    without_pip: bool = False
    damaged_pip: str | None = None
    os_family: OsFamily = "other"
    kernel: str | None = None
    machine: str | None = None
    container: str = "none"
    wsl: bool = False
    virtual: bool = False
    service: str = ""

    @property
    def contained(self) -> bool:
        """Whether what belongs to the host (driver, kernel, device nodes) is out of reach."""
        return self.container != "none"

    @property
    def gvisor(self) -> bool:
        """Whether the kernel is gVisor, which calls itself Linux 4.4.0 (pkg/sentry/syscalls); one
        of a distribution has more behind that."""
        kernel = self.kernel or ""
        return self.contained and (kernel in ("4.4", "4.4.0") or "gvisor" in kernel)

    @property
    def jetson(self) -> bool:
        """Whether the kernel is one of NVIDIA's Tegra boards."""
        return (self.kernel or "").endswith("tegra")

    @property
    def manager(self) -> str:
        """The name of what manages the packages; `uv-project` where uv keeps them as uv.lock says.

        uv takes the environment `.venv` of a project for its own, and no other.
        """
        name = self.installer.name if self.installer else "pip"
        own = self.project is not None and self.target.startswith(f"{self.project}/.venv/")
        return "uv-project" if name == "uv" and own else name

    @property
    def pip_settings(self) -> tuple[PipSetting, ...]:
        """What pip is told for every command."""
        return self.installer.pip_settings if self.installer else ()

    @property
    def hides_from_pip(self) -> str | None:
        """A file that pip would import in place of a module of the standard library."""
        return self.installer.hides_from_pip if self.installer else None

    @property
    def project(self) -> str | None:
        """The folder of the project whose lock file decides what is installed, if it is known."""
        return project_of(self.installer)


def project_of(installer: Installer | None) -> str | None:
    """The folder of the project, by the lock file or the environment of pixi that was found."""
    if installer is None:
        return None
    folder, _, file = installer.evidence.rpartition("/")
    if file.endswith(".lock"):
        return folder
    before, dot_pixi, _ = installer.evidence.partition("/.pixi/")
    return before if dot_pixi else None


def is_externally_managed(interpreter: Interpreter | None) -> bool:
    """Whether the system forbids others to install (PEP 668).

    Its mark lies in the standard library, which a virtual environment shares with its base.
    """
    if interpreter is None or interpreter.prefix != interpreter.base_prefix:
        return False
    return interpreter.externally_managed


@derive(Site)
def site_of(
    target: Target | None,
    interpreter: Interpreter | None,
    installer: Installer | None,
    host: Host | None,
    container: Container | None,
    environment: Environment | None,
) -> Site:
    """The place of a repair, as far as it is known."""
    return Site(
        target=target.path if target else "python3",
        installer=installer,
        python=_python(interpreter, target),
        prefix=interpreter.prefix if interpreter else None,
        base_prefix=interpreter.base_prefix if interpreter else None,
        user_site=interpreter.user_site if interpreter else None,
        externally_managed=is_externally_managed(interpreter),
        read_only=interpreter is not None and interpreter.read_only,
        without_pip=interpreter is not None and not interpreter.has_pip,
        damaged_pip=interpreter.damaged_pip if interpreter else None,
        os_family=_family(host) if host else "other",
        kernel=host.kernel if host else None,
        machine=host.machine if host else None,
        container=container.kind if container else "none",
        wsl=container is not None and container.wsl is not None,
        virtual=host is not None and host.hypervisor is True,
        service=_service(container, interpreter, environment),
    )


_OF_COLAB = "/usr/lib64-nvidia"
"""On LD_LIBRARY_PATH of every runtime of Colab, with a GPU or without."""


def _service(
    container: Container | None, interpreter: Interpreter | None, environment: Environment | None
) -> str:
    """Who runs the container for others: as it was seen, or by a path that only they have."""
    if container is None or container.kind == "none":
        return ""
    if container.service:
        return container.service
    if environment and _OF_COLAB in environment.variables.get("LD_LIBRARY_PATH", "").split(":"):
        return "colab"
    if interpreter is None:
        return ""
    if interpreter.cwd.startswith("/kaggle/"):
        return "kaggle"
    return "databricks" if interpreter.executable.startswith("/databricks/") else ""


_ATOMIC = ("Silverblue", "Kinoite", "Sericea", "Onyx", "Atomic", "CoreOS", "Bazzite")
"""In the name of a Fedora whose system is one image, changed by rpm-ostree alone."""


def _family(host: Host) -> OsFamily:
    if host.os_id == "slackware" and (host.kernel or "").endswith("-Unraid"):
        return "unraid"
    family = _FAMILIES.get(host.os_id, "other")
    atomic = family == "fedora" and any(word in host.os for word in _ATOMIC)
    return "fedora-atomic" if atomic else family


def _python(interpreter: Interpreter | None, target: Target | None) -> str | None:
    """`3.11`, by the interpreter or, where it does not run, by the folder of its packages."""
    if interpreter is not None:
        return "{}.{}".format(*interpreter.version_info[:2])
    folders = target.site_packages if target else ()
    found = [match[1] for folder in folders if (match := _SITE_PACKAGES.search(folder))]
    return found[0] if len(set(found)) == 1 else None


_SITE_PACKAGES = re.compile(r"/python(3\.\d+)/site-packages$")
