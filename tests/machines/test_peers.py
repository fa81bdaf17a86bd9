"""GPUs that exchange data over PCIe behind an IOMMU or switches, and others."""

from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.api import (
    Collective,
    CollectiveSettings,
    Gpus,
    Host,
    JobRank,
    Network,
    Observed,
    PciDevice,
    PciGpus,
    Snapshot,
    Trial,
)
from envdoctor.report import Report
from tests.machines.test_network import LO, NDR, ONE_NODE, TWO_NODES
from tests.machines.test_variables import GEFORCE, with_gpus
from tests.support.diagnosis import report_on

PCIE, SXM = "NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"
BEHIND = ("0000:00:01.0", "0000:01:00.0")
"""A root port, and the upstream port of a switch."""


def server(
    name: str = PCIE,
    count: int = 2,
    *,
    iommu: str | None = None,
    redirects: bool | None = False,
    shared: bool = True,
    host: dict[str, Any] | None = None,
    gpu: dict[str, Any] | None = None,
    more: dict[type, Any] | None = None,
    **variables: str,
) -> Report:
    """So many GPUs on the metal, behind one switch, under these variables."""
    snapshot = with_gpus(name, count, **variables)
    listed = snapshot.value(Gpus)
    own = snapshot.value(Host)
    assert listed is not None
    assert own is not None
    devices = []
    for index in range(count):
        port = f"0000:02:{index + 8:02x}.0"
        upstream = BEHIND if shared else (f"0000:00:0{index + 1}.0", f"0000:1{index}:00.0")
        devices.append(
            PciDevice(
                address=f"0000:{index + 7:02x}:00.0",
                vendor_id="10de",
                device_id="20b5",
                driver="nvidia",
                iommu=iommu,
                bridges=(*upstream, port),
                redirecting=None if redirects is None else (port,) if redirects else (),
            )
        )
    gpus = tuple(
        replace(
            one,
            pci_address=f"00000000:{one.index + 7:02X}:00.0",
            **{"virtualization": "none", **(gpu or {})},
        )
        for one in listed.devices
    )
    facts: dict[type, Any] = {
        Gpus: Gpus(devices=gpus),
        PciGpus: PciGpus(devices=tuple(devices)),
        Host: replace(own, **{"machine": "x86_64", "hypervisor": False, **(host or {})}),
        **(more or {}),
    }
    known = {kind: Observed(value=fact, source="synthetic") for kind, fact in facts.items()}
    return report_on(Snapshot({**dict(snapshot.items()), **known}))


def said(report: Report) -> list[tuple[str, str]]:
    return [(one.name, one.severity.value) for one in report.findings]


REDIRECTED = "peer-traffic-redirected"


@pytest.mark.parametrize("iommu", ["DMA", "DMA-FQ"])
def test_an_iommu_that_translates(iommu: str) -> None:
    assert said(server(iommu=iommu)) == [(REDIRECTED, "info")]
    report = server(iommu=iommu, **ONE_NODE)
    assert said(report) == [(REDIRECTED, "warning")]
    (one,) = report.findings
    assert one.message == "the IOMMU sends through the CPU what the GPUs exchange with each other"
    assert "iommu=pt" in one.fixes[0].summary
    assert one.fixes[-1].commands == ("export NCCL_P2P_DISABLE=1",)
    assert report.exit_code == 0


def test_acs_of_the_switch_above_both() -> None:
    (one,) = server(redirects=True, **ONE_NODE).findings
    assert (one.name, one.confidence.value) == (REDIRECTED, "certain")
    assert one.message.startswith("PCIe ACS sends through the CPU")
    assert one.fixes[0].commands == (
        "sudo setpci -s 0000:02:08.0 ECAP_ACS+0x6.w=0000",
        "sudo setpci -s 0000:02:09.0 ECAP_ACS+0x6.w=0000",
    )
    (one,) = server(redirects=True, iommu="DMA", **ONE_NODE).findings
    assert [fix.commands[-1].split()[1] for fix in one.fixes] == [
        "reboot",
        "setpci",
        "NCCL_P2P_DISABLE=1",
    ]


@pytest.mark.parametrize(
    "machine",
    [
        {"iommu": "identity"},
        {"iommu": None},
        {"redirects": None},
        {"redirects": True, "shared": False},
        {"iommu": "DMA-FQ", "count": 1},
        {"iommu": "DMA-FQ", "name": GEFORCE},
        {"iommu": "DMA-FQ", "name": SXM},
        {"iommu": "DMA-FQ", "gpu": {"peers": (0, 1), "nvlink_peers": (0, 1)}},
        {"iommu": "DMA-FQ", "host": {"hypervisor": True}},
        {"iommu": "DMA-FQ", "gpu": {"virtualization": "passthrough"}},
        {"iommu": "DMA-FQ", "host": {"machine": "aarch64"}},
        {"iommu": "DMA-FQ", "NCCL_P2P_LEVEL": "NVL"},
    ],
    ids=lambda machine: "+".join(f"{name}={value}" for name, value in machine.items()),
)
def test_machines_that_are_not_meant(machine: dict[str, Any]) -> None:
    """One GPU, no peer access, NVLink, a virtual machine, a switch of their own, the remedy."""
    for job in ({}, ONE_NODE):
        assert said(server(**machine, **job)) == []


def test_the_remedy_is_no_fault() -> None:
    """NCCL_P2P_DISABLE=1 has a finding of its own, which names this reason to keep it."""
    (one,) = server(iommu="DMA", NCCL_P2P_DISABLE="1", **ONE_NODE).findings
    assert one.name == "debug-environment"
    assert "IOMMU" in one.fixes[0].summary


def test_network_cards_that_read_gpus() -> None:
    """GPUDirect RDMA, also of GPUs on NVLink; not without a job on several machines."""
    network = {Network: Network(interfaces=(LO,), ports=(NDR,), peer_memory=True)}
    (one,) = server(SXM, 2, iommu="DMA", more=network, **TWO_NODES).findings
    assert one.message.endswith("exchange with the network's cards")
    assert said(server(SXM, 2, iommu="DMA", more=network)) == []
    assert said(server(SXM, 2, iommu="identity", more=network, **TWO_NODES)) == []


def tried(*, works: bool) -> Collective:
    state = "done" if works else "silent"
    return Collective(
        settings=CollectiveSettings(nproc=2),
        backend="nccl",
        ranks=tuple(JobRank(rank=rank, state=state, phase="all-reduce") for rank in range(2)),
        sum_right=True if works else None,
        trials=() if works else (Trial(variable="NCCL_P2P_DISABLE", value="1", works=True),),
    )


def test_what_was_tried_and_works_is_only_slower() -> None:
    report = server(iommu="DMA", more={Collective: tried(works=True)}, **ONE_NODE)
    assert said(report) == [(REDIRECTED, "info")]


def test_nccl_that_hangs_has_its_cause() -> None:
    report = server(iommu="DMA", more={Collective: tried(works=False)}, **ONE_NODE)
    first = report.findings[0]
    assert (first.name, first.severity.value) == ("peer-traffic-redirected", "error")
    assert first.fixes[-1].proof == "the same collective works with NCCL_P2P_DISABLE=1"
    assert all(one.because for one in report.findings[1:])


def test_gpus_that_do_not_reach_each_other() -> None:
    apart = {"peers": (), "nvlink_peers": ()}
    (one,) = server(gpu=apart).findings
    assert (one.name, one.severity.value) == ("no-peer-access", "info")
    assert one.message.startswith("GPUs 0 and 1 do not reach each other's memory")
    assert said(server(GEFORCE, gpu=apart)) == []
    assert said(server(gpu=apart, host={"hypervisor": True})) == []
    assert said(server(gpu={"peers": (0, 1), "nvlink_peers": ()})) == []
