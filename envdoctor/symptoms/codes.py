"""The diseases that are outcomes themselves."""

from envdoctor.engine import ENGINE_CODES
from envdoctor.findings import Code, Layer, Severity
from envdoctor.policy.codes import POLICY_CODES

TORCH_IMPORT_FAILED = Code(
    id="ED401",
    name="torch-import-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` raises an exception",
    detailed="`import torch` raises {exception}: {text}",
)


TORCH_IMPORT_CRASHED = Code(
    id="ED402",
    name="torch-import-crashed",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` ends the interpreter by a signal",
    detailed="`import torch` ends the interpreter by {signal}",
)


TORCH_IMPORT_HANGS = Code(
    id="ED403",
    name="torch-import-hangs",
    family="torch-import-hangs",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` gives no answer",
    detailed="`import torch` gave no answer within {seconds} s",
)


TORCH_IMPORT_EXITS = Code(
    id="ED404",
    name="torch-import-exits",
    family="torch-import-crashed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.IMPORT,
    breaks="import:torch",
    message="`import torch` exits the interpreter",
    detailed="`import torch` exits the interpreter with code {exit_code}",
)


COMPANION_IMPORT_FAILED = Code(
    id="ED409",
    name="companion-import-failed",
    family="extension-abi-mismatch",
    severity=Severity.ERROR,
    topic="companions",
    layer=Layer.IMPORT,
    breaks="import",
    message="a package that is installed beside torch does not import",
    detailed="`import {package}` fails: {text}",
)


FIRST_USE_FAILED = Code(
    id="ED410",
    name="first-use-failed",
    family="torch-import-failed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FIRST_USE,
    breaks="compute:gpu",
    message="the first operation on a device fails",
    detailed="the first operation on {subjects} fails: {text}",
)


CUDA_UNAVAILABLE = Code(
    id="ED411",
    name="cuda-unavailable",
    family="cuda-unavailable",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FIRST_USE,
    breaks="compute:gpu",
    message="torch cannot use the GPU",
    detailed="torch {version} cannot use {gpus}: {text}",
)


CUDA_DOES_NOT_START = Code(
    id="ED290",
    name="cuda-does-not-start",
    family="cuda-does-not-start",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.FIRST_USE,
    breaks="compute:gpu",
    message="CUDA does not start on a GPU",
    detailed="CUDA does not start on {subjects}: {text}",
)


DRIVER_HANGS = Code(
    id="ED229",
    name="driver-hangs",
    family="driver-hangs",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.NVML,
    breaks="compute:gpu",
    message="the NVIDIA driver gives no answer",
    detailed="the NVIDIA driver gives no answer: {who} {verb} waited for in vain",
)


COLLECTIVE_FAILED = Code(
    id="ED710",
    name="collective-failed",
    family="collective-failed",
    severity=Severity.ERROR,
    topic="network",
    layer=Layer.FIRST_USE,
    breaks="distributed",
    message="ranks of one job do not get through an all-reduce",
    detailed="{text}",
)


COMPILE_FAILED = Code(
    id="ED422",
    name="compile-failed",
    family="compile-failed",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.FIRST_USE,
    breaks="compile",
    message="torch.compile does not work",
    detailed="torch.compile{where} fails: {text}",
)


EXTENSION_FAILED = Code(
    id="ED423",
    name="extension-not-built",
    family="extension-not-built",
    severity=Severity.ERROR,
    topic="toolkit",
    layer=Layer.FIRST_USE,
    breaks="extend",
    message="an extension of torch cannot be built",
    detailed="an extension{where} cannot be built: {text}",
)


CORE_CODES = (
    *ENGINE_CODES,
    DRIVER_HANGS,
    TORCH_IMPORT_FAILED,
    TORCH_IMPORT_CRASHED,
    TORCH_IMPORT_HANGS,
    TORCH_IMPORT_EXITS,
    COMPANION_IMPORT_FAILED,
    FIRST_USE_FAILED,
    CUDA_UNAVAILABLE,
    CUDA_DOES_NOT_START,
    COLLECTIVE_FAILED,
    COMPILE_FAILED,
    EXTENSION_FAILED,
    *POLICY_CODES,
)
