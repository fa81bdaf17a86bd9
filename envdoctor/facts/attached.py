"""Facts about what stands between a machine and its GPUs: Thunderbolt, container devices."""

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = ["CdiSpec", "CdiSpecs", "RenderNodes", "Thunderbolt", "ThunderboltDevice"]


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
    engines prefer first. `podman` is the version of Podman by its package, null where there is no
    specification, no Podman, or a package manager that keeps no text."""

    items: tuple[CdiSpec, ...] = ()
    podman: str | None = None


class RenderNodes(Fact):
    """The device nodes by which ROCm and Intel's compute runtime reach a GPU: /dev/kfd, which is
    AMD's, and /dev/dri/renderD*, of which every GPU has one. `unusable` are those of them that this
    user may not open."""

    nodes: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()

    @property
    def all_closed(self) -> bool:
        """Whether there are GPUs here, and none that this user may compute on."""
        of_gpus = [node for node in self.nodes if node != _KFD]
        return bool(of_gpus) and all(node in self.unusable for node in of_gpus)

    @property
    def open_to_rocm(self) -> bool:
        """Whether the nodes that ROCm needs are here, and open to this user."""
        of_gpus = [node for node in self.nodes if node != _KFD]
        open_ones = [node for node in of_gpus if node not in self.unusable]
        return _KFD in self.nodes and not self.kfd_closed and bool(open_ones)

    @property
    def kfd_closed(self) -> bool:
        """Whether ROCm is shut out."""
        return _KFD in self.unusable


_KFD = "/dev/kfd"
