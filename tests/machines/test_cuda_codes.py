"""Every code with which cuInit is known to fail has its own cause, one root, and a way out."""

import pytest

from envdoctor.api import CudaInit, Severity
from tests.support.diagnosis import report_on
from tests.support.gpu_states import unseen_by_torch

OWN = "/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01"

CODES = {
    2: ("CUDA_ERROR_OUT_OF_MEMORY", "cuda-init-failed", "memory"),
    3: ("CUDA_ERROR_NOT_INITIALIZED", "cuda-init-failed", "nvidia-smi"),
    34: ("CUDA_ERROR_STUB_LIBRARY", "driver-stub", "stub"),
    46: ("CUDA_ERROR_DEVICE_UNAVAILABLE", "cuda-init-failed", "COMPUTE"),
    100: ("CUDA_ERROR_NO_DEVICE", "cuda-unavailable", "ls -l /dev/nvidia"),
    101: ("CUDA_ERROR_INVALID_DEVICE", "cuda-init-failed", "nvidia-smi"),
    304: ("CUDA_ERROR_OPERATING_SYSTEM", "cuda-init-failed", "strace"),
    800: ("CUDA_ERROR_NOT_PERMITTED", "cuda-init-failed", "COMPUTE"),
    801: ("CUDA_ERROR_NOT_SUPPORTED", "cuda-init-failed", "nvidia-smi"),
    802: ("CUDA_ERROR_SYSTEM_NOT_READY", "fabric-manager", "fabricmanager"),
    803: ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "driver-lib-mismatch", "restart"),
    804: ("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward-compat", "compat"),
    805: ("CUDA_ERROR_MPS_CONNECTION_FAILED", "cuda-init-failed", "mps"),
    806: ("CUDA_ERROR_MPS_RPC_FAILURE", "cuda-init-failed", "mps"),
    807: ("CUDA_ERROR_MPS_SERVER_NOT_READY", "cuda-init-failed", "mps"),
    999: ("CUDA_ERROR_UNKNOWN", "cuda-unknown-uvm", "nvidia_uvm"),
}
"""The name in cuda.h, the finding, and a word of its fixes, on an A100 whose NVML is in order."""


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_its_cause_and_a_fix(code: int) -> None:
    status, name, word = CODES[code]
    report = report_on(unseen_by_torch(CudaInit(status=status, code=code, library=OWN)))
    first = report.findings[0]
    assert (first.name, report.exit_code) == (name, 1)
    words = "\n".join(line for fix in first.fixes for line in (fix.summary, *fix.commands))
    assert word in words
    others = [one for one in report.findings[1:] if one.severity is Severity.ERROR]
    assert all(one.because for one in others)


@pytest.mark.parametrize(
    ("value", "name"),
    # The first as a real driver answers where a GPU is named twice.
    [("0,0", "cuda-visible-devices"), ("0", "cuda-init-failed")],
)
def test_an_invalid_device_is_that_of_the_variable_where_it_names_none(
    value: str, name: str
) -> None:
    status, _, _ = CODES[101]
    report = report_on(
        unseen_by_torch(
            CudaInit(status=status, code=101, library=OWN),
            Environment={"variables": {"CUDA_VISIBLE_DEVICES": value}},
        )
    )
    errors = [one for one in report.findings if one.severity is Severity.ERROR]
    assert errors[0].name == name
    assert all(one.because for one in errors[1:])
