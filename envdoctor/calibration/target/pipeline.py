"""The input pipeline: JPEG decode, random-resized crop, flip, normalise, in DataLoader workers."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from .channel import Channel
from .resnet50 import ResNet50
from .stats import rate_spread
from .workloads import IMAGE_SIZE

SYNTHETIC_SIZE = (500, 375)
SYNTHETIC_IMAGES = 16
"""The usual ImageNet photograph has 500 x 375 pixels and about 108 kB (138 GB in 1,281,167)."""

BATCH = 16
BYTES_OF_SAMPLE = 3 * IMAGE_SIZE * IMAGE_SIZE * 4
PREFETCH = 2
"""Batches that each worker may have ready: DataLoader's default."""

SHARED_SHARE = 0.9
MOST_SECONDS_EACH = 1.5
FEWEST_SAMPLES = 4
MOST_WORKERS = 32
READ_BYTES = 256 * 2**20
READ_SECONDS = 3.0
LOOK_SECONDS = 10.0
"""How long a folder is searched for images: long enough for a network disk that has some."""

DATA_IMAGES = 512
CHECKPOINT_ROOM = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def measure_pipeline(channel: Channel, settings: dict[str, Any], budget_s: float) -> None:
    """Measure all parts; the result is told after each, so that a break loses little. `budget_s` is
    for decoding."""
    result: dict[str, Any] = {"decoder": None, "missing": ""}
    data = settings.get("data")
    if data:
        result["data"] = data
        result.update(read_speed(channel, data))
    channel.progress(phase="pipeline", message="writing a checkpoint")
    result.update(checkpoint_speed())
    decoder = find_decoder()
    if decoder is None:
        result["missing"] = (
            "neither Pillow nor torchvision.io is in the target, so that no JPEG can be decoded; "
            "`pip install pillow` brings a decoder"
        )
        channel.send("pipeline", **result)
        return
    result["decoder"], decode, encode = decoder
    images, result["image_source"] = _images(channel, data, encode)
    result["mean_image_bytes"] = sum(map(len, images)) // len(images)
    channel.send("pipeline", **result)
    counts = worker_counts(settings.get("usable_cpus") or 1.0)
    shared = settings.get("shm_free_bytes")
    batch = batch_for(counts[-1], shared)
    if not batch:
        channel.left_out("cpu", "decoding", shared_memory_problem(counts[-1], shared), failed=True)
        return
    each_s = min(MOST_SECONDS_EACH, budget_s / len(counts))
    samples = Images(images, decode)
    result["rates"] = [_rate(channel, samples, one, batch, each_s) for one in counts]
    channel.send("pipeline", **result)


def _rate(
    channel: Channel, images: Images, workers: int, batch: int, timed_s: float
) -> dict[str, Any]:
    """A rate is told with the others, never alone: the best of a few would pass for the best."""
    channel.progress(phase="pipeline", message=f"decoding with {workers} workers")
    first_s, seconds = _batch_seconds(images, workers, batch, timed_s)
    rate = rate_spread(seconds, batch * workers)
    return {"workers": workers, "images_per_s": rate, "first_batch_s": first_s}


def batch_for(workers: int, shared_bytes: int | None) -> int:
    """The images in a batch, so that all that wait to be fetched fit into the shared memory.

    Workers hand batches over in /dev/shm, and one that finds it full is killed by SIGBUS. None:
    there is no limit. 0: not even one image fits.
    """
    if shared_bytes is None:
        return BATCH
    return min(BATCH, int(shared_bytes * SHARED_SHARE) // _shared_bytes(workers))


def _shared_bytes(workers: int) -> int:
    """What lies in shared memory at once with a batch of one image: what is ready or being made,
    and what was fetched last."""
    return (PREFETCH * workers + 1) * BYTES_OF_SAMPLE


def shared_memory_problem(workers: int, shared_bytes: int | None) -> str:
    """Why nothing can be decoded in workers."""
    return (
        f"/dev/shm has {(shared_bytes or 0) / 1e6:.0f} MB free, {workers} workers need "
        f"{_shared_bytes(workers) / 1e6:.0f} MB for one image each; start the container with "
        "`--shm-size=1g` or `--ipc=host`"
    )


def worker_counts(usable_cpus: float) -> list[int]:
    """1, 2, 4 ... up to the usable CPUs, which are the last."""
    most = max(1, min(MOST_WORKERS, int(usable_cpus)))
    counts = [1]
    while counts[-1] * 2 < most:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == most else [*counts, most]


class Images(Dataset):  # type: ignore[type-arg]
    """Endless training samples made from a few encoded images."""

    def __init__(self, images: list[bytes], decode: Callable[[bytes], Any]) -> None:
        self.images = images
        self.decode = decode

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> Any:
        return self.decode(self.images[index % len(self.images)])


def _batch_seconds(
    images: Images, workers: int, batch: int, timed_s: float
) -> tuple[float, list[float]]:
    """Seconds until the first batch, the start of the workers included, and then of as many batches
    as there are workers; they arrive together."""
    # A fresh interpreter, the default from Python 3.14 on, could not import what is loaded by path.
    loader = DataLoader(
        images,
        batch_size=batch,
        num_workers=workers,
        prefetch_factor=PREFETCH,
        multiprocessing_context="fork",
    )
    began = time.perf_counter()
    batches = iter(loader)
    try:
        next(batches)
        first_s = time.perf_counter() - began
        for _ in range(2 * workers - 1):
            next(batches)
        until = time.monotonic() + timed_s
        samples: list[float] = []
        while len(samples) < FEWEST_SAMPLES or time.monotonic() < until:
            started = time.perf_counter()
            for _ in range(workers):
                next(batches)
            samples.append(time.perf_counter() - started)
        return first_s, samples
    finally:
        # The iterator ends its workers when it is collected; nothing else does.
        del batches


def find_decoder() -> tuple[str, Callable[[bytes], Any], Callable[[Any], bytes]] | None:
    """The target's decoder with its name, and the encoder that goes with it."""
    for module, name, decode, encode in (
        ("PIL.Image", "pillow", decode_with_pillow, encode_with_pillow),
        ("torchvision.io", "torchvision.io", decode_with_torchvision, encode_with_torchvision),
    ):
        try:
            importlib.import_module(module)
        except Exception:
            # A torchvision that does not fit torch raises RuntimeError, among others.
            continue
        return name, decode, encode
    return None


def random_crop(width: int, height: int) -> tuple[int, int, int, int]:
    """The box of a random-resized crop: area 8 to 100 %, aspect 3/4 to 4/3 (torchvision's)."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1.0)
        aspect = random.uniform(3 / 4, 4 / 3)
        box_width, box_height = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < box_width <= width and 0 < box_height <= height:
            left = random.randint(0, width - box_width)
            top = random.randint(0, height - box_height)
            return left, top, left + box_width, top + box_height
    return 0, 0, width, height


def decode_with_pillow(data: bytes) -> Any:
    """A training sample (3, 224, 224) of float32."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as file:
        image = file.convert("RGB")
    box = random_crop(*image.size)
    image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.BILINEAR, box=box)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return normalised(pixels.view(IMAGE_SIZE, IMAGE_SIZE, 3).permute(2, 0, 1))


def encode_with_pillow(pixels: Any) -> bytes:
    """A (3, H, W) uint8 tensor as JPEG."""
    from PIL import Image

    height, width = pixels.shape[1:]
    data = bytes(pixels.permute(1, 2, 0).contiguous().flatten().tolist())
    buffer = io.BytesIO()
    Image.frombytes("RGB", (width, height), data).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def decode_with_torchvision(data: bytes) -> Any:
    """A training sample (3, 224, 224) of float32."""
    from torchvision.io import ImageReadMode, decode_jpeg

    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    image = decode_jpeg(raw, mode=ImageReadMode.RGB)
    left, top, right, bottom = random_crop(image.shape[2], image.shape[1])
    crop = image[None, :, top:bottom, left:right].float()
    size = (IMAGE_SIZE, IMAGE_SIZE)
    resized = torch.nn.functional.interpolate(crop, size, mode="bilinear", align_corners=False)
    return normalised(resized[0])


def encode_with_torchvision(pixels: Any) -> bytes:
    """A (3, H, W) uint8 tensor as JPEG."""
    from torchvision.io import encode_jpeg

    return bytes(encode_jpeg(pixels, quality=90).tolist())


def normalised(pixels: Any) -> Any:
    """Flipped at random, scaled to 0..1, less ImageNet's mean, over its deviation."""
    if random.random() < 0.5:
        pixels = pixels.flip(2)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / std


def _images(
    channel: Channel, data: str | None, encode: Callable[[Any], bytes]
) -> tuple[list[bytes], str]:
    found = _jpegs(channel, data) if data else []
    if found:
        return found, f"{len(found)} images of {data}"
    width, height = SYNTHETIC_SIZE
    made = [encode(photograph(width, height, seed)) for seed in range(SYNTHETIC_IMAGES)]
    return made, f"synthetic JPEGs of {width}x{height}"


def photograph(width: int, height: int, seed: int) -> Any:
    """Pixels that compress about as well as a photograph: noise on several scales."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.zeros(1, 3, height, width)
    for scale, strength in ((64, 50.0), (16, 25.0), (4, 20.0), (1, 32.0)):
        shape = (1, 3, height // scale + 1, width // scale + 1)
        noise = torch.randn(shape, generator=generator) * strength
        pixels += torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")
    return (pixels[0] + 128).clamp(0, 255).to(torch.uint8)


def _files(channel: Channel, folder: str) -> Iterator[str]:
    """The files below a folder as they are found, telling all the while that it goes on: to list
    a data set on a network disk takes many minutes, and only the first files are wanted."""
    folders = [folder]
    while folders:
        try:
            entries = os.scandir(folders.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                channel.progress(phase="pipeline", message=f"reading {folder}")
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file():
                    yield entry.path


def _jpegs(channel: Channel, folder: str) -> list[bytes]:
    found: list[bytes] = []
    until = time.monotonic() + LOOK_SECONDS
    for path in _files(channel, folder):
        if len(found) >= DATA_IMAGES or time.monotonic() > until:
            break
        if path.lower().endswith((".jpg", ".jpeg")):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                found.append(file.read())
    return found


def read_speed(channel: Channel, folder: str) -> dict[str, Any]:
    """Bytes per second when the files of a folder are read one after the other."""
    total, files = 0, 0
    seconds = 0.0
    for path in _files(channel, folder):
        try:
            spent, size = _read(path)
        except OSError:
            continue
        seconds, total, files = seconds + spent, total + size, files + 1
        if total >= READ_BYTES or seconds >= READ_SECONDS:
            break
    rate = total / seconds if seconds > 0 and total else None
    return {"data_read_bytes_per_s": rate, "data_files_read": files}


def _read(path: str) -> tuple[float, int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        _forget(fd)
        started, size = time.perf_counter(), 0
        while size < READ_BYTES and time.perf_counter() - started < READ_SECONDS:
            chunk = os.read(fd, 1 << 20)
            if not chunk:
                break
            size += len(chunk)
        return time.perf_counter() - started, size
    finally:
        os.close(fd)


def checkpoint_speed() -> dict[str, Any]:
    """Bytes of a checkpoint of ResNet-50's weights, and the seconds to write it to the disk and to
    read it from there; None without room."""
    weights = ResNet50().state_dict()
    size = sum(one.numel() * one.element_size() for one in weights.values())
    folder = tempfile.gettempdir()
    stat = os.statvfs(folder)
    if stat.f_bavail * stat.f_frsize < CHECKPOINT_ROOM * size:
        return {"checkpoint_bytes": size}
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        torch.save(weights, file)
        file.flush()
        os.fsync(file.fileno())
        written_s = time.perf_counter() - started
        _forget(file.fileno())
        started = time.perf_counter()
        torch.load(file.name, map_location="cpu", weights_only=True)
        read_s = time.perf_counter() - started
    return {"checkpoint_bytes": size, "checkpoint_write_s": written_s, "checkpoint_read_s": read_s}


def _forget(fd: int) -> None:
    """Have a file read from the disk and not from the page cache, as far as Linux lets us."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
