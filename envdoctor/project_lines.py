"""The lines of the files that say what a project needs: where a finding can be pointed at."""

import os
from collections.abc import Mapping, Sequence

from envdoctor.formats import Line
from envdoctor.regular import only_regular

FILES = (
    "pyproject.toml",
    "requirements.txt",
    "requirements.in",
    "requirements-dev.txt",
    "requirements/base.txt",
    "constraints.txt",
    "setup.cfg",
    "setup.py",
    "environment.yml",
    "environment.yaml",
    "pixi.toml",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "pixi.lock",
    "conda-lock.yml",
    "Dockerfile",
    "Containerfile",
)
"""In the order in which they are asked: what people write before what tools lock."""

ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")
"""Where GitHub and GitLab check a project out: paths are relative to that."""

_MOST_BYTES = 4 * 2**20


def lines_of_project(folder: str, env: Mapping[str, str]) -> Sequence[Line]:
    """The lines of the project's files in a folder that are there and can be read."""
    prefix = _below_root(folder, env)
    return [
        Line(os.path.join(prefix, name), number, text)
        for name in FILES
        for number, text in enumerate(_text(os.path.join(folder, name)).splitlines(), 1)
    ]


def _below_root(folder: str, env: Mapping[str, str]) -> str:
    """The folder, relative to the root of the project that it is part of."""
    here = os.path.realpath(folder)
    for root in (os.path.realpath(env[name]) for name in ROOTS if env.get(name)):
        if here.startswith(root + os.sep):
            return os.path.relpath(here, root)
    return ""


def _text(path: str) -> str:
    try:
        with open(path, "rb", opener=only_regular) as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
