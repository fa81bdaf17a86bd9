"""What is done on the machine itself, and how that is said inside a container."""

from envdoctor.findings import Fix, Place, Safety
from envdoctor.repair.site import Site

_HOST = "on the host, not in this container: "


def on_host(site: Site, summary: str, *commands: str, safety: Safety = Safety.NEEDS_ROOT) -> Fix:
    """A repair of the machine itself, said to be one of the host where this is a container."""
    if not site.contained:
        return Fix(summary=summary, commands=commands, safety=safety)
    return Fix(summary=_HOST + summary, commands=commands, safety=Safety.MANUAL, where=Place.HOST)


def look_at_amds_kernel_log(site: Site) -> Fix:
    """Read what the kernel says of AMD's GPUs."""
    return on_host(
        site,
        "read what the kernel says of the GPU",
        "sudo dmesg | grep -iE 'amdgpu|kfd' | tail -n 20",
    )


def look_at_kernel_log(site: Site) -> Fix:
    """Read what the kernel says of the driver and of its GPUs."""
    return on_host(
        site,
        "read what the kernel says of the driver",
        "sudo dmesg | grep -iE 'nvidia|nvrm|xid' | tail -n 20",
    )
