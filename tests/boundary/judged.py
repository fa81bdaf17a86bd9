"""What checks make of a text that a target wrote: in an error, a requirement, a version, a name."""

from envdoctor.api import (
    CompanionImport,
    CompanionImports,
    CudaInit,
    Distributions,
    FirstUse,
    Nvml,
    Snapshot,
    TorchFirstUse,
    TorchImport,
)
from tests.support.diagnosis import report_on
from tests.support.machines import distribution, machine


def judged(data: bytes) -> None:
    """The reports on machines that say this text wherever a target or a driver may say one."""
    text = data.decode("utf-8", "surrogateescape")
    for snapshot in (_failing(text), _working(text)):
        report = report_on(snapshot)
        assert not [one.message for one in report.findings if one.name == "check-crashed"]


def _failing(text: str) -> Snapshot:
    return machine(
        TorchImport(
            outcome="exception", seconds=1.0, exception="OSError", message=text, cause=text
        ),
        Nvml(status="NVML_ERROR_UNKNOWN", message=text, driver_release=text),
        CudaInit(status="CUDA_ERROR_UNKNOWN", message=text, library=text),
        TorchBuild={"version": text, "variant": text, "arch_flags": (text,)},
        Host={"glibc": text, "os_version": text, "cpu_name": text},
    )


def _working(text: str) -> Snapshot:
    return machine(
        CompanionImports(
            items=(
                CompanionImport(
                    name="torchvision", outcome="exception", exception="E", message=text
                ),
            )
        ),
        TorchFirstUse(operations=(FirstUse(device="cuda:0", operation="matmul", error=text),)),
        Distributions(
            items=(
                distribution("torch", "2.6.0", text),
                distribution("torchvision", "0.21.0", f"torch{text}", f"torch=={text}", text),
                distribution("numpy", text),
                distribution(text, "1.0"),
            )
        ),
        Environment={"variables": {"LD_LIBRARY_PATH": text, "CUDA_VISIBLE_DEVICES": text}},
    )
