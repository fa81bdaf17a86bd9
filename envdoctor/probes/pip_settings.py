"""What stands between a command of pip and what it has to do: the variables and files by which a
user gives it options, and files in the place of modules that it imports.

Source: the manual of pip (Configuration), which says where the files lie and what overrides what.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import get_args

from envdoctor.facts.python import PipOption, PipSetting
from envdoctor.probes.context import Context
from envdoctor.probes.files import read_text
from envdoctor.wheel_index import PYTORCH_INDEX

_WITH_VALUE = ("constraint", "extra-index-url", "index-url", "prefix", "python", "root", "target")
_OFF = ("0", "false", "no", "off", "n", "f")
_SECTIONS = ("global", "install")
_LINE = re.compile(r"([\w-]+)[ \t]*[=:](.*)")


def read_pip_settings(context: Context, prefix: str) -> tuple[PipSetting, ...]:
    """What is in force in that environment, of the options by which repairs can fail."""
    stated: dict[str, tuple[str, str]] = {}
    for file in _files(context, prefix):
        text = read_text(context.path(file)) if os.path.isabs(file) else None
        for name, value in _options(text or ""):
            stated[name] = (value, file)
    for option in get_args(PipOption):
        variable = f"PIP_{option.upper().replace('-', '_')}"
        if context.env.get(variable):
            stated[option] = (context.env[variable], variable)
    return tuple(
        PipSetting(option=option, source=stated[option][1])
        for option in get_args(PipOption)
        if option in stated and _matters(option, stated[option][0])
    )


def _files(context: Context, prefix: str) -> Iterator[str]:
    """The files that pip reads, the weakest first; none where it is pointed to the null device."""
    env: Mapping[str, str] = context.env
    own, home = env.get("PIP_CONFIG_FILE", ""), env.get("HOME", "")
    if own == os.devnull:
        return
    for folder in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield f"{folder}/pip/pip.conf"
    yield "/etc/pip.conf"
    yield f"{home}/.pip/pip.conf"
    yield f"{env.get('XDG_CONFIG_HOME') or f'{home}/.config'}/pip/pip.conf"
    yield f"{prefix}/pip.conf"
    if own:
        yield own


def _options(text: str) -> Iterator[tuple[str, str]]:
    """The options of a file in the form of configparser, as far as they are for installing."""
    section, name, values = "", "", list[str]()
    for line in (*text.splitlines(), "[]"):
        head = _LINE.match(line)
        if line[:1] in ("[", "") or head:
            if name and section in _SECTIONS:
                yield name, " ".join(values).strip()
            name = ""
        if line.startswith("["):
            section = line.strip().strip("[]")
        elif head:
            name, values = head[1].replace("_", "-").lower(), [head[2].strip()]
        elif line[:1].isspace() and name:
            values.append(line.strip())


def _matters(option: PipOption, value: str) -> bool:
    if option in ("index-url", "extra-index-url"):
        urls = value.split()
        return bool(urls) and all(url.startswith(f"{PYTORCH_INDEX}/") for url in urls)
    if option in _WITH_VALUE:
        return bool(value)
    return bool(value) and value.lower() not in _OFF


_IMPORTED = """
array ast asyncio base64 binascii bisect bz2 calendar cmd code collections colorsys compileall
concurrent configparser contextlib contextvars copy copyreg csv dataclasses datetime decimal dis
email enum fcntl filecmp fnmatch fractions functools getpass gettext glob grp gzip hashlib heapq
hmac html http importlib inspect ipaddress json keyword linecache locale logging lzma math
mimetypes mmap numbers opcode operator optparse pathlib pickle pip pkgutil platform pprint
py_compile pyexpat queue quopri random re reprlib runpy secrets select selectors shlex shutil
signal socket socketserver ssl string stringprep struct subprocess sysconfig tarfile tempfile
termios textwrap threading token tokenize tomllib traceback types typing unicodedata urllib uuid
warnings weakref xml xmlrpc zipfile zlib
"""
"""What `pip install` has imported of the standard library when it begins (pip 23.2 and 26.3), and
pip."""


def hidden_from_pip(context: Context) -> str | None:
    """The first file in the current folder or on PYTHONPATH that has the name of such a module."""
    python_path = context.env.get("PYTHONPATH", "").split(":")
    first = () if context.env.get("PYTHONSAFEPATH") else (context.cwd,)
    names = _IMPORTED.split()
    for folder in dict.fromkeys((*first, *(entry for entry in python_path if entry))):
        place = context.path(os.path.join(context.cwd, folder))
        for name in names:
            for file in (f"{name}.py", f"{name}/__init__.py"):
                if os.path.exists(f"{place}/{file}"):
                    return os.path.join(context.cwd, folder, file)
    return None
