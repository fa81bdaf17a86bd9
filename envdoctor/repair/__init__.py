"""The one writer of commands: for the packages of the target, and for the system around it."""

from envdoctor.repair import packages, system
from envdoctor.repair.packages import install_command, prescribed, restore
from envdoctor.repair.site import Site, site_of

__all__ = ["Site", "install_command", "packages", "prescribed", "restore", "site_of", "system"]
