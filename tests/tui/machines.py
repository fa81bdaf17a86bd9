"""Machines made by hand, as reports: synthetic, built from the typed records.

`python -m tests.tui.machines` writes them to tests/tui/reports/.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from envdoctor.api import (
    Code,
    Driver,
    Evidence,
    Fact,
    Finding,
    Fix,
    Gpu,
    Gpus,
    Host,
    Installer,
    Interpreter,
    Nvml,
    Observed,
    Safety,
    Severity,
    Snapshot,
    Target,
    TorchBuild,
    TorchRuntime,
)
from envdoctor.engine import rank
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
from envdoctor.findings import exit_code_of, verdict_of
from envdoctor.report import CheckRecord, ExaminedTarget, Report, stack_of

REPORTS = Path(__file__).parent / "reports"
PYTHON = "~/train/.venv/bin/python"
WHEN = "2026-01-02T03:04:05+00:00"


def code(
    id_: str, name: str, message: str, severity: Severity = Severity.ERROR, *explains: str
) -> Code:
    return Code(
        id=id_, name=name, family=name, severity=severity, message=message, explains=explains
    )


DRIVER_TOO_OLD = code(
    "ED201",
    "driver-too-old",
    "driver {release} is too old for torch {version}, which is built with CUDA {cuda} and "
    "needs a driver >= {minimum}",
    Severity.ERROR,
    "ED212",
    "ED411",
)
CUDA_INIT_FAILED = code("ED212", "cuda-init-failed", "cuInit fails with {status}")
CUDA_UNAVAILABLE = code("ED411", "cuda-unavailable", "torch {version} sees no GPU: {error}")
SHM_TOO_SMALL = code(
    "ED503",
    "shm-too-small",
    "/dev/shm holds {size}, which data loader workers fill quickly",
    Severity.WARNING,
)
MISSING_LIBCUDART = code(
    "ED300",
    "missing-libcudart",
    "`{library}` wants `{soname}`, and no directory that the loader searches has it",
    Severity.ERROR,
    "ED401",
)
IMPORT_FAILED = code("ED401", "torch-import-failed", "`import torch` raises {exception}: {text}")
IMPORT_HANGS = code(
    "ED403", "torch-import-hangs", "`import torch` gave no answer within {seconds} s"
)
POWER_CAP = code(
    "ED600",
    "gpu-power-cap",
    "GPU 1 is capped at {limit} W, its default is {default} W",
    Severity.WARNING,
)
NO_GPU = code("ED412", "no-nvidia-gpu", "no NVIDIA GPU is visible", Severity.INFO)

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

CHECKS = (
    ("driver-too-old", "driver", ("ED201",)),
    ("cuda-init", "driver", ("ED212",)),
    ("driver-not-loaded", "driver", ("ED200",)),
    ("missing-libraries", "loader", ("ED300", "ED301")),
    ("cudnn-pin", "cudnn", ("ED350",)),
    ("nccl-pin", "nccl", ("ED360",)),
    ("torch-import", "pytorch", ("ED401", "ED402", "ED403", "ED404")),
    ("cuda-unavailable", "pytorch", ("ED411", "ED412")),
    ("damaged-install", "python_env", ("ED100",)),
    ("shm-too-small", "container", ("ED503",)),
    ("gpu-slower-than-expected", "performance", ("ED600", "ED601")),
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


def _report(
    facts: Iterable[Fact],
    findings: Iterable[Finding] = (),
    skipped: dict[str, str] | None = None,
    blind: frozenset[str] = frozenset(),
    unknown: dict[type[Fact], Unknown] | None = None,
) -> Report:
    always = (HOST, _interpreter(), _target(), Installer(name="pip", evidence="INSTALLER"))
    snapshot = Snapshot(
        {
            **{type(fact): Observed(value=fact, source="made by hand") for fact in always},
            **{type(fact): Observed(value=fact, source="made by hand") for fact in facts},
            **(unknown or {}),
        }
    )
    ranked = rank(findings, CODES)
    target = _target()
    return Report(
        created_at=WHEN,
        target=ExaminedTarget(
            path=target.path, chosen_because=target.chosen_because, passed_over=target.passed_over
        ),
        stack=stack_of(snapshot),
        verdict=verdict_of(ranked, incomplete=bool(blind)),
        exit_code=exit_code_of(ranked, incomplete=bool(blind)),
        findings=ranked,
        checks=tuple(
            _check(*one, (skipped or {}).get(one[0]), blind=one[0] in blind) for one in CHECKS
        ),
        calibration=snapshot.value(Calibration),
        assessment=snapshot.value(Assessment),
        facts=facts_to_builtins(snapshot),
    )


def _check(
    name: str, topic: str, codes: tuple[str, ...], reason: str | None, *, blind: bool
) -> CheckRecord:
    if reason is None:
        return CheckRecord(name=name, topic=topic, status="ran", codes=codes, seconds=0.0002)
    return CheckRecord(
        name=name, topic=topic, status="skipped", codes=codes, reason=reason, blind=blind
    )


_NO_GPUS = "Gpus is unknown (not-applicable): NVML is not installed"


def healthy_cpu() -> Report:
    """A CPU build of torch on a machine without a GPU: nothing to repair."""
    runtime = TorchRuntime(
        version="2.13.0+cpu", cuda=None, hip=None, cuda_available=False, device_count=0
    )
    skipped = {"driver-too-old": _NO_GPUS, "gpu-slower-than-expected": "Calibration is unknown"}
    return _report((_build("2.13.0+cpu", None), runtime), (NO_GPU.finding(),), skipped)


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
    return _report(
        (build, driver, nvml, gpus, _components("12.4.127")),
        (_small_shm(), unavailable, init, too_old),
        {"gpu-slower-than-expected": "Calibration is unknown (not-observed): no probe observed it"},
    )


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
    """NVML gives no answer, so that errors of the driver may hide; a warning beside it."""
    build = _build("2.6.0+cu124", "12.4")
    driver = Driver(loaded=True, release="550.54.15", release_source="/proc/driver/nvidia/version")
    silent = "is unknown (timed-out): no answer within 20 s"
    skipped = {
        "gpu-slower-than-expected": "Calibration is unknown (not-observed): no probe observed it",
        "cudnn-pin": "TorchRuntime is unknown (not-applicable): `import torch` did not succeed",
        "driver-too-old": f"Nvml {silent}",
        "driver-not-loaded": f"Nvml {silent}",
        "cuda-init": f"Gpus {silent}",
    }
    blind = frozenset({"driver-too-old", "driver-not-loaded", "cuda-init"})
    facts = (build, driver, _components("12.4.127"))
    unknown = Unknown(reason=Reason.TIMED_OUT, detail="no answer within 20 s")
    unseen: dict[type[Fact], Unknown] = {Gpus: unknown, Nvml: unknown}
    return _report(facts, (_small_shm(),), skipped, blind, unseen)


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
    unknown = "TorchRuntime is unknown (not-applicable): `import torch` did not succeed"
    skipped = dict.fromkeys(("cuda-unavailable", "cudnn-pin", "nccl-pin"), unknown)
    facts = (build, driver, nvml, gpus, _components("12.4.127"))
    return _report(facts, (hangs,), skipped)


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
    reason = "TorchRuntime is unknown (crashed): torch could not be imported"
    skipped = dict.fromkeys(("cuda-unavailable", "nccl-pin"), reason)
    facts = (build, driver, nvml, gpus, components, _resolution())
    return _report(facts, (failed, missing), skipped)


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
    facts = (build, driver, nvml, gpus, _components("12.6.77"), calibration(), assessment())
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
                sentence="this GPU will wait: 2,000 images/s wanted, 480 fed by 4 CPUs",
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
    """The report as it lies in the folder, marked as synthetic."""
    data = {**msgspec.to_builtins(report), "provenance": "synthetic"}
    data["tool"] = {**data["tool"], "version": "0"}
    return json.dumps(data, indent=1) + "\n"


def read(name: str) -> Report:
    """A recorded report."""
    return msgspec.json.decode((REPORTS / f"{name}.json").read_bytes(), type=Report)


if __name__ == "__main__":
    for name, build in MACHINES.items():
        (REPORTS / f"{name}.json").write_text(document(build()), encoding="utf-8")
