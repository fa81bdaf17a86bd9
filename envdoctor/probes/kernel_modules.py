"""Whether the running kernel has an NVIDIA module, and what may keep it from loading it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from envdoctor.facts import Fact, Known, Observed
from envdoctor.facts.kernel import DkmsModule, KernelModules
from envdoctor.probes.context import Context
from envdoctor.probes.files import matching, read_text
from envdoctor.regular_files import only_regular

_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""Four bytes of attributes, then the value: 1 where Secure Boot is on (UEFI 2.10, 3.3;
Documentation/filesystems/efivarfs)."""

_MODULE_FOLDERS = ("lib/modules", "usr/lib/modules", "run/booted-system/kernel-modules/lib/modules")
"""The last is that of NixOS."""

_OUR_MODULE = r"nvidia(-(current|legacy|tesla)[\w-]*)?\.ko(\.(xz|zst|gz))?"
"""In modules.dep(5). Debian renames the module; nvidiafb, i2c-nvidia-gpu and the like are the
kernel's own and drive no GPU."""

_SIGNATURE = b"~Module signature appended~\n"
"""The end of a signed module (include/linux/module_signature.h)."""

_MOST_MODULES_DEP_BYTES = 4 << 20
"""modules.dep of a distribution's kernel has less than 1 MB."""

_MOST_KERNELS = 32
_MODPROBE_FOLDERS = (
    "etc/modprobe.d",
    "run/modprobe.d",
    "usr/local/lib/modprobe.d",
    "usr/lib/modprobe.d",
    "lib/modprobe.d",
)
_BLOCKED = (
    "blacklist nvidia",
    "alias nvidia off",
    r"install nvidia \S*/(false|true)",
)
"""modprobe.d(5); `prime-select intel` and the like write them."""


_UDEV_FOLDERS = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d")
_REMOVING = (r'ATTR\{vendor\}=="0x10de"', r'ATTR\{class\}=="0x03', r'ATTR\{remove\}="1"')
"""What envycontrol and others write into 50-remove-nvidia.rules for a laptop that is to run on its
other GPU (bayasdev/envycontrol)."""


def read_kernel_modules(context: Context) -> KernelModules:
    """What files say. Where the module is loaded nothing more has to be known of it."""
    root = context.root
    kernel = _running_kernel(context)
    state = KernelModules(
        kernel=kernel,
        secure_boot=_secure_boot(root),
        lockdown=_lockdown(read_text(root / "sys/kernel/security/lockdown") or ""),
        signatures_enforced=_signatures_enforced(root),
    )
    if kernel is None or os.path.exists(root / "sys/module/nvidia"):
        return state
    folder = _folder_of(root, kernel)
    files = None if folder is None else _own_modules(folder)
    return replace(
        state,
        files=None if files is None else tuple(map(context.name, files)),
        signed=_signed(files[0]) if files else None,
        other_kernels=() if files or folder is None else _others(folder),
        headers=None if folder is None else _has_headers(context, folder),
        dkms=tuple(_dkms(root)),
        build_log=_failed_build(context, kernel),
        blocked_by=_blocked_by(context),
        removed_by=_removed_by(context),
    )


def _running_kernel(context: Context) -> str | None:
    if context.is_live:
        return os.uname().release
    return (read_text(context.path("/proc/sys/kernel/osrelease")) or "").strip() or None


def _secure_boot(root: Path) -> bool | None:
    if not os.path.isdir(root / "sys/firmware/efi"):
        # Only firmware that is EFI has it; a root without sysfs says nothing.
        return False if os.path.isdir(root / "sys/firmware") else None
    try:
        with open(root / _SECURE_BOOT, "rb", opener=only_regular) as file:
            value = file.read(5)
    except OSError:
        return None
    return value[4] == 1 if len(value) == 5 else None


def _lockdown(text: str) -> Literal["none", "integrity", "confidentiality"] | None:
    """The mode in brackets: `none [integrity] confidentiality` (kernel_lockdown(7))."""
    if "[none]" in text:
        return "none"
    if "[integrity]" in text:
        return "integrity"
    return "confidentiality" if "[confidentiality]" in text else None


def _signatures_enforced(root: Path) -> bool | None:
    text = (read_text(root / "sys/module/module/parameters/sig_enforce") or "").strip()
    return {"Y": True, "N": False}.get(text)


def _folder_of(root: Path, kernel: str) -> Path | None:
    folders = (root / name / kernel for name in _MODULE_FOLDERS)
    return next((folder for folder in folders if os.path.isdir(folder)), None)


def _own_modules(folder: Path) -> list[Path] | None:
    """NVIDIA's modules in a kernel's folder; None where its list of modules cannot be read."""
    listed = read_text(folder / "modules.dep", _MOST_MODULES_DEP_BYTES)
    if listed is None:
        return None
    names = (line.partition(":")[0] for line in listed.split("\n") if "nvidia" in line)
    ours = (name for name in names if re.fullmatch(_OUR_MODULE, name.rpartition("/")[2]))
    return [folder / name.lstrip("/") for name in ours]


def _signed(module: Path) -> bool | None:
    if module.suffix != ".ko":
        return None
    try:
        with open(module, "rb", opener=only_regular) as file:
            file.seek(-len(_SIGNATURE), os.SEEK_END)
            return file.read() == _SIGNATURE
    except OSError:
        return None


def _others(folder: Path) -> tuple[str, ...]:
    kernels = sorted(one for one in folder.parent.iterdir() if one != folder)[:_MOST_KERNELS]
    return tuple(one.name for one in kernels if _own_modules(one))


def _has_headers(context: Context, folder: Path) -> bool:
    """The link `build` is there without them, and then leads nowhere."""
    build = folder / "build"
    if not os.path.islink(build):
        return os.path.isdir(build)
    return os.path.isdir(context.real_path(context.name(build)))


def _dkms(root: Path) -> Iterator[DkmsModule]:
    """dkms(8): /var/lib/dkms/NAME/RELEASE/KERNEL/MACHINE/module."""
    for source in sorted((root / "var/lib/dkms").glob("nvidia*/[0-9]*")):
        built = sorted(one.parent.parent.name for one in source.glob("*/*/module"))
        yield DkmsModule(release=source.name, kernels=tuple(built[:_MOST_KERNELS]))


def _failed_build(context: Context, kernel: str) -> str | None:
    """DKMS leaves the folder `build` only where a build failed; akmods names its log so."""
    failed = (
        *sorted(context.path("/var/lib/dkms").glob("nvidia*/[0-9]*/build/make.log")),
        *sorted(context.path("/var/cache/akmods/nvidia").glob(f"*{kernel}*.failed.log")),
    )
    return context.name(failed[-1]) if failed else None


def _blocked_by(context: Context) -> str | None:
    files = (
        file
        for folder in _MODPROBE_FOLDERS
        for file in sorted((context.root / folder).glob("*.conf"))
    )
    return next((context.name(file) for file in files if _forbids(read_text(file) or "")), None)


def _forbids(text: str) -> bool:
    lines = (" ".join(line.split()) for line in text.split("\n") if "nvidia" in line)
    return any(re.fullmatch(pattern, line) for line in lines for pattern in _BLOCKED)


def _removed_by(context: Context) -> str | None:
    files = (
        file
        for folder in _UDEV_FOLDERS
        for file in sorted(matching(context.path(folder), "*nvidia*.rules"))
    )
    return next((context.name(file) for file in files if _removes(read_text(file) or "")), None)


def _removes(text: str) -> bool:
    """Whether a rule removes display controllers of NVIDIA (class 03), and not only their sound or
    USB, whatever the order of its parts (udev(7))."""
    lines = (line.replace(" ", "") for line in text.split("\n") if not line.startswith("#"))
    return any(all(re.search(part, line) for part in _REMOVING) for line in lines)


def observe_kernel_modules(context: Context) -> dict[type[Fact], Known]:
    """The kernel and NVIDIA's module for it."""
    source = "/lib/modules, /sys/firmware/efi, /etc/modprobe.d, /etc/udev, /var/lib/dkms"
    return {KernelModules: Observed(value=read_kernel_modules(context), source=source)}
