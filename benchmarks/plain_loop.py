"""A plain training loop as one would write it by hand, to hold the calibration against.

    python benchmarks/plain_loop.py BATCH THREADS SECONDS [fp32|bf16]

Prints the seconds of every step as JSON, the first ones included, on a CPU, of the network that the
calibration uses.
Knows nothing of the calibration but the file of the network.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

import torch

NETWORK = Path(__file__).parent.parent / "envdoctor" / "calibration" / "target" / "resnet50.py"


def main() -> None:
    batch, threads, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    bf16 = sys.argv[4:] == ["bf16"]
    torch.set_num_threads(threads)
    spec = importlib.util.spec_from_file_location("resnet50", NETWORK)
    assert spec is not None
    assert spec.loader is not None
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)

    model = network.ResNet50().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 224, 224).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (batch,))
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
