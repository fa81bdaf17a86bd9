"""Stages that import torch and use it (Python 3.8 or later, standard library only)."""

import os
import sys


def import_torch(child):
    started = child.clock()
    import torch

    return child.look(describe_import, child, torch, child.clock() - started)


def describe_import(child, torch, seconds):
    return {
        "file": child.file_of(torch),
        "version": child.text_or_none(child.attribute(torch, "__version__")),
        "import_seconds": seconds,
        "shadowed": child.hidden_stdlib_modules(),
    }


def runtime(child):
    import torch

    built_for_gpu = bool(torch.version.cuda or getattr(torch.version, "hip", None))
    cuda_error = child.attempt(torch.cuda.init)[1] if built_for_gpu else None
    available, _ = child.attempt(torch.cuda.is_available)
    count = (child.attempt(torch.cuda.device_count)[0] or 0) if available else 0
    cudnn = cudnn_error = None
    if built_for_gpu:
        cudnn, cudnn_error = child.attempt(torch.backends.cudnn.version)
    numpy_error = child.attempt(lambda: torch.zeros(1).numpy())[1]
    numpy = sys.modules.get("numpy")
    return {
        "version": child.text_or_none(child.attribute(torch, "__version__")) or "",
        "cuda": torch.version.cuda,
        "hip": getattr(torch.version, "hip", None),
        "cuda_available": bool(available),
        "device_count": count,
        "devices": [
            device for device in (describe_device(child, i) for i in range(count)) if device
        ],
        "cuda_error": cuda_error,
        "cudnn_version": cudnn,
        "cudnn_error": cudnn_error,
        "nccl_version": nccl_version(child, torch) if built_for_gpu else None,
        "cudart_version": cudart_version(child) if built_for_gpu else None,
        "arch_list": compiled_for(child, torch),
        "cpu_capability": child.attempt(lambda: torch.backends.cpu.get_cpu_capability())[0],
        "threads": child.attempt(torch.get_num_threads)[0],
        "numpy_version": child.text_or_none(child.attribute(numpy, "__version__")),
        "numpy_error": numpy_error,
        "mps_available": bool(child.attempt(lambda: torch.backends.mps.is_available())[0]),
        "xpu_count": child.attempt(lambda: torch.xpu.device_count())[0]
        if getattr(torch.version, "xpu", None)
        else None,
        "cxx11_abi": child.attempt(torch.compiled_with_cxx11_abi)[0],
    }


def describe_device(child, index):
    import torch

    properties, _ = child.attempt(torch.cuda.get_device_properties, index)
    if properties is None:
        return None
    uuid = getattr(properties, "uuid", None)
    return {
        "index": index,
        "name": properties.name,
        "compute_capability": "%d.%d" % (properties.major, properties.minor),
        "memory_bytes": properties.total_memory,
        "uuid": None if uuid is None else str(uuid),
    }


def compiled_for(child, torch):
    """`get_arch_list()` is empty without a GPU on older releases; the flags behind it are not."""
    flags, _ = child.attempt(lambda: torch._C._cuda_getArchFlags())
    return flags.split() if flags else []


def nccl_version(child, torch):
    version, _ = child.attempt(lambda: torch.cuda.nccl.version())
    if isinstance(version, int):
        # Before 2.9 NCCL_VERSION_CODE was major * 1000 + minor * 100 + patch (nccl.h).
        scale = 10000 if version >= 10000 else 1000
        return "%d.%d.%d" % (version // scale, version % scale // 100, version % 100)
    return None if version is None else ".".join(map(str, version))


def cudart_version(child):
    """cudaRuntimeGetVersion of the libcudart that is loaded; it needs no GPU."""
    import ctypes

    mapped = child.mapped_files()
    path = next((path for path in mapped if "libcudart" in os.path.basename(path)), None)
    if path is None:
        return None
    version = ctypes.c_int()
    library, _ = child.attempt(ctypes.CDLL, path)
    if library is None or library.cudaRuntimeGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value


def first_use(child):
    import torch

    devices = ["cpu"]
    if child.attempt(torch.cuda.is_available)[0]:
        devices += ["cuda:%d" % index for index in range(torch.cuda.device_count())]
    uses = [(device, operation) for device in devices for operation in OPERATIONS]
    return {"operations": [use(child, torch, *one) for one in uses]}


def matmul_is_right(torch, device):
    ones = torch.ones(64, 64, device=device)
    return bool(((ones @ ones) == 64).all().item())


def convolution_is_right(torch, device):
    image, kernel = torch.ones(1, 3, 8, 8, device=device), torch.ones(4, 3, 3, 3, device=device)
    return bool((torch.nn.functional.conv2d(image, kernel) == 27).all().item())


OPERATIONS = {"matmul": matmul_is_right, "convolution": convolution_is_right}


def use(child, torch, device, operation):
    started = child.clock()
    right, error = child.attempt(OPERATIONS[operation], torch, device)
    if error is None and not right:
        error = "wrong result"
    seconds = child.clock() - started
    return {"device": device, "operation": operation, "error": error, "seconds": seconds}


def loaded_libraries(child):
    # Where the child before this one died, torch is not loaded yet.
    import torch  # noqa: F401

    return {"paths": child.mapped_files()}
