"""The stores of Nix and Guix, which nothing is installed into: what is in them is built anew.

Sources: the manuals of Nixpkgs (Python: `python3.withPackages`), of Nix (Profiles, `nix-store
--repair-path`), of NixOS (`/run/current-system/sw`, `/etc/profiles/per-user`), and of Guix
(`guix install`, `guix gc --verify`, Application Setup).
"""

from typing import Literal

from envdoctor.shell import command

Store = Literal["Nix", "Guix"]

_FOLDERS: tuple[tuple[str, Store], ...] = (
    ("/nix/store/", "Nix"),
    ("/nix/var/nix/profiles/", "Nix"),
    ("/.nix-profile/", "Nix"),
    ("/.local/state/nix/profile/", "Nix"),
    ("/etc/profiles/per-user/", "Nix"),
    ("/run/current-system/sw/", "Nix"),
    ("/gnu/store/", "Guix"),
    ("/var/guix/profiles/", "Guix"),
    ("/.guix-profile/", "Guix"),
    ("/.guix-home/profile/", "Guix"),
    ("/run/current-system/profile/", "Guix"),
)
"""A part of the paths of a store, and of profiles, whose files are links into it."""

_OF_GUIX = {"torch": "python-pytorch"}


def store_of(path: str) -> Store | None:
    """The store that a path is in, or leads to through a profile."""
    return next((store for part, store in _FOLDERS if part in f"{path}/"), None)


def made_with(store: Store, *names: str) -> str:
    """How packages come into an environment of a store."""
    if store == "Nix":
        listed = " ".join(f"ps.{name}" for name in names)
        return (
            "let the expression that makes this environment name what it needs, as "
            f"`python3.withPackages (ps: [ {listed} ])`, and build it again"
        )
    listed = " ".join(_OF_GUIX.get(name, f"python-{name}") for name in names)
    return (
        f"let Guix install it (`guix install {listed}`), or name it in the manifest that makes "
        "this environment"
    )


def repair_of(store: Store, path: str) -> str:
    """The line by which a store compares what a path leads to with its database, and fetches or
    builds it again."""
    if store == "Guix":
        return "sudo guix gc --verify=repair,contents"
    item = f'"$(readlink -f {command(path)} | cut -d/ -f1-4)"'
    return f"sudo nix-store --repair-path {item}"
