"""What a calibration measured, and nothing that follows from it: see facts.assessment for that."""

from typing import Literal, get_args

import msgspec

from envdoctor.facts.base import Fact
from envdoctor.record import Record

__all__ = [
    "MODELS",
    "PRECISIONS",
    "BatchAdvice",
    "BusyProcess",
    "Calibration",
    "CalibrationBaseline",
    "CalibrationRun",
    "Ceiling",
    "Conditions",
    "DecodeRate",
    "Decoder",
    "InputPipeline",
    "LeftOut",
    "MemoryFormat",
    "Model",
    "Precision",
    "Settings",
    "Spread",
    "Telemetry",
]


Unit = Literal["images/s", "tokens/s"]
Model = Literal["resnet50", "gpt2"]
"""The networks that can be trained: ResNet-50, and GPT-2 with 124 million parameters."""

UNITS: dict[Model, Unit] = {"resnet50": "images/s", "gpt2": "tokens/s"}
MODELS: tuple[Model, ...] = get_args(Model)
NAMES: dict[Model, str] = {"resnet50": "ResNet-50", "gpt2": "GPT-2 124M"}
"""What people call them."""

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MemoryFormat = Literal["channels_last", "contiguous"]
Decoder = Literal["pillow", "torchvision.io"]


class Spread(Record):
    """A measured or predicted figure: its median and the interval from `low` to `high`.

    For a measured rate the interval is meant to hold the median of the next run as well.
    """

    median: float
    low: float
    high: float


class Settings(Record):
    """What is asked of a calibration.

    `model` is the network that is trained. `devices` and `precisions` empty: all that the target
    has. `budget_s` null: 28 s for the CPU in all and 10 s for each precision of each GPU.
    `usable_cpus` null: the worker measures it. `batch_size` null: chosen by measurement.
    `shm_free_bytes`: free in /dev/shm, null without one, measured before the worker starts.
    `all_reduce`: between two CPU processes with gloo. `what_if` are the GPUs to predict, `data` a
    folder of images to read, `training_rate` the images/s that the user's own training reaches
    here; these are of ResNet-50 alone.
    """

    volatile = frozenset({"shm_free_bytes"})

    model: Model = "resnet50"
    devices: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ()
    batch_size: int | None = None
    compile: bool = False
    budget_s: float | None = None
    usable_cpus: float | None = None
    memory_limit_bytes: int | None = None
    shm_free_bytes: int | None = None
    ceilings: bool = True
    pipeline: bool = True
    all_reduce: bool = False
    what_if: tuple[str, ...] = ()
    data: str | None = None
    training_rate: float | None = None


class BusyProcess(Record):
    """A program that used CPUs while was measured: `cpus` of them on average."""

    pid: int
    name: str
    cpus: float


class Conditions(Record):
    """Under which conditions was measured. Null is unknown.

    `others_cpus`: so many CPUs were used by others when measuring began, and kept in use while they
    were waited for, so that fewer threads were used. `busy` are the programs that took most, as far
    as they are seen from here.

    `onednn`: whether torch computes with it. `cpu_features`: those of the CPU that decide how fast
    dense arithmetic is. `cpu_clock_mhz` as Linux tells it. `thread_gain`: how many times as fast a
    matrix product is on all threads as on one. `denormal_cost`: how many times as long arithmetic
    on denormal numbers takes.

    `threads` is what torch used, `default_threads` what it would have used by itself;
    `noise_pct` is the spread of a fixed small kernel on this machine, in per cent of its median.
    """

    volatile = frozenset(
        {
            "started_at",
            "noise_pct",
            "load_average",
            "seconds",
            "others_cpus",
            "busy",
            "threads",
            "cpu_clock_mhz",
            "thread_gain",
            "denormal_cost",
        }
    )

    started_at: str
    torch_version: str | None = None
    python_version: str | None = None
    cuda: str | None = None
    hip: str | None = None
    cpu_name: str | None = None
    threads: int | None = None
    default_threads: int | None = None
    usable_cpus: float | None = None
    noise_pct: float | None = None
    load_average: float | None = None
    others_cpus: float | None = None
    busy: tuple[BusyProcess, ...] = ()
    onednn: bool | None = None
    cpu_features: tuple[str, ...] = ()
    cpu_clock_mhz: float | None = None
    thread_gain: float | None = None
    denormal_cost: float | None = None
    seconds: float = 0.0


class Telemetry(Record):
    """What NVML said while a run was timed. Clocks in MHz, power in W, temperatures in °C.

    `throttle_shares` says in which share of the samples a throttle reason was active, by NVML's
    names. `other_processes` were on the GPU before the calibration started, `other_process_bytes`
    of its memory were in use and it was busy in `busy_before_pct` of the time then; of a MIG slice
    these are not known, as NVML gives them for the whole GPU.
    """

    volatile = frozenset(
        {
            "samples",
            "sm_clock_mhz",
            "power_w",
            "temperature_c",
            "throttle_shares",
            "other_process_bytes",
            "other_processes",
            "busy_before_pct",
            "utilization_pct",
        }
    )

    samples: int
    sm_clock_mhz: Spread | None = None
    max_sm_clock_mhz: int | None = None
    power_w: Spread | None = None
    power_limit_w: float | None = None
    power_default_limit_w: float | None = None
    temperature_c: int | None = None
    throttle_shares: dict[str, float] = msgspec.field(default_factory=dict)
    pcie_generation: int | None = None
    pcie_max_generation: int | None = None
    pcie_width: int | None = None
    pcie_max_width: int | None = None
    other_process_bytes: int | None = None
    other_processes: int | None = None
    busy_before_pct: int | None = None
    utilization_pct: int | None = None
    ecc_mode: bool | None = None
    mig_mode: bool | None = None


class CalibrationRun(Record):
    """One training run on synthetic data: forward, backward, and a step of the optimizer.

    Of ResNet-50 on 224x224 images, with SGD: `images_per_s` and `memory_format` are known. Of GPT-2
    124M on sequences of `sequence_length` tokens, with AdamW: `tokens_per_s` is. What is not of the
    `model` is null, and a batch is of images or of sequences.

    `at_least`: others had the CPUs all the while, or no more than the first steps were done in the
    time that was planned, so that the machine by itself does no less than this. `waited_share` is
    the median share of the time of a step that the threads waited for a CPU, `others_cpus` how many
    CPUs others used. Null on a GPU, and where Linux does not say.

    `device` is torch's name (`cpu`, `cuda:0`). `ms_per_step` is the median; `peak_memory_bytes` is
    resident memory of the process on a CPU and the most memory of tensors after the warm-up on a
    GPU. `stable` says that the confidence interval of the median was within 3 %.

    `host_share` is the time that the host needs to hand one step to a GPU, over the time that the
    GPU takes for it; near 1 the GPU waits for launches. Null where that is not told apart: on a
    CPU, and in fp16, whose loss scaling waits for the GPU.

    `first_step_s` is how long the first step of the run took, which allocates memory and chooses
    algorithms, and searched for them where it did; `compile_s` is by how much that of a compiled
    run exceeded a later one. Null where it was not told, or was not compiled.

    `cudnn_search`: whether cuDNN searched for its fastest kernels, as it does with
    `torch.backends.cudnn.benchmark`; or there was no time for that, and the rate may be lower for
    it. Null where there is no choice.
    """

    volatile = frozenset(
        {
            "steps",
            "warmup_steps",
            "images_per_s",
            "tokens_per_s",
            "first_step_s",
            "compile_s",
            "ms_per_step",
            "tflops",
            "stable",
            "peak_memory_bytes",
            "host_share",
            "at_least",
            "waited_share",
            "others_cpus",
            "cudnn_search",
        }
    )

    device: str
    device_name: str
    precision: Precision
    model: Model = "resnet50"
    memory_format: MemoryFormat | None
    compiled: bool
    batch_size: int
    sequence_length: int | None = None
    steps: int
    images_per_s: Spread | None
    tokens_per_s: Spread | None = None
    ms_per_step: float
    first_step_s: float | None = None
    compile_s: float | None = None
    peak_memory_bytes: int | None
    tflops: float
    stable: bool
    warmup_steps: int = 0
    host_share: float | None = None
    at_least: bool = False
    waited_share: float | None = None
    others_cpus: float | None = None
    telemetry: Telemetry | None = None
    note: str = ""
    cudnn_search: bool | None = None

    def __post_init__(self) -> None:
        if self.images_per_s is None and self.tokens_per_s is None:
            raise ValueError("a run has a rate, of images or of tokens")

    @property
    def rate(self) -> Spread:
        """What is done in a second, in the `unit` of the network."""
        rate = self.images_per_s or self.tokens_per_s
        assert rate is not None
        return rate

    @property
    def samples(self) -> str:
        """What a batch is of."""
        return "sequences" if self.images_per_s is None else "images"

    @property
    def unit(self) -> Unit:
        """What the rate counts."""
        return UNITS["gpt2" if self.images_per_s is None else "resnet50"]


class LeftOut(Record):
    """A run or measurement that was not made, or not finished, and why.

    `failed` is false for what the device does not offer or the user did not want.
    """

    device: str
    what: str
    reason: str
    failed: bool


class BatchAdvice(Record):
    """Which batch fits into a GPU, predicted linearly from two small ones; sizes in images, or in
    sequences where `bytes_per_sequence` is not null."""

    volatile = frozenset(
        {
            "bytes_per_image",
            "bytes_per_sequence",
            "bytes_fixed",
            "free_bytes",
            "chosen",
            "largest_safe",
            "advice",
        }
    )

    device: str
    precision: Precision
    bytes_per_image: int | None
    bytes_per_sequence: int | None = None
    bytes_fixed: int
    free_bytes: int
    chosen: int
    largest_safe: int
    advice: str = ""


class Ceiling(Record):
    """A limit of the hardware as measured; 1 GB is 10**9 bytes."""

    volatile = frozenset({"value"})

    device: str
    name: str
    value: Spread
    unit: Literal["TFLOP/s", "GB/s", "µs"]
    detail: str = ""


class DecodeRate(Record):
    """Images per second that `workers` processes decode and augment together.

    `first_batch_s`: seconds from the loop's start to its first batch, which every epoch waits for
    anew unless the workers are persistent; the workers are forked.
    """

    volatile = frozenset({"images_per_s", "first_batch_s"})

    workers: int
    images_per_s: Spread
    first_batch_s: float | None = None


class InputPipeline(Record):
    """The input pipeline: JPEG decode, random-resized crop, flip, normalise.

    `decoder` is what the target has, null if nothing, then `missing` says what to install. Reads
    in bytes per second of `data`, if that was given.
    """

    volatile = frozenset(
        {"data_read_bytes_per_s", "data_files_read", "checkpoint_write_s", "checkpoint_read_s"}
    )

    decoder: Decoder | None
    missing: str = ""
    rates: tuple[DecodeRate, ...] = ()
    image_source: str = ""
    mean_image_bytes: int | None = None
    data: str | None = None
    data_read_bytes_per_s: float | None = None
    data_files_read: int | None = None
    checkpoint_bytes: int | None = None
    checkpoint_write_s: float | None = None
    checkpoint_read_s: float | None = None

    @property
    def decoding_rate(self) -> float | None:
        """The highest median rate over the numbers of workers; None if none was measured."""
        return max((rate.images_per_s.median for rate in self.rates), default=None)

    @property
    def reading_rate(self) -> float | None:
        """Images per second that the disk of `data` gives in one sequential read; None if that
        was not measured."""
        if self.data_read_bytes_per_s is None or not self.mean_image_bytes:
            return None
        return self.data_read_bytes_per_s / self.mean_image_bytes

    @property
    def disk_bound(self) -> bool:
        """Whether reading is slower than decoding."""
        reading, decoding = self.reading_rate, self.decoding_rate
        return reading is not None and decoding is not None and reading < decoding

    @property
    def feeding_rate(self) -> float | None:
        """The rate of the slower part, images per second; None if no decoding was measured."""
        return self.reading_rate if self.disk_bound else self.decoding_rate


TIME_RAN_OUT = "time ran out (`--timeout`)"
"""Why a measurement is incomplete that the time of the whole run has cut."""


_IDLE_CPUS = 0.15
"""Less of a CPU is what any system uses for itself."""


class Calibration(Fact):
    """The training speed of this machine with this target, as measured.

    `complete` is false when the user interrupted (`interrupted`), the worker died or ran out of
    time; what was measured until then is kept and `incomplete_because` gives the reason.
    """

    runs: tuple[CalibrationRun, ...]
    settings: Settings
    conditions: Conditions
    complete: bool
    incomplete_because: str = ""
    interrupted: bool = False
    left_out: tuple[LeftOut, ...] = ()
    batches: tuple[BatchAdvice, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    pipeline: InputPipeline | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it came to its end, or to that which the user gave it."""
        return self.complete or self.interrupted

    @property
    def figures(self) -> tuple[CalibrationRun, ...]:
        """The runs that say what the machine does, and can be compared."""
        return tuple(run for run in self.runs if not run.at_least)

    @property
    def bounds(self) -> tuple[CalibrationRun, ...]:
        """The runs that are no figures, but the least that the machine does."""
        return tuple(run for run in self.runs if run.at_least)

    @property
    def cpus_of_others(self) -> float:
        """How many CPUs others used, so that runs are bounds; 0 where these have another reason."""
        if not self.bounds:
            return 0.0
        used = [self.conditions.others_cpus, *(run.others_cpus for run in self.bounds)]
        most = max((one for one in used if one is not None), default=0.0)
        return most if most > _IDLE_CPUS else 0.0


class CalibrationBaseline(Fact):
    """An older calibration that the present one is compared with, and the file it is from."""

    path: str
    calibration: Calibration
