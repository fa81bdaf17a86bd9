"""Samples NVML while a calibration runs: `python -I -m envdoctor.calibration.telemetry_child FD`.

FD takes one JSON object a line for each GPU and moment: `at` (the monotonic clock, which all
processes of a machine share) and `gpu` with the fields of facts.machine.Gpu.
"""

import json
import os
import sys
import time

import pynvml

from envdoctor.probes.nvml_gpus import devices

PERIOD_S = 0.25


def main(fd: int) -> None:
    """Sample until killed; end at once where NVML does not start."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return
    while True:
        for gpu in devices(os.getppid())["gpus"]:
            line = json.dumps({"at": time.monotonic(), "gpu": gpu})
            os.write(fd, line.encode() + b"\n")
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    main(int(sys.argv[1]))
