"""Published rates of ResNet-50, and what it costs.

Every record says where it was read and when; `None` means that no source was found, and is never to
be read as "no".
"""

from envdoctor.record import Record


class ResnetModel(Record):
    """What ResNet-50 v1.5 costs at 224 x 224: parameters, 10^9 multiply-adds, 10^9 operations."""

    parameters: int
    forward_macs_g: float
    train_step_gflop_per_image: float
    source: str
    retrieved: str


class ResnetReference(Record):
    """A published ResNet-50 training rate of one GPU, images per second.

    `gpu` is the model in gpus.json where it is one of those, `system` what the source calls it.
    `tier` says how good a reference it is. `date` is that of the measurement, None where unsaid.
    """

    gpu: str
    system: str
    precision: str
    images_per_s_per_gpu: float
    tier: str
    source: str
    retrieved: str
    framework: str | None = None
    memory_format: str | None = None
    batch: str | None = None
    dataset: str | None = None
    date: str | None = None
    runs: tuple[float, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    notes: tuple[str, ...] = ()


class ReferencesFile(Record):
    """references.json."""

    as_of: str
    resnet50: ResnetModel
    training: tuple[ResnetReference, ...]
