"""What a GPU does, by a plain script that knows nothing of envdoctor but the file of the network.

    python benchmarks/plain_gpu.py PRECISION=BATCH ...          prints one JSON object

Dense matmul TFLOP/s (bf16, 8192), device copy GB/s (read plus written), and ResNet-50 training
images/s (channels_last) in each precision with its batch, e.g. `bf16=256 tf32=128`.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

NETWORK = Path(__file__).parent.parent / "envdoctor" / "calibration" / "target" / "resnet50.py"
SECONDS = 6.0
COPY_BYTES = 512 * 2**20
SIZE = 8192


def rate(step: Callable[[], Any], amount: float, seconds: float = SECONDS) -> float:
    """Amount per second, over a stretch of wall time that ends with a synchronisation."""
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
        count += 5
    return amount * count / (time.perf_counter() - started)


def matmul() -> float:
    left = torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16)
    right = torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16)
    return rate(lambda: left @ right, 2 * SIZE**3 / 1e12, 1.0)


def copy() -> float:
    source = torch.ones(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    return rate(lambda: target.copy_(source), 2 * COPY_BYTES / 1e9, 1.0)


def resnet(network: Any, precision: str, batch: int) -> float:
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = True
    model = network.ResNet50().cuda().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 224, 224, device="cuda")
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (batch,), device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")

    def step() -> None:
        with torch.autocast("cuda", dtype=kind, enabled=kind is not None):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return rate(step, batch)


def main() -> None:
    spec = importlib.util.spec_from_file_location("resnet50", NETWORK)
    assert spec is not None
    assert spec.loader is not None
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)
    batches = {name: int(size) for name, size in (word.split("=") for word in sys.argv[1:])}
    result = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "batches": batches,
        "matmul_bf16_tflops": matmul(),
        "copy_gb_s": copy(),
        "resnet50_images_per_s": {
            precision: resnet(network, precision, batch) for precision, batch in batches.items()
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
