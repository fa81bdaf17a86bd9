"""Facts about what stands between a machine and its GPUs: Thunderbolt, container devices."""

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = ["CdiSpec", "CdiSpecs", "Thunderbolt", "ThunderboltDevice"]


class ThunderboltDevice(Record):
    """A device on Thunderbolt or USB4, as it calls itself. The kernel shows what is behind it on
    the PCI bus only once it is authorized."""

    name: str
    authorized: bool


class Thunderbolt(Fact):
    """The devices that hang on Thunderbolt or USB4, without the machine itself."""

    devices: tuple[ThunderboltDevice, ...] = ()


class CdiSpec(Record):
    """A specification by which container engines give NVIDIA's GPUs to a container.

    `version` is that of the format, `release` the driver whose libraries it names; null where the
    file does not say.
    """

    path: str
    version: str | None = None
    release: str | None = None


class CdiSpecs(Fact):
    """The specifications of the Container Device Interface for `nvidia.com/gpu`, the one that
    engines prefer first."""

    items: tuple[CdiSpec, ...] = ()
