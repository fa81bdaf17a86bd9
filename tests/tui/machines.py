"""Machines made by hand, as reports: synthetic, built from the typed records.

Their codes and checks are few and their own, so that the view is tested whatever checks there are.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from envdoctor.api import (
    Code,
    CudaInit,
    Driver,
    Evidence,
    Fact,
    Finding,
    FirstUse,
    Fix,
    Gpu,
    Gpus,
    Host,
    Installer,
    Interpreter,
    Layer,
    Nvml,
    Observed,
    PciDevice,
    PciGpus,
    Safety,
    Severity,
    Snapshot,
    Target,
    Topic,
    TorchBuild,
    TorchDevice,
    TorchFirstUse,
    TorchImport,
    TorchRuntime,
)
from envdoctor.conclusion import conclude, verdict_of
from envdoctor.engine import derive_facts
from envdoctor.facts import Reason, Unknown
from envdoctor.facts.assessment import Assessment, Epoch, ExpectedRate, FeedRate, Speedup
from envdoctor.facts.calibration import (
    Calibration,
    CalibrationRun,
    Conditions,
    DecodeRate,
    InputPipeline,
    Settings,
    Spread,
    Telemetry,
)
from envdoctor.facts.documents import facts_to_builtins
from envdoctor.facts.libraries import LibraryResolution, Offer, Owner, Problem, ResolvedLibrary
from envdoctor.facts.python import Candidate
from envdoctor.facts.torch import ComponentVersion, CudaComponents
from envdoctor.findings import exit_code_of
from envdoctor.gpus import driver_release, gpu_trace
from envdoctor.outcomes import outcomes_of, wanted_gpu
from envdoctor.report import CheckRecord, ExaminedTarget, Report, stack_of
from tests.support.diagnosis import services

PYTHON = "~/train/.venv/bin/python"
WHEN = "2026-01-02T03:04:05+00:00"


def code(
    id_: str,
    name: str,
    message: str,
    topic: Topic,
    layer: Layer,
    breaks: str | None = None,
    severity: Severity = Severity.ERROR,
) -> Code:
    return Code(
        id=id_,
        name=name,
        family=name,
        severity=severity,
        topic=topic,
        layer=layer,
        breaks=breaks,
        message=name.replace("-", " "),
        detailed=message,
    )


DRIVER_TOO_OLD = code(
    "ED201",
    "driver-too-old",
    "driver {release} is too old for torch {version}, which is built with CUDA {cuda} and "
    "needs a driver >= {minimum}",
    "driver",
    Layer.KERNEL_MODULE,
    "compute:gpu",
)
CUDA_INIT_FAILED = code(
    "ED212",
    "cuda-init-failed",
    "cuInit fails with {status}",
    "driver",
    Layer.CUDA_INIT,
    "compute:gpu",
)
CUDA_UNAVAILABLE = code(
    "ED411",
    "cuda-unavailable",
    "torch {version} sees no GPU: {error}",
    "torch",
    Layer.FIRST_USE,
    "compute:gpu",
)
SHM_TOO_SMALL = code(
    "ED503",
    "shm-too-small",
    "/dev/shm holds {size}, which data loader workers fill quickly",
    "container",
    Layer.SPEED,
    severity=Severity.WARNING,
)
MISSING_LIBCUDART = code(
    "ED300",
    "missing-libcudart",
    "`{library}` wants `{soname}`, and no directory that the loader searches has it",
    "libraries",
    Layer.LIBRARIES,
    "import:torch",
)
IMPORT_FAILED = code(
    "ED401",
    "torch-import-failed",
    "`import torch` raises {exception}: {text}",
    "torch",
    Layer.IMPORT,
    "import:torch",
)
IMPORT_HANGS = code(
    "ED403",
    "torch-import-hangs",
    "`import torch` gave no answer within {seconds} s",
    "torch",
    Layer.IMPORT,
    "import:torch",
)
POWER_CAP = code(
    "ED600",
    "gpu-power-cap",
    "GPU 1 is capped at {limit} W, its default is {default} W",
    "speed",
    Layer.SPEED,
    severity=Severity.WARNING,
)
NO_GPU = code(
    "ED412",
    "no-nvidia-gpu",
    "no NVIDIA GPU is visible",
    "driver",
    Layer.BUS,
    "compute:gpu",
    Severity.INFO,
)

CODES = (
    DRIVER_TOO_OLD,
    CUDA_INIT_FAILED,
    CUDA_UNAVAILABLE,
    SHM_TOO_SMALL,
    MISSING_LIBCUDART,
    IMPORT_FAILED,
    IMPORT_HANGS,
    POWER_CAP,
    NO_GPU,
)

CHECKS: tuple[tuple[str, Topic, tuple[str, ...]], ...] = (
    ("driver-too-old", "driver", ("ED201",)),
    ("cuda-init", "driver", ("ED212",)),
    ("driver-not-loaded", "driver", ("ED200",)),
    ("missing-libraries", "libraries", ("ED300", "ED301")),
    ("cudnn-pin", "libraries", ("ED350",)),
    ("nccl-pin", "libraries", ("ED360",)),
    ("torch-import", "torch", ("ED401", "ED402", "ED403", "ED404")),
    ("cuda-unavailable", "torch", ("ED411", "ED412")),
    ("damaged-install", "python", ("ED100",)),
    ("shm-too-small", "container", ("ED503",)),
    ("gpu-slower-than-expected", "speed", ("ED600", "ED601")),
)

HOST = Host(
    os="Ubuntu 22.04.5 LTS",
    os_id="ubuntu",
    os_version="22.04",
    kernel="5.15.0",
    machine="x86_64",
    glibc="2.35",
    cpu_name="a CPU made by hand",
    cpu_flags=(),
    logical_cpus=8,
    physical_cpus=4,
    memory_bytes=64 * 2**30,
    memory_available_bytes=48 * 2**30,
)


def _interpreter() -> Interpreter:
    return Interpreter(
        executable=PYTHON,
        version="3.11.7",
        version_info=(3, 11, 7),
        implementation="cpython",
        soabi=None,
        machine="x86_64",
        prefix="~/train/.venv",
        base_prefix="/usr",
        sys_path=(),
        site_packages=("~/train/.venv/lib/python3.11/site-packages",),
        user_site=None,
        user_site_enabled=False,
        safe_path=False,
        stdlib="/usr/lib/python3.11",
        cwd="~/train",
    )


def _target() -> Target:
    return Target(
        path=PYTHON,
        chosen_because="VIRTUAL_ENV: the first with a torch on disk",
        passed_over=(
            Candidate(path="/usr/bin/python3", origin="`python3` on PATH", torch_on_disk=False),
        ),
    )


def _build(version: str, cuda: str | None) -> TorchBuild:
    return TorchBuild(
        version=version,
        cuda=cuda,
        hip=None,
        path="~/train/.venv/lib/python3.11/site-packages/torch",
        variant="cpu" if cuda is None else f"cu{cuda.replace('.', '')}",
        version_source="~/train/.venv/lib/python3.11/site-packages/torch/version.py",
    )


def _components(cuda: str) -> CudaComponents:
    versions = (("cudart", cuda), ("cudnn", "9.5.1"), ("nccl", "2.21.5"))
    return CudaComponents(
        items=tuple(
            ComponentVersion(component=name, version=version, source="dist-info")
            for name, version in versions
        )
    )


def _gpu(index: int, name: str, capability: str, memory: int, **more: Any) -> Gpu:
    return Gpu(
        index=index,
        name=name,
        uuid=f"GPU-{index}",
        compute_capability=capability,
        memory_bytes=memory,
        **more,
    )


def _bus(*device_ids: str) -> PciGpus:
    return PciGpus(
        devices=tuple(
            PciDevice(
                address=f"0000:{place + 1:02x}:00.0",
                vendor_id="10de",
                device_id=device_id,
                driver="nvidia",
            )
            for place, device_id in enumerate(device_ids)
        )
    )


def _runtime(version: str, cuda: str | None, *gpus: Gpu, error: str | None = None) -> TorchRuntime:
    """Torch as it lists these GPUs."""
    devices = tuple(
        TorchDevice(
            index=gpu.index,
            name=gpu.name,
            compute_capability=gpu.compute_capability or "",
            memory_bytes=gpu.memory_bytes or 0,
        )
        for gpu in gpus
    )
    return TorchRuntime(
        version=version,
        cuda=cuda,
        hip=None,
        cuda_available=bool(devices),
        device_count=len(devices),
        devices=devices,
        cuda_error=error,
    )


def _used(*gpus: Gpu) -> TorchFirstUse:
    devices = ("cpu", *(f"cuda:{gpu.index}" for gpu in gpus))
    return TorchFirstUse(
        operations=tuple(FirstUse(device=device, operation="matmul") for device in devices)
    )


IMPORTED = TorchImport(
    outcome="ok",
    seconds=2.0,
    file="/home/ann/train/.venv/lib/python3.11/site-packages/torch/__init__.py",
    version="2.6.0+cu124",
)
NOT_REACHED = Unknown(reason=Reason.NOT_APPLICABLE, detail="`import torch` did not succeed")
LATE = Unknown(reason=Reason.TIMED_OUT, detail="no answer within 20 s")
NO_NVML = Unknown(reason=Reason.NOT_APPLICABLE, detail="NVML: no library")
_AFTER_THE_IMPORT = (TorchRuntime, TorchFirstUse)


def derived(snapshot: Snapshot) -> Snapshot:
    """The facts with what follows from them, but for what a calibration means."""
    return derive_facts((driver_release, gpu_trace, wanted_gpu), snapshot, services())


def _report(
    facts: Iterable[Fact],
    findings: Iterable[Finding] = (),
    skipped: dict[str, str] | None = None,
    unknown: dict[type[Fact], Unknown] | None = None,
) -> Report:
    """The report that such facts and findings make, with the outcomes of the program itself."""
    always = (HOST, _interpreter(), _target(), Installer(name="pip", evidence="INSTALLER"))
    seen = {type(fact): Observed(value=fact, source="made by hand") for fact in (*always, *facts)}
    observed = Snapshot({**seen, **(unknown or {})})
    snapshot = derived(observed)
    ranked, outcomes = conclude(findings, outcomes_of(snapshot), CODES)
    verdict = verdict_of(ranked, outcomes, narrowed=False)
    target = _target()
    return Report(
        created_at=WHEN,
        target=ExaminedTarget(
            path=target.path, chosen_because=target.chosen_because, passed_over=target.passed_over
        ),
        stack=stack_of(snapshot),
        verdict=verdict,
        exit_code=exit_code_of(ranked, verdict),
        outcomes=outcomes,
        findings=ranked,
        checks=tuple(_check(*one, (skipped or {}).get(one[0])) for one in CHECKS),
        calibration=snapshot.value(Calibration),
        assessment=snapshot.value(Assessment),
        facts=facts_to_builtins(snapshot),
    )


def _check(name: str, topic: Topic, codes: tuple[str, ...], reason: str | None) -> CheckRecord:
    if reason is None:
        return CheckRecord(name=name, topic=topic, status="ran", codes=codes, seconds=0.0002)
    said = re.search(r"is unknown \((.*?)\)", reason)
    return CheckRecord(
        name=name,
        topic=topic,
        status="skipped",
        codes=codes,
        reason=reason,
        unknown=Reason(said[1]) if said else None,
    )


_NO_GPUS = "Gpus is unknown (not-applicable): NVML: no library"
_NOT_MEASURED = "Calibration is unknown (not-observed): no probe observed it"


def healthy_cpu() -> Report:
    """A CPU build of torch on a machine without a GPU: nothing to repair."""
    facts = (
        _build("2.13.0+cpu", None),
        _runtime("2.13.0+cpu", None),
        IMPORTED,
        _used(),
        _bus(),
        Driver(loaded=False, release=None),
        Nvml(status="NVML_ERROR_LIBRARY_NOT_FOUND"),
    )
    skipped = {"driver-too-old": _NO_GPUS, "gpu-slower-than-expected": _NOT_MEASURED}
    return _report(facts, (NO_GPU.finding(),), skipped, {Gpus: NO_NVML})


def broken_driver() -> Report:
    """Driver 470 under a torch built with CUDA 12.4: two consequences, and a warning beside it."""
    build = _build("2.6.0+cu124", "12.4")
    driver = Driver(loaded=True, release="470.82.01", release_source="/proc/driver/nvidia/version")
    nvml = Nvml(status="ok", driver_release="470.82.01", driver_cuda="11.4")
    gpus = Gpus(devices=(_gpu(0, "NVIDIA A100-SXM4-40GB", "8.0", 40 * 2**30),))
    too_old = DRIVER_TOO_OLD.finding(
        release="470.82.01",
        version="2.6.0+cu124",
        cuda="12.4",
        minimum="525.60.13",
        evidence=(
            Evidence(
                label="driver release", value="470.82.01", source="/proc/driver/nvidia/version"
            ),
            Evidence(label="torch.version.cuda", value="12.4", source=build.version_source),
        ),
        fixes=(
            Fix(
                summary="update the NVIDIA driver to 525.60.13 or later",
                commands=("sudo apt install nvidia-driver-535-server",),
                safety=Safety.NEEDS_ROOT,
            ),
            Fix(
                summary="or keep torch 2.6.0 in the build that this driver can run",
                commands=(
                    "pip install torch==2.6.0 --index-url https://download.pytorch.org/whl/cu118",
                ),
                safety=Safety.CHANGES_ENV,
            ),
        ),
        notes=(
            "CUDA 12.x runs on any driver >= 525.60.13 (minor-version compatibility, CUDA "
            "release notes)",
        ),
    )
    init = CUDA_INIT_FAILED.finding(
        status="CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)",
        evidence=(Evidence(label="cuInit", value="803", source="libcuda.so.1"),),
    )
    unavailable = CUDA_UNAVAILABLE.finding(
        version="2.6.0+cu124", error="the NVIDIA driver on your system is too old"
    )
    facts = (
        build,
        driver,
        nvml,
        gpus,
        _bus("20b0"),
        CudaInit(status="CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", code=803, library="libcuda.so.1"),
        IMPORTED,
        _runtime("2.6.0+cu124", "12.4", error="RuntimeError: the NVIDIA driver is too old"),
        _used(),
        _components("12.4.127"),
    )
    found = (_small_shm(), unavailable, init, too_old)
    return _report(facts, found, {"gpu-slower-than-expected": _NOT_MEASURED})


def _small_shm() -> Finding:
    return SHM_TOO_SMALL.finding(
        size="64 MiB",
        fixes=(
            Fix(
                summary="start the container with more shared memory",
                commands=("docker run --shm-size=8g ...",),
                safety=Safety.SAFE,
            ),
        ),
    )


def driver_silent() -> Report:
    """NVML and torch's first CUDA call give no answer, so that errors of the driver may hide; a
    warning beside it."""
    build = _build("2.6.0+cu124", "12.4")
    driver = Driver(loaded=True, release="550.54.15", release_source="/proc/driver/nvidia/version")
    silent = f"is unknown (timed-out): {LATE.detail}"
    skipped = {
        "gpu-slower-than-expected": _NOT_MEASURED,
        "cudnn-pin": "LibraryResolution is unknown (not-applicable): the target is not for Linux",
        "driver-too-old": f"Nvml {silent}",
        "driver-not-loaded": f"Nvml {silent}",
        "cuda-init": f"Gpus {silent}",
    }
    facts = (build, driver, _bus("20b0"), IMPORTED, _components("12.4.127"))
    unseen: dict[type[Fact], Unknown] = dict.fromkeys((Gpus, Nvml, *_AFTER_THE_IMPORT), LATE)
    return _report(facts, (_small_shm(),), skipped, unseen)


def import_hangs() -> Report:
    """`import torch` never ends: what comes after it cannot be looked at."""
    build = _build("2.6.0+cu124", "12.4")
    driver = Driver(loaded=True, release="550.54.15")
    nvml = Nvml(status="ok", driver_release="550.54.15", driver_cuda="12.4")
    gpus = Gpus(devices=(_gpu(0, "NVIDIA L4", "8.9", 24 * 2**30),))
    hangs = IMPORT_HANGS.finding(
        seconds=90,
        evidence=(
            Evidence(
                label="it waits in",
                value='File "~/train/.venv/lib/python3.11/site-packages/torch/__init__.py", '
                "line 240 in _preload_cuda_deps",
                source="faulthandler",
            ),
        ),
        fixes=(
            Fix(
                summary="see the whole output of the import",
                commands=(f"{PYTHON} -X faulthandler -c 'import torch'",),
                safety=Safety.SAFE,
            ),
        ),
    )
    unknown = f"TorchRuntime is unknown (not-applicable): {NOT_REACHED.detail}"
    skipped = dict.fromkeys(("cuda-unavailable", "cudnn-pin", "nccl-pin"), unknown)
    hung = TorchImport(outcome="hang", seconds=90.0, message="no answer within the time limit")
    facts = (build, driver, nvml, gpus, _bus("27b8"), hung, _components("12.4.127"))
    return _report(facts, (hangs,), skipped, dict.fromkeys(_AFTER_THE_IMPORT, NOT_REACHED))


def missing_libcudart() -> Report:
    """libcudart is gone, so that torch cannot be imported; the driver is fine."""
    build = _build("2.6.0+cu124", "12.4")
    driver = Driver(loaded=True, release="550.54.15")
    nvml = Nvml(status="ok", driver_release="550.54.15", driver_cuda="12.4")
    gpus = Gpus(devices=(_gpu(0, "NVIDIA L4", "8.9", 24 * 2**30),))
    missing = MISSING_LIBCUDART.finding(
        library="libtorch_cuda.so",
        soname="libcudart.so.12",
        evidence=(
            Evidence(
                label="NEEDED",
                value="libcudart.so.12",
                source="~/train/.venv/lib/python3.11/site-packages/torch/lib/libtorch_cuda.so",
            ),
        ),
        fixes=(
            Fix(
                summary="restore the wheel that owns the library",
                commands=(
                    "pip install --force-reinstall --no-deps nvidia-cuda-runtime-cu12==12.4.127",
                ),
                safety=Safety.CHANGES_ENV,
            ),
        ),
    )
    failed = IMPORT_FAILED.finding(
        exception="ImportError",
        text="libcudart.so.12: cannot open shared object file: No such file or directory",
    )
    components = CudaComponents(
        items=(
            ComponentVersion(component="cudnn", version="9.1.0", source="dist-info"),
            ComponentVersion(component="nccl", version="2.21.5", source="dist-info"),
        )
    )
    reason = f"TorchRuntime is unknown (not-applicable): {NOT_REACHED.detail}"
    skipped = dict.fromkeys(("cuda-unavailable", "nccl-pin"), reason)
    raised = TorchImport(
        outcome="exception",
        seconds=0.4,
        exception="ImportError",
        message="libcudart.so.12: cannot open shared object file: No such file or directory",
    )
    facts = (build, driver, nvml, gpus, _bus("27b8"), raised, components, _resolution())
    unseen: dict[type[Fact], Unknown] = dict.fromkeys(_AFTER_THE_IMPORT, NOT_REACHED)
    return _report(facts, (failed, missing), skipped, unseen)


def _resolution() -> LibraryResolution:
    site = "~/train/.venv/lib/python3.11/site-packages"
    torch = Owner(kind="wheel", name="torch", version="2.6.0", intact=True)
    root = f"{site}/torch/_C.cpython-311-x86_64-linux-gnu.so"

    def of_torch(name: str, *needed_by: str) -> ResolvedLibrary:
        folder = f"{site}/torch/lib"
        return ResolvedLibrary(
            soname=name,
            path=f"{folder}/{name}",
            rule="RPATH",
            directory=folder,
            needed_by=needed_by,
            owner=torch,
        )

    return LibraryResolution(
        root=root,
        import_error="libcudart.so.12: cannot open shared object file",
        libraries=(
            ResolvedLibrary(
                soname="libc.so.6",
                path="/lib/x86_64-linux-gnu/libc.so.6",
                rule="ld.so.cache",
                needed_by=(f"{site}/torch/lib/libtorch_cuda.so", "~/train/.venv/bin/python"),
                when="start",
            ),
            ResolvedLibrary(soname=root.rpartition("/")[2], path=root, owner=torch),
            of_torch("libtorch_python.so", root),
            of_torch("libtorch_cuda.so", f"{site}/torch/lib/libtorch_python.so"),
            of_torch(
                "libc10.so",
                f"{site}/torch/lib/libtorch_python.so",
                f"{site}/torch/lib/libtorch_cuda.so",
            ),
            ResolvedLibrary(
                soname="libcudart.so.12",
                path=None,
                needed_by=(f"{site}/torch/lib/libtorch_cuda.so",),
                problems=(
                    Problem(
                        kind="missing",
                        library="libcudart.so.12",
                        needed_by=f"{site}/torch/lib/libtorch_cuda.so",
                    ),
                ),
            ),
            ResolvedLibrary(
                soname="libcudnn_graph.so.9",
                path="/opt/cudnn/lib/libcudnn_graph.so.9",
                rule="LD_LIBRARY_PATH",
                directory="/opt/cudnn/lib",
                needed_by=("libcudnn.so.9",),
                how="dlopen",
                when="query",
                version="9.5.1",
                clean_path=f"{site}/nvidia/cudnn/lib/libcudnn_graph.so.9",
                alternatives=(
                    Offer(path=f"{site}/nvidia/cudnn/lib/libcudnn_graph.so.9", rule="RPATH"),
                ),
            ),
        ),
    )


def two_gpus() -> Report:
    """Two GPUs with a calibration; the second is capped. All rates are made up."""
    build = _build("2.13.0+cu126", "12.6")
    driver = Driver(loaded=True, release="560.35.03")
    nvml = Nvml(status="ok", driver_release="560.35.03", driver_cuda="12.6")
    gpus = Gpus(
        devices=tuple(_gpu(index, "NVIDIA A100-SXM4-80GB", "8.0", 80 * 2**30) for index in range(2))
    )
    capped = POWER_CAP.finding(
        subjects=("gpu:1",),
        limit=250,
        default=400,
        evidence=(Evidence(label="power limit", value="250 W", source="NVML"),),
        fixes=(
            Fix(
                summary="restore the default power limit",
                commands=("sudo nvidia-smi -i 1 -pl 400",),
                safety=Safety.NEEDS_ROOT,
            ),
        ),
    )
    facts = (
        build,
        driver,
        nvml,
        gpus,
        _bus("20b2", "20b2"),
        IMPORTED,
        _runtime("2.13.0+cu126", "12.6", *gpus.devices),
        _used(*gpus.devices),
        _components("12.6.77"),
        calibration(),
        assessment(),
    )
    return _report(facts, (capped,))


def spread(median: float, width: float = 0.02) -> Spread:
    return Spread(median=median, low=median * (1 - width), high=median * (1 + width))


def _run(device: str, precision: str, rate: float, telemetry: Telemetry | None) -> CalibrationRun:
    on_cpu = device == "cpu"
    return CalibrationRun(
        device=device,
        device_name="a CPU made by hand" if on_cpu else "NVIDIA A100-SXM4-80GB",
        precision=precision,
        memory_format="channels_last",
        compiled=False,
        batch_size=8 if on_cpu else 256,
        steps=40,
        images_per_s=spread(rate),
        ms_per_step=1000.0 * (8 if on_cpu else 256) / rate,
        peak_memory_bytes=2 * 2**30,
        tflops=rate * 24.6e-3,
        stable=True,
        telemetry=telemetry,
    )


def calibration() -> Calibration:
    """A finished calibration of a CPU and two GPUs; every number is made up."""
    full = Telemetry(
        samples=40,
        sm_clock_mhz=spread(1400.0),
        power_w=spread(390.0),
        power_limit_w=400.0,
        power_default_limit_w=400.0,
        temperature_c=61,
    )
    capped = Telemetry(
        samples=40,
        sm_clock_mhz=spread(1000.0),
        power_w=spread(249.0),
        power_limit_w=250.0,
        power_default_limit_w=400.0,
        temperature_c=52,
        throttle_shares={"sw-power-cap": 1.0},
    )
    rates = (
        ("cpu", "fp32", 20.0, None),
        ("cuda:0", "tf32", 800.0, full),
        ("cuda:0", "fp16", 2000.0, full),
        ("cuda:1", "tf32", 500.0, capped),
        ("cuda:1", "fp16", 1200.0, capped),
    )
    return Calibration(
        runs=tuple(_run(*rate) for rate in rates),
        settings=Settings(),
        conditions=Conditions(started_at=WHEN, torch_version="2.13.0+cu126", cpu_name="by hand"),
        complete=True,
        pipeline=InputPipeline(
            decoder="pillow",
            rates=tuple(
                DecodeRate(workers=workers, images_per_s=spread(rate))
                for workers, rate in ((1, 130.0), (2, 255.0), (4, 480.0))
            ),
        ),
    )


def assessment() -> Assessment:
    """What such a calibration would mean; every number is made up."""
    return Assessment(
        recommended_workers=4,
        feeds=(
            FeedRate(
                device="cuda:0",
                precision="fp16",
                wanted_images_per_s=2000.0,
                fed_images_per_s=480.0,
                waits=True,
                sentence=(
                    "this GPU will be idle part of the time: "
                    "2,000 images/s wanted, 480 fed by 4 CPUs"
                ),
            ),
        ),
        expected=tuple(
            ExpectedRate(
                device=device,
                device_name="NVIDIA A100-SXM4-80GB",
                precision="fp16",
                images_per_s=spread(2100.0, 0.1),
                basis="made up for this test",
                measured_over_expected=ratio,
                verdict=verdict,
            )
            for device, ratio, verdict in (
                ("cuda:0", 0.95, "as-expected"),
                ("cuda:1", 0.57, "slower"),
            )
        ),
        speedups=(
            Speedup(
                of="cuda:0 fp16",
                against="cpu fp32",
                kind="measured",
                ratio=spread(100.0),
                time_saved_pct=99.0,
                throughput_gain_pct=9900.0,
                sentence="100× faster, 99.0 % less time, +9900 %",
            ),
            Speedup(
                of="cuda:0 fp16",
                against="cuda:0 tf32",
                kind="measured",
                ratio=spread(2.5),
                time_saved_pct=60.0,
                throughput_gain_pct=150.0,
                sentence="2.5× faster, 60.0 % less time, +150 %",
            ),
        ),
        epochs=(
            Epoch(
                device="cuda:0",
                precision="fp16",
                kind="measured",
                compute_bound_s=640.6,
                pipeline_bound_s=2669.1,
                sentence="an ImageNet epoch takes 44 min, bound by the input pipeline",
            ),
        ),
    )


MACHINES: dict[str, Callable[[], Report]] = {
    "healthy_cpu": healthy_cpu,
    "broken_driver": broken_driver,
    "missing_libcudart": missing_libcudart,
    "two_gpus": two_gpus,
    "driver_silent": driver_silent,
    "import_hangs": import_hangs,
}


def document(report: Report) -> str:
    """The report as it lies in a file, marked as synthetic."""
    data = {**msgspec.to_builtins(report), "provenance": "synthetic"}
    data["tool"] = {**data["tool"], "version": "0"}
    return json.dumps(data, indent=1) + "\n"


def read(name: str) -> Report:
    """The report as it is read from its file."""
    return msgspec.json.decode(file_of(name).read_bytes(), type=Report)


@cache
def file_of(name: str) -> Path:
    """The report in a file, which lasts as long as the tests."""
    path = Path(_folder().name) / f"{name}.json"
    path.write_text(document(MACHINES[name]()), encoding="utf-8")
    return path


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="envdoctor-machines-")
