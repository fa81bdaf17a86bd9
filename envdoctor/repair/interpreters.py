"""Repairs of the interpreter itself: which one is meant, and an environment whose base is gone."""

import os
from collections.abc import Iterable

from envdoctor.findings import Fix, Safety
from envdoctor.repair.site import Site
from envdoctor.shell import command

_LINKS = ("python", "python3")


def other_target() -> Fix:
    """Name the interpreter that is meant."""
    return Fix(
        summary="name the interpreter, venv folder or conda prefix in which torch is used",
        commands=("envdoctor check --python PATH",),
        safety=Safety.SAFE,
    )


def open_to_all(python: str) -> Fix:
    """Bring the Python of a virtual environment to where other users may run it."""
    return Fix(
        summary=f"have the owner (root) open the folders that lead to `{python}`, or make the "
        "environment again with a Python that lies where all users may look (uv puts its own below "
        "the home of the user, but for UV_PYTHON_INSTALL_DIR); this shows which folder is closed",
        commands=(command("namei", "-l", "--", python),),
        safety=Safety.SAFE,
    )


def find_libpython(library: str) -> Fix:
    """Bring a Python together with the library in which most of it is."""
    return Fix(
        summary=f"install this Python again, or, where `{library}` is, name its folder to the "
        "loader by LD_LIBRARY_PATH or /etc/ld.so.conf.d",
        commands=(f"ldconfig -p | grep {command(library.split('.so', maxsplit=1)[0])}",),
        safety=Safety.SAFE,
    )


def try_in_target(python: str, code: str, *, summary: str) -> Fix:
    """Run a line of Python in the target, and see where it ends if that is a signal."""
    line = command(python, "-X", "faulthandler", "-c", code)
    return Fix(summary=summary, commands=(line,), safety=Safety.SAFE)


def see_where_it_hangs(python: str, code: str, *, after_s: int) -> Fix:
    """Run a line of Python in the target, and end it by a signal that prints where it stands;
    without an end this command would hang as well."""
    line = f"timeout -s ABRT {after_s} {command(python, '-X', 'faulthandler', '-c', code)}"
    summary = f"see where it hangs: after {after_s} s this prints file and line"
    return Fix(summary=summary, commands=(line,), safety=Safety.SAFE)


def try_without_site(python: str) -> Fix:
    """Start an interpreter that reads no .pth file and no sitecustomize."""
    line = command(python, "-S", "-c", "print('it starts')")
    return Fix(summary="see whether it starts without them", commands=(line,), safety=Safety.SAFE)


def find_path_file_of_another_encoding(folders: Iterable[str]) -> Fix:
    """Find the .pth files with bytes that are not UTF-8."""
    grep = "env LC_ALL=C.UTF-8 grep -Hnaxv '.*' {} +"
    return Fix(
        summary="save the .pth file that is not UTF-8 as UTF-8, or move it away; this shows which "
        "and its lines",
        commands=tuple(
            f"{command('find', one)} -maxdepth 1 -name '*.pth' -exec {grep}" for one in folders
        ),
        safety=Safety.SAFE,
    )


def new_environment(summary: str) -> Fix:
    """Make a virtual environment in the current folder, beside all others."""
    return Fix(summary=summary, commands=("python3 -m venv .venv",), safety=Safety.CHANGES_ENV)


def with_pyvenv_cfg_again(site: Site, base_python: str) -> tuple[Fix, ...]:
    """Let a virtual environment have its configuration again; nothing else in it is touched."""
    folder = os.path.dirname(os.path.dirname(site.target))
    return (
        Fix(
            summary="write its pyvenv.cfg again: its packages stay; add `--system-site-packages` "
            "if it used those of its base",
            commands=(command(base_python, "-m", "venv", "--upgrade", "--without-pip", folder),),
            safety=Safety.CHANGES_ENV,
        ),
    )


def with_base_again(site: Site) -> tuple[Fix, ...]:
    """Repair a virtual environment whose base Python is gone, the gentlest way first.

    `python -m venv --upgrade` leaves links that lead nowhere as they are: they have to go first.
    """
    folder = os.path.dirname(os.path.dirname(site.target))
    python = f"python{site.python}" if site.python else "python3"
    exactly = f"a Python {site.python}" if site.python else "a Python of the same minor version"
    links = (*_LINKS, python) if site.python else _LINKS
    keep = Fix(
        summary=f"install {exactly} again where it was, or point the environment to another "
        "one; its packages stay",
        commands=(
            command("rm", "-f", *(f"{folder}/bin/{name}" for name in links)),
            command(python, "-m", "venv", "--upgrade", "--without-pip", folder),
        ),
        safety=Safety.CHANGES_ENV,
    )
    anew = Fix(
        summary="or recreate the environment: this deletes every package in it, which have to be "
        "installed again",
        commands=(command(python, "-m", "venv", "--clear", folder),),
        safety=Safety.CHANGES_ENV,
    )
    return keep, anew
