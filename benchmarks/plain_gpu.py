"""What a GPU does, by a plain script that knows nothing of envdoctor but the file of the network.

    python benchmarks/plain_gpu.py PRECISION=BATCH ...

For cuda:0, one JSON object a line as soon as it is known: in each precision dense matmul TFLOP/s
(8192) and ResNet-50 training images/s (channels_last) with its batch, e.g. `bf16=256 tf32=128`;
device copy GB/s (read plus written).
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
SECONDS = 3.0
CEILING_SECONDS = 1.0
WARM_SECONDS = 0.3
COPY_BYTES = 512 * 2**20
SIZE = 8192
KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def rate(step: Callable[[], Any], amount: float, seconds: float) -> float:
    """Amount per second, over a stretch of wall time that ends with a synchronisation."""
    repeat(step, WARM_SECONDS)
    started = time.perf_counter()
    count = repeat(step, seconds)
    return amount * count / (time.perf_counter() - started)


def repeat(step: Callable[[], Any], seconds: float) -> int:
    started, count = time.perf_counter(), 0
    while count < 10 or time.perf_counter() - started < seconds:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
        count += 5
    return count


def set_precision(precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = True


def matmul(precision: str) -> float:
    set_precision(precision)
    kind = KINDS.get(precision, torch.float32)
    left = torch.randn(SIZE, SIZE, device="cuda", dtype=kind)
    right = torch.randn(SIZE, SIZE, device="cuda", dtype=kind)
    return rate(lambda: left @ right, 2 * SIZE**3 / 1e12, CEILING_SECONDS)


def copy() -> float:
    source = torch.ones(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    return rate(lambda: target.copy_(source), 2 * COPY_BYTES / 1e9, CEILING_SECONDS)


def resnet(network: Any, precision: str, batch: int) -> float:
    set_precision(precision)
    model = network.ResNet50().cuda().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 224, 224, device="cuda")
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (batch,), device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    kind = KINDS.get(precision)
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")

    def step() -> None:
        with torch.autocast("cuda", dtype=kind, enabled=kind is not None):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return rate(step, batch, SECONDS)


def load_network() -> Any:
    spec = importlib.util.spec_from_file_location("resnet50", NETWORK)
    assert spec is not None
    assert spec.loader is not None
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)
    return network


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    batches = {name: int(size) for name, size in (word.split("=") for word in sys.argv[1:])}
    network = load_network()
    tell(device=torch.cuda.get_device_name(), torch=torch.__version__)
    tell(figure="memory copy", value=copy())
    for name, batch in batches.items():
        tell(figure=f"matmul {name}", value=matmul(name))
        tell(figure=f"ResNet-50 {name} batch {batch}", value=resnet(network, name, batch))


if __name__ == "__main__":
    main()
