"""Asks NVML for the driver and the GPUs; run as `python -I -S nvml_child.py FD`, so that a
library that crashes or hangs takes only this process with it.

pynvml takes longer to import than all else; without a libnvidia-ml it is left alone.
"""

import ctypes
import json
import os
import sys
from collections.abc import Callable

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = "libnvidia-ml.so.1"


def main(fd: int) -> None:
    """Write one JSON object: `status`, and what NVML says where it is `ok`; `refusal` is what the
    loader says where it does not load the library."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        status = "NVML_ERROR_LIBRARY_NOT_FOUND"
        answer: dict[str, object] = {"status": status, "refusal": str(error)}
    else:
        answer = gpus(lambda place: os.write(fd, f"{place}\n".encode()))
    answer["library"] = mapped_library()
    os.write(fd, json.dumps(answer).encode())


def gpus(tell: Callable[[str], object]) -> dict[str, object]:
    """What pynvml says, from the packages of the doctor, which are not on the path before."""
    import runpy
    import site

    site.main()
    module = runpy.run_path(os.path.join(HERE, "nvml_gpus.py"))
    answer: dict[str, object] = module["answer_of_nvml"](os.getppid(), tell)
    return answer


def mapped_library() -> str | None:
    """The file of libnvidia-ml that is loaded into this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = (line.split(None, 5)[-1].strip() for line in maps if "libnvidia-ml" in line)
        return next(paths, None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
