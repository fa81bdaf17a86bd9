"""The diseases of CUDA's start: what cuInit returns, and libcuda."""

from envdoctor.api import (
    Code,
    Layer,
    Severity,
)

DRIVER_LIB_MISMATCH = Code(
    id="ED203",
    name="driver-lib-mismatch",
    family="driver-lib-mismatch-803",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="libcuda and the NVIDIA module in the kernel are of different releases "
    "(CUDA error 803)",
)
FORWARD_COMPAT = Code(
    id="ED204",
    name="forward-compat",
    family="forward-compat-804",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="a forward-compatibility libcuda is loaded, and this GPU does not support it "
    "(CUDA error 804)",
)
FABRIC_MANAGER = Code(
    id="ED205",
    name="fabric-manager",
    family="fabric-manager-802",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="the NVSwitch fabric is not ready (CUDA error 802): the fabric manager is not running",
)
CUDA_UNKNOWN_UVM = Code(
    id="ED206",
    name="cuda-unknown-uvm",
    family="cuda-unknown-uvm",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA does not start (error 999, unknown error)",
    detailed="CUDA does not start (error 999, unknown error){uvm}",
)
DRIVER_WITHOUT_LIBCUDA = Code(
    id="ED211",
    name="driver-without-libcuda",
    family="libcuda-missing",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="the kernel driver is loaded, but libcuda.so.1 cannot be found",
    detailed="the kernel driver{release} is loaded, but libcuda.so.1 cannot be found",
    explains=("ED302",),
)
CUDA_INIT_FAILED = Code(
    id="ED212",
    name="cuda-init-failed",
    family="cuda-init-failed",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA does not start",
    detailed="CUDA does not start: {status} ({code}), {text}",
)
UVM_HMM = Code(
    id="ED217",
    name="uvm-hmm",
    family="uvm-hmm",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="CUDA does not start (error 3): heterogeneous memory management (HMM) of the module "
    "nvidia_uvm fails on this kernel",
)
CONFIDENTIAL_COMPUTING = Code(
    id="ED218",
    name="confidential-computing",
    family="confidential-computing",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    breaks="compute:gpu",
    message="the GPU of this confidential virtual machine is not set ready (CUDA error 802)",
)
