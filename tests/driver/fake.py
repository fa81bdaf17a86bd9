"""The small libraries of tests/fakes, compiled."""

import subprocess
from pathlib import Path

FAKES = Path(__file__).parents[1] / "fakes"

TORCH = """
import ctypes, os
from types import SimpleNamespace as Some

__version__ = "2.13.0+cu128"
DRIVER = ctypes.CDLL("libcuda.so.1")

class Tensor:
    def __matmul__(self, other): return self
    def __eq__(self, other): return self
    def all(self): return self
    def item(self): return True
    def numpy(self): return self

def ones(*sizes, device="cpu"):
    if device != "cpu" and (status := DRIVER.cuDevicePrimaryCtxRetain(None, int(device[5:]))):
        raise RuntimeError("CUDA error: %d" % status)
    return Tensor()

def init():
    if status := DRIVER.cuInit(0):
        raise RuntimeError("Error %d: of the driver" % status)
    return True

def initialised():
    try:
        return init()
    except RuntimeError:
        return False

def count():
    found = ctypes.c_int()
    DRIVER.cuDeviceGetCount(ctypes.byref(found))
    return found.value

GPU = Some(name="NVIDIA A100-SXM4-80GB", major=8, minor=0, total_memory=85899345920)
zeros = ones
nn = Some(functional=Some(conv2d=lambda image, kernel: image))
version = Some(cuda="12.8", hip=None)
backends = Some(cudnn=Some(version=lambda: 91002), cpu=Some(), mps=Some())
get_num_threads = lambda: 1
compiled_with_cxx11_abi = lambda: True
cuda = Some(
    init=init,
    is_available=initialised,
    device_count=count,
    get_device_properties=lambda index: GPU,
)
"""
"""A torch that does with libcuda what the stages of the target ask."""


def build_fake(compiler: str, folder: Path, source: str, soname: str, *defines: str) -> Path:
    """Compile a fake library under its soname below a folder; returns the folder of libraries."""
    output = folder / "lib" / soname
    output.parent.mkdir(exist_ok=True)
    options = ["-shared", "-fPIC", f"-Wl,-soname,{soname}", *(f"-D{one}" for one in defines)]
    subprocess.run([compiler, *options, "-o", output, FAKES / source], check=True)
    return output.parent
