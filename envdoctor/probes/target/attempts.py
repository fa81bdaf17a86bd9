"""Stages that compile code as a user's program does (Python 3.8 or later, standard library only).

Run only where the user asks for them. Every attempt has a random constant, so that no cache of
compiled code hides a compiler that does not work.
"""

import os
import sys


def compiling(child):
    # Compilers in a pool of processes would outlive the stage.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    import torch

    config = sys.modules.get("torch._inductor.config")
    if config is not None:
        config.compile_threads = 1
    devices = ["cpu", *cuda_devices(child, torch)]
    return {"items": [attempt(child, compiled_is_right, torch, device) for device in devices]}


def extending(child):
    import torch

    for_cuda = torch.version.cuda and cuda_devices(child, torch)
    languages = ["C++", "CUDA"] if for_cuda else ["C++"]
    return {"items": [attempt(child, built_is_right, torch, language) for language in languages]}


def cuda_devices(child, torch):
    if not child.attempt(torch.cuda.is_available)[0]:
        return []
    return ["cuda:%d" % index for index in range(torch.cuda.device_count())]


def attempt(child, try_it, torch, on):
    started = child.clock()
    # What Triton's compilers print is in no exception.
    heard = Heard(on.startswith("cuda:"))
    said = {"exception": None, "message": None}
    try:
        said["message"] = try_it(torch, on)
    except Exception as error:
        said = child.describe(error)
    finally:
        output = heard.end()
    failed = said["message"] is not None
    return {
        "on": on,
        "error": said["message"],
        "exception": said["exception"],
        "output": output if failed else "",
        "seconds": child.clock() - started,
    }


MAX_OUTPUT = 4000


class Heard:
    """The last of what this process and its children print, until the end."""

    def __init__(self, listens):
        self.kept = None
        if listens and hasattr(os, "memfd_create"):
            self.kept = os.memfd_create("printed")
            self.before = [(number, os.dup(number)) for number in (1, 2)]
            for number, _ in self.before:
                os.dup2(self.kept, number)

    def end(self):
        if self.kept is None:
            return ""
        for number, before in self.before:
            os.dup2(before, number)
            os.close(before)
        size = os.fstat(self.kept).st_size
        text = os.pread(self.kept, MAX_OUTPUT, max(size - MAX_OUTPUT, 0))
        os.close(self.kept)
        return text.decode("utf-8", "replace")


def random_number():
    return int.from_bytes(os.urandom(3), "little") + 1


def compiled_is_right(torch, device):
    constant = random_number() / 2.0**24
    is_compiling = asks_the_compiler(torch)

    def function(x):
        # While it is compiled, the compiler takes the first branch for the only one.
        if is_compiling():
            return (x * constant).relu() + 1
        return x * 0 - 1

    ones = torch.ones(64, device=device)
    result = torch.compile(function, dynamic=False)(ones)
    if (result == -1).all().item():
        return "torch.compile left the function as it is and compiled nothing"
    expected = (ones * constant).relu() + 1
    return None if torch.allclose(result, expected) else "wrong result"


def asks_the_compiler(torch):
    """What tells a function that it is being compiled; before torch 2.1 it lies in Dynamo."""
    asks = getattr(getattr(torch, "compiler", None), "is_compiling", None)
    if asks is not None:
        return asks
    import torch._dynamo as dynamo

    return dynamo.is_compiling


IN_CPP = "int64_t added(int64_t x) { return x + %d; }"

DECLARED = "torch::Tensor added(torch::Tensor x);"
IN_CUDA = """
#include <torch/extension.h>
__global__ void add_number(float* x) { x[threadIdx.x] += %d; }
torch::Tensor added(torch::Tensor x) {
  add_number<<<1, 64>>>(x.data_ptr<float>());
  return x;
}
"""


def built_is_right(torch, language):
    import shutil
    import tempfile

    from torch.utils.cpp_extension import load_inline

    number = random_number()
    folder = tempfile.mkdtemp(prefix="envdoctor-")
    sources = {"cpp_sources": IN_CPP % number}
    if language == "CUDA":
        sources = {"cpp_sources": DECLARED, "cuda_sources": IN_CUDA % number}
    try:
        built = load_inline(
            name="envdoctor_attempt_%d" % number,
            functions=["added"],
            build_directory=folder,
            verbose=False,
            **sources,
        )
        if language == "CUDA":
            result = built.added(torch.zeros(64, device="cuda"))
            right = bool((result == number).all().item())
        else:
            right = built.added(1) == number + 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None if right else "wrong result"
