"""Asks NVML for the driver and the GPUs; run as `python -I nvml_child.py FD DOCTOR`, so that a
library that crashes or hangs takes only this process with it.

pynvml takes longer to import than all else; without a libnvidia-ml it is left alone.
"""

import ctypes
import json
import os
import runpy
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = "libnvidia-ml.so.1"


def main(fd: int, doctor: int) -> None:
    """Write one JSON object: `status`, and what NVML says where it is `ok`; `refusal` is what the
    loader says where it does not load the library."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        status = "NVML_ERROR_LIBRARY_NOT_FOUND"
        answer: dict[str, object] = {"status": status, "refusal": str(error)}
    else:
        answer = runpy.run_path(os.path.join(HERE, "nvml_gpus.py"))["answer_of_nvml"](doctor)
    answer["library"] = mapped_library()
    os.write(fd, json.dumps(answer).encode())


def mapped_library() -> str | None:
    """The file of libnvidia-ml that is loaded into this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths = (line.split(None, 5)[-1].strip() for line in maps if "libnvidia-ml" in line)
        return next(paths, None)


if __name__ == "__main__":
    tether = runpy.run_path(os.path.join(HERE, "target", "tether.py"))["tether"]
    tether(int(sys.argv[2]))
    main(int(sys.argv[1]), int(sys.argv[2]))
