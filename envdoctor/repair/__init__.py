"""The one writer of commands: for the packages of the target, its surroundings, and the system.

Each function is something that a repair means to do, and yields it as a Fix for a Site.
"""

from envdoctor.repair import compilers, doctor, interpreters, packages, surroundings, system
from envdoctor.repair.changes import Source, pytorch_source
from envdoctor.repair.packages import prescribed
from envdoctor.repair.site import Site, site_of

__all__ = [
    "Site",
    "Source",
    "compilers",
    "doctor",
    "interpreters",
    "packages",
    "prescribed",
    "pytorch_source",
    "site_of",
    "surroundings",
    "system",
]
