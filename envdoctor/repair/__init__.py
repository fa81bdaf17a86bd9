"""The one writer of commands: for the packages of the target, and for the system around it."""

from envdoctor.repair.packages import install_command, prescribed, restore
from envdoctor.repair.site import Site, site_of

__all__ = ["Site", "install_command", "prescribed", "restore", "site_of"]
