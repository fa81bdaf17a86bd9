"""Do the calibration and the plain script agree?  python benchmarks/gpu_agreement.py CAL PLAIN

CAL is a result of `envdoctor calibrate --json`, PLAIN that of plain_gpu.py in the same session.
Prints both figures and their ratio; exits with 1 if one of them is more than 5 % off.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BOUND = 0.05


def main() -> int:
    calibration = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["calibration"]
    plain = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    off = 0
    for name, ours, theirs in figures(calibration, plain):
        ratio = ours / theirs
        off += abs(ratio - 1) > BOUND
        print(f"{name:24} calibrate {ours:10.1f}  plain {theirs:10.1f}  ratio {ratio:.3f}")
    return 1 if off else 0


def figures(
    calibration: dict[str, Any], plain: dict[str, Any]
) -> Iterator[tuple[str, float, float]]:
    ceilings = {
        one["name"]: one["value"]["median"]
        for one in calibration["ceilings"]
        if one["device"] == "cuda:0"
    }
    yield "matmul bf16 TFLOP/s", ceilings["matmul bf16"], plain["matmul_bf16_tflops"]
    yield "copy GB/s", ceilings["memory copy"], plain["copy_gb_s"]
    for run in calibration["runs"]:
        same = (
            run["device"] == "cuda:0"
            and run["memory_format"] == "channels_last"
            and run["batch_size"] == plain["batches"].get(run["precision"])
            and not run["compiled"]
        )
        if same:
            theirs = plain["resnet50_images_per_s"][run["precision"]]
            yield f"ResNet-50 {run['precision']}", run["images_per_s"]["median"], theirs


if __name__ == "__main__":
    sys.exit(main())
