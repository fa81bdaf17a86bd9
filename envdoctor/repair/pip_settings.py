"""What a user told pip for all its commands, and how one command is spared from it.

Source: the manual of pip (Configuration): a variable outweighs every file, an empty one does not.
"""

from collections.abc import Iterator

from envdoctor.facts.python import PipOption, PipSetting
from envdoctor.repair.site import Site

_SWITCHES: tuple[PipOption, ...] = (
    "user",
    "require-virtualenv",
    "dry-run",
    "no-deps",
    "ignore-installed",
    "require-hashes",
)
"""By these pip refuses, does nothing or installs elsewhere; a variable switches each off."""

_ELSEWHERE: tuple[PipOption, ...] = (
    "python",
    "target",
    "prefix",
    "root",
    "index-url",
    "extra-index-url",
)
"""Where pip would install instead, or take another build of torch from; a command is run without
the variable, a line of a file has to go."""

_OF_EVERY_VERB: tuple[PipOption, ...] = ("require-virtualenv", "python")

_REMARKS: dict[PipOption, str] = {
    "no-index": "`{}` keeps pip from every index: the wheels have to lie in a folder that "
    "`--find-links` names",
    "constraint": "pip keeps to the constraints that `{}` names, which may forbid this version",
}


def spared(site: Site, verb: str) -> tuple[str, ...]:
    """The words before a command of pip by which no setting of the user's turns it elsewhere."""
    settings = [one for one in site.pip_settings if _concerns(site, verb, one)]
    unset = [
        word
        for one in settings
        if one.option in (*_ELSEWHERE, "constraint") and _is_variable(one)
        for word in ("-u", one.source)
    ]
    if safe_path_flag(site):
        unset += ["-u", "PYTHONPATH"]
    off = [_variable(one.option) + "=0" for one in settings if one.option in _SWITCHES]
    return ("env", *unset, *off) if unset or off else ()


def remarks(site: Site) -> Iterator[str]:
    """What no word before a command of pip can spare it from, each as a clause."""
    if site.hides_from_pip and not safe_path_flag(site):
        yield (
            f"pip would import `{site.hides_from_pip}`: run this in another folder and without "
            "PYTHONPATH"
        )
    for one in site.pip_settings:
        if one.option in _ELSEWHERE and not _is_variable(one):
            yield f"`{one.source}` sets `{one.option}`: take that line out first"
        elif one.option == "constraint" and _is_variable(one):
            yield f"the constraints that `{one.source}` names are left aside for this"
        elif one.option in _REMARKS:
            yield _REMARKS[one.option].format(one.source)


def safe_path_flag(site: Site) -> tuple[str, ...]:
    """The flag by which pip does not look for its modules in the current folder (Python 3.11)."""
    return ("-P",) if site.hides_from_pip and _has_safe_path(site) else ()


def _has_safe_path(site: Site) -> bool:
    return site.python is not None and tuple(map(int, site.python.split("."))) >= (3, 11)


def _concerns(site: Site, verb: str, setting: PipSetting) -> bool:
    if setting.option == "require-virtualenv":
        known = site.prefix is not None and site.base_prefix is not None
        return not known or site.prefix == site.base_prefix
    return verb == "install" or setting.option in _OF_EVERY_VERB


def _is_variable(setting: PipSetting) -> bool:
    return setting.source == _variable(setting.option)


def _variable(option: PipOption) -> str:
    return f"PIP_{option.upper().replace('-', '_')}"
