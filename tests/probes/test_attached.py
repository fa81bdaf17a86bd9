"""Thunderbolt devices, CDI specifications and udev rules, from small trees of files."""

from pathlib import Path

import pytest

from envdoctor.api import CdiSpec, RenderNodes, ThunderboltDevice
from envdoctor.probes.attached import read_cdi_specs, read_render_nodes, read_thunderbolt
from envdoctor.probes.context import Context, context_of
from envdoctor.probes.kernel_modules import read_kernel_modules
from envdoctor.probes.run import Children


class Root:
    """The files of a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def context(self) -> Context:
        return context_of(Children(), root=self.folder, env={}, cwd="/")

    def file(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


# --- Thunderbolt ---


def test_devices_and_whether_they_are_let_in(root: Root) -> None:
    for name, authorized in (("0-0", "1"), ("0-1", "1"), ("0-301", "0"), ("1-3", "2")):
        folder = f"sys/bus/thunderbolt/devices/{name}"
        root.file(f"{folder}/authorized", f"{authorized}\n")
        root.file(f"{folder}/vendor_name", "Razer\n")
        root.file(f"{folder}/device_name", f"Core {name}\n")
    root.file("sys/bus/thunderbolt/devices/domain0/security", "user\n")
    root.file("sys/bus/thunderbolt/devices/0-0:1.1/nvm_version", "1\n")
    assert read_thunderbolt(root.context).devices == (
        ThunderboltDevice(name="Razer Core 0-1", authorized=True),
        ThunderboltDevice(name="Razer Core 0-301", authorized=False),
        ThunderboltDevice(name="Razer Core 1-3", authorized=True),
    )


def test_a_machine_without_thunderbolt(root: Root) -> None:
    assert read_thunderbolt(root.context).devices == ()


def test_a_device_without_a_name_keeps_its_route(root: Root) -> None:
    root.file("sys/bus/thunderbolt/devices/0-1/authorized", "0\n")
    (one,) = read_thunderbolt(root.context).devices
    assert one == ThunderboltDevice(name="0-1", authorized=False)


# --- CDI ---

YAML = """\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: all
containerEdits:
  mounts:
  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{release}
    containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{release}
"""


def test_what_engines_prefer_comes_first(root: Root) -> None:
    root.file("etc/cdi/nvidia.yaml", YAML.format(release="535.54.03"))
    root.file("run/cdi/nvidia.yaml", YAML.format(release="580.95.05"))
    (root.folder / "var").mkdir()
    (root.folder / "var/run").symlink_to("/run")
    items = read_cdi_specs(root.context).items
    assert [(one.path, one.release, one.version) for one in items] == [
        ("/run/cdi/nvidia.yaml", "580.95.05", "0.5.0"),
        ("/etc/cdi/nvidia.yaml", "535.54.03", "0.5.0"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "nvidia.json",
            '{"cdiVersion":"0.6.0","kind":"nvidia.com/gpu","x":"/lib64/libcuda.so.570.86.10"}',
            CdiSpec(path="/etc/cdi/nvidia.json", version="0.6.0", release="570.86.10"),
        ),
        (
            "nvidia.yaml",
            'cdiVersion: "0.3.0"\nkind: "nvidia.com/gpu"\nhostPath: /usr/lib/libcuda.so.1\n',
            CdiSpec(path="/etc/cdi/nvidia.yaml", version="0.3.0"),
        ),
        ("nvidia.yaml", "kind: nvidia.com/gpu\n", CdiSpec(path="/etc/cdi/nvidia.yaml")),
        ("amd.json", '{"cdiVersion":"0.6.0","kind":"amd.com/gpu"}', None),
        ("mofed.yaml", "cdiVersion: 0.5.0\nkind: nvidia.com/gpudirect\n", None),
        ("nvidia.yaml", "", None),
        ("nvidia.yaml", "\0\0garbage", None),
    ],
)
def test_a_specification(root: Root, name: str, text: str, expected: CdiSpec | None) -> None:
    root.file(f"etc/cdi/{name}", text)
    assert read_cdi_specs(root.context).items == ((expected,) if expected else ())


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("lib/dpkg/status", "Package: a\nVersion: 1\n\n{}\nVersion: 4.9.3+ds1-1\n\n", "4.9.3"),
        ("lib/dpkg/status", "{}\nStatus: x\nVersion: 2:3.4.4\n\nPackage: b\n", "3.4.4"),
        ("lib/dpkg/status", "{}-docker\nVersion: 9.9\n", None),
        ("lib/pacman/local/podman-5.6.2-1/desc", "", "5.6.2"),
    ],
)
def test_the_podman_that_reads_a_specification(
    root: Root, name: str, text: str, version: str | None
) -> None:
    root.file(f"var/{name}", text.format("Package: podman"))
    assert read_cdi_specs(root.context).podman is None
    root.file("etc/cdi/nvidia.yaml", YAML.format(release="535.54.03"))
    assert read_cdi_specs(root.context).podman is None, "there is no Podman"
    root.file("usr/bin/podman", "")
    assert read_cdi_specs(root.context).podman == version


# --- udev ---

RULE = (
    'ACTION=="add", SUBSYSTEM=="pci", ATTR{vendor}=="0x10de", ATTR{class}=="0x03[0-9]*", '
    'ATTR{power/control}="auto", ATTR{remove}="1"\n'
)


@pytest.mark.parametrize(
    ("text", "removes"),
    [
        (RULE, True),
        (f"# {RULE}", False),
        (RULE.replace("0x03[0-9]*", "0x0c0330"), False),
        (RULE.replace("0x10de", "0x1002"), False),
        (RULE.replace(', ATTR{remove}="1"', ""), False),
        (RULE.replace(" ", ""), True),
        ("", False),
    ],
)
def test_a_rule_that_takes_the_gpu_off_the_bus(root: Root, text: str, removes: bool) -> None:
    root.file("proc/sys/kernel/osrelease", "6.8.0-60-generic\n")
    root.file("usr/lib/udev/rules.d/50-remove-nvidia.rules", text)
    wanted = "/usr/lib/udev/rules.d/50-remove-nvidia.rules" if removes else None
    assert read_kernel_modules(root.context).removed_by == wanted


# --- render nodes ---


def test_the_nodes_of_other_vendors(root: Root) -> None:
    assert read_render_nodes(root.context) == RenderNodes()
    for name in ("dri/card0", "dri/renderD129", "dri/renderD128", "dri/by-path", "kfd"):
        root.file(f"dev/{name}", "")
    nodes = ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129")
    assert read_render_nodes(root.context) == RenderNodes(nodes=nodes)


@pytest.mark.parametrize(
    ("unusable", "all_closed", "kfd_closed"),
    [
        ((), False, False),
        (("/dev/kfd",), False, True),
        (("/dev/dri/renderD128",), False, False),
        (("/dev/dri/renderD128", "/dev/dri/renderD129"), True, False),
    ],
)
def test_whom_closed_nodes_shut_out(
    unusable: tuple[str, ...], all_closed: bool, kfd_closed: bool
) -> None:
    nodes = ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129")
    found = RenderNodes(nodes=nodes, unusable=unusable)
    assert (found.all_closed, found.kfd_closed) == (all_closed, kfd_closed)
    assert not RenderNodes(unusable=unusable).all_closed
