"""Stages that ask an interpreter who it is (Python 3.8 or later, standard library only)."""

import os
import sys


def interpreter(child):
    (site,) = child.import_own_modules("site")
    return describe(child, site)


def describe(child, site):
    packages = child.attempt(site.getsitepackages)[0] or []
    user_site = child.attempt(site.getusersitepackages)[0]
    names = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalVM"}
    return {
        "executable": sys.executable,
        "version": sys.version.split()[0],
        "version_info": list(sys.version_info[:3]),
        "implementation": names.get(sys.implementation.name, sys.implementation.name),
        "soabi": soabi(),
        "machine": os.uname().machine,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "sys_path": list(sys.path),
        "site_packages": packages,
        "user_site": user_site,
        "user_site_enabled": bool(site.ENABLE_USER_SITE),
        "safe_path": bool(getattr(sys.flags, "safe_path", False)),
        "stdlib": child.stdlib,
        "cwd": child.attempt(os.getcwd)[0] or "",
        "conda_prefix": sys.prefix
        if os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
        else None,
        "externally_managed": os.path.exists(os.path.join(child.stdlib, "EXTERNALLY-MANAGED")),
        "read_only": any(bool(child.attempt(is_read_only, one)[0]) for one in packages[:1]),
        "has_pip": any(os.path.isdir(os.path.join(one, "pip")) for one in sys.path if one),
        "damaged_pip": next(filter(is_damaged_pip, packages), None),
        "has_ensurepip": os.path.isdir(os.path.join(child.stdlib, "ensurepip")),
        "closed": [one for one in sys.path if one and is_closed(one)]
        + [one for one in (os.path.join(p, "torch") for p in packages) if is_closed(one)],
        "aliases": list(aliases(packages)),
        "path_lines": list(path_lines([*packages, user_site or ""])),
        "glibc": child.attempt(os.confstr, "CS_GNU_LIBC_VERSION")[0],
    }


def is_damaged_pip(folder):
    """Whether a folder has a pip without parts of it, as an upgrade that was broken off leaves."""
    pip = os.path.join(folder, "pip")
    parts = ("__main__.py", "_internal", "_vendor")
    return os.path.isdir(pip) and not all(os.path.exists(os.path.join(pip, one)) for one in parts)


def is_closed(folder):
    """Whether a folder is there and this user may not look into it."""
    return os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK)


def aliases(packages):
    """The entries of the module path that are the folders of packages by another name."""
    own = {os.path.realpath(one) for one in packages}
    for one in sys.path:
        if one and one not in packages and os.path.realpath(one) in own:
            yield one


def is_read_only(folder):
    """Whether the file system of a folder is mounted read-only: root cannot write there either."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


MOST_LINES, LONGEST_LINE = 100, 300
"""Of a .pth file: one that lists more names no folder that anybody looks for."""


def path_lines(folders):
    """What the .pth files say, a line each: they add folders to the path, or execute code."""
    # In a venv of some systems lib64 is a link to lib, and both are on the path.
    for folder in {os.path.realpath(one): one for one in reversed(folders)}.values():
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".pth"))
        except OSError:
            continue
        for name in names:
            file = os.path.join(folder, name)
            try:
                with open(file, encoding="utf-8", errors="replace") as lines:
                    text = lines.read(MOST_LINES * LONGEST_LINE).split("\n")[:MOST_LINES]
            except OSError:
                continue
            for number, line in enumerate(text, 1):
                if line.strip() and not line.startswith("#"):
                    yield {"file": file, "number": number, "text": line[:LONGEST_LINE].strip()}


def soabi():
    """The tag of compiled modules, cpython-311-x86_64-linux-gnu, from the suffix that they have.

    The module sysconfig knows it too, and takes longer to import than all that is asked here.
    """
    import _imp

    suffixes = [suffix.split(".") for suffix in _imp.extension_suffixes()]
    return next((parts[1] for parts in suffixes if len(parts) == 3 and parts[1] != "abi3"), None)


def static_interpreter(child):
    """As `interpreter`, under -S: sites are added, no import line of a .pth file is executed."""
    (site,) = child.import_own_modules("site")
    site.addpackage = add_path_lines
    site.execsitecustomize = site.execusercustomize = lambda: None
    # The folder of a script, here the current one, comes before all that Python makes absolute.
    first = [""] if sys.path[:1] == [""] else []
    python_path = os.environ.pop("ENVDOCTOR_PYTHONPATH", "")
    added = python_path.split(os.pathsep) if python_path else []
    sys.path[:] = added + sys.path[len(first) :]
    site.main()
    sys.path[:0] = first
    return describe(child, site)


def add_path_lines(sitedir, name, known_paths):
    """What `site.addpackage` does with the lines of a .pth file that are paths."""
    try:
        with open(os.path.join(sitedir, name), encoding="utf-8", errors="surrogateescape") as lines:
            entries = [line.strip() for line in lines]
    except OSError:
        return known_paths
    for entry in entries:
        if not entry or entry.startswith(("#", "import ", "import\t")):
            continue
        path = os.path.abspath(os.path.join(sitedir, entry))
        if os.path.exists(path) and path not in sys.path:
            sys.path.append(path)
    return known_paths
