"""Tries cuInit by ctypes, without torch; run as `python -I -S cuda_child.py FD`."""

import ctypes
import json
import os
import re
import sys

_NODE = re.compile(r"nvidia(\d{1,3}|ctl|-uvm)")


def main(fd: int) -> None:
    """Write one JSON object, its fields as in facts.machine.CudaInit."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        answer: dict[str, object] = {"status": "libcuda-missing", "message": str(error)}
    else:
        answer = {**initialise(driver), "library": mapped_library()}
        if answer["code"] != 0:
            answer["refused_nodes"] = refused_nodes("/dev")
    os.write(fd, json.dumps(answer).encode())


def refused_nodes(folder: str) -> list[str]:
    """Nodes that open(2) refuses and access(2) does not.

    Only where cuInit has failed, which has tried to open them too: a GPU that is at rest is started
    by its node being opened, and that takes seconds.
    """
    nodes = sorted(
        os.path.join(folder, name) for name in os.listdir(folder) if _NODE.fullmatch(name)
    )
    return [node for node in nodes if os.access(node, os.R_OK | os.W_OK) and _is_refused(node)]


def _is_refused(node: str) -> bool:
    try:
        os.close(os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        # A module that is not loaded, or a GPU that does not start: others tell that.
        return False
    return False


def initialise(driver: ctypes.CDLL) -> dict[str, object]:
    """What cuInit answers, and the version and the number of devices where it succeeds."""
    code = driver.cuInit(0)
    version = integer_from(driver.cuDriverGetVersion)
    answer: dict[str, object] = {
        "status": "ok" if code == 0 else text_from(driver, "cuGetErrorName", code) or str(code),
        "code": code,
        "message": "" if code == 0 else text_from(driver, "cuGetErrorString", code) or "",
        "driver_cuda": f"{version // 1000}.{version % 1000 // 10}" if version else None,
    }
    if code == 0:
        answer["device_count"] = integer_from(driver.cuDeviceGetCount)
    return answer


def integer_from(function: "ctypes._NamedFuncPointer") -> int | None:
    """The integer that a function writes; None if it fails."""
    value = ctypes.c_int(0)
    return value.value if function(ctypes.byref(value)) == 0 else None


def text_from(driver: ctypes.CDLL, function: str, code: int) -> str | None:
    """The text that cuGetErrorName or cuGetErrorString gives for a code."""
    text = ctypes.c_char_p()
    if getattr(driver, function)(code, ctypes.byref(text)) != 0 or text.value is None:
        return None
    return text.value.decode("ascii", "replace")


def mapped_library() -> str | None:
    """The file of libcuda that is loaded into this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = (line.split(None, 5)[-1].strip() for line in maps if "libcuda.so" in line)
        return next(paths, None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
