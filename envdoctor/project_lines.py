"""The lines of the files that say what a project needs: where a finding can be pointed at."""

import os
from collections.abc import Mapping, Sequence

from envdoctor.formats import Line
from envdoctor.regular_files import only_regular

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


def lines_of_project(folder: str, root: str) -> Sequence[Line]:
    """The lines of the project's files in a folder that are there and can be read."""
    return [
        Line(os.path.relpath(os.path.join(folder, name), root), number, text)
        for name in FILES
        for number, text in enumerate(_lines(os.path.join(folder, name)), 1)
    ]


def root_of_project(folder: str, env: Mapping[str, str]) -> str:
    """The root of the project that a folder (without links) is part of; else the folder itself."""
    roots = (os.path.realpath(env[name]) for name in ROOTS if env.get(name))
    return next((root for root in roots if f"{folder}/".startswith(f"{root}/")), folder)


def _lines(path: str) -> Sequence[str]:
    try:
        with open(path, "rb", opener=only_regular) as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    # Not `splitlines`, which ends lines where no editor and no platform does.
    return text.removesuffix("\n").split("\n") if text else ()
