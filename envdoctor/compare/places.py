"""Paths of two machines that are the same place: each side's environment, home and folder."""

import re

from envdoctor.facts import Snapshot
from envdoctor.facts.python import Interpreter

_HOME = re.compile(r"(?<![\w./-])/(?:home|Users)/[^/:\s]+|(?<![\w./-])/root(?=[/:\s]|$)")
_COMMON = ("", "/", "/usr", "/usr/local")
"""Prefixes of the system's own Python: what lies below them is not of that Python alone."""

_UUID = re.compile(r"\b((?:GPU|MIG)-)[0-9a-fA-F]{8}[0-9a-fA-F-]*")
_STDLIB = re.compile(r"/python3\.\d+t?(?=/|$)")


class Places:
    """What stands in place of the paths that are a side's own."""

    def __init__(self, snapshot: Snapshot) -> None:
        interpreter = snapshot.value(Interpreter)
        self._own = sorted(_own(interpreter), key=lambda pair: -len(pair[0])) if interpreter else []

    def mapped(self, text: str) -> str:
        """The text with what every machine has in a place of its own under a common name."""
        for path, name in self._own:
            text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?=[/:\s]|$)", name, text)
        return _UUID.sub(r"\1*", _HOME.sub("~", text))

    def own(self, text: str) -> str:
        """The reverse: a text of another side, mapped there, with the places of this one."""
        for path, name in self._own:
            text = text.replace(name, path)
        return text

    def entry(self, path: str) -> str:
        """The same for one folder, of whatever Python 3."""
        return _STDLIB.sub("/python3", self.mapped(path)).rstrip("/")


def _own(interpreter: Interpreter) -> list[tuple[str, str]]:
    sites = [(path, "<site>") for path in interpreter.site_packages]
    user = [(interpreter.user_site, "<user site>")] if interpreter.user_site else []
    rest = [
        (interpreter.prefix, "<env>"),
        (interpreter.base_prefix, "<base>"),
        (interpreter.cwd, "<cwd>"),
        (interpreter.stdlib, "<stdlib>"),
    ]
    named = [*sites, *user, *rest]
    return [(path.rstrip("/"), name) for path, name in named if path.rstrip("/") not in _COMMON]
