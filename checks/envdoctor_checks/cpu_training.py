"""What holds training on the CPU back, by what was measured: kernels, threads, bf16, cores."""

import math

from envdoctor.api import (
    Assessment,
    Calibration,
    CalibrationRun,
    Code,
    Confidence,
    Evidence,
    Findings,
    Fix,
    Host,
    Layer,
    Limits,
    Place,
    Safety,
    Severity,
    Site,
    check,
    figure,
    interpreters,
    main_runs,
    surroundings,
)

CPU_SLOWER = Code(
    id="ED624",
    name="cpu-slower-than-expected",
    family="cpu-slower-than-expected",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    message="training on the CPU is slower than its own matrix product lets one expect",
    detailed="training on the CPU in {precision} does {measured} images/s, and what the CPU was "
    "measured to do lets one expect {low} at least",
)
ONEDNN_OFF = Code(
    id="ED625",
    name="onednn-off",
    family="onednn-off",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    fault="environment",
    message="torch computes on the CPU without oneDNN",
    detailed="torch {version} computes on the CPU without oneDNN, which has its fast convolutions "
    "and all fast products in bf16",
    explains=("ED624", "ED627"),
)
THREADS_BEYOND_CPUS = Code(
    id="ED626",
    name="threads-beyond-cpus",
    family="threads-limited",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    fault="environment",
    message="torch starts more threads than it is given CPUs",
    detailed="torch computes with {threads} threads by itself, and the time of {cpus:g} "
    "CPU{plural} is all that they are given",
    explains=("ED608",),
)
BF16_SLOWER = Code(
    id="ED627",
    name="bf16-slower-on-cpu",
    family="bf16-slower-on-cpu",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    fault="environment",
    message="bf16 is slower than fp32 on the CPU",
    detailed="bf16 is slower than fp32 on this CPU: {bf16} against {fp32} {unit}{why}",
)
SHARED_CORES = Code(
    id="ED628",
    name="cpus-share-cores",
    family="cpus-share-cores",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    message="the CPUs of this virtual machine compute like hardware threads of fewer cores",
    detailed="{threads} threads compute {gain:.1f} times as fast as one: the CPUs of this virtual "
    "machine are probably hardware threads of fewer cores",
    explains=("ED624",),
)

_FOR_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Features of /proc/cpuinfo that say that a CPU computes in bf16, on x86 and on Arm."""

_TOO_MANY = 2
"""Times as many threads as CPUs: a quota of 3.5 and four threads is what one wants."""

_SHARED_GAIN = 0.6
"""Of what as many cores would gain. Two hardware threads of a core share its units for arithmetic,
so that the second adds next to nothing (0.5); a few cores whose clock falls when all are at work
keep more than this."""

_BUSY_CPUS = 0.3
"""So much of others may have kept the threads from their gain."""

_FIRST_STEPS = 4.0
"""A later step takes no less than a quarter of the first ones, which allocate memory and choose
algorithms (1.1 to 2.5 times a later step where it was measured)."""

_MOST_THREADS = 8
"""With more, the clock of one core alone may be twice that of all at once."""


@check(CPU_SLOWER)
def cpu_slower_than_expected(assessment: Assessment) -> Findings:
    """A rate of the CPU below all that its own matrix product and copy let one expect."""
    for one in assessment.expected:
        if one.device != "cpu" or one.verdict != "slower" or one.measured_over_expected is None:
            continue
        measured = one.images_per_s.median * one.measured_over_expected
        yield CPU_SLOWER.finding(
            subjects=(f"cpu:{one.precision}",),
            confidence=Confidence.POSSIBLE,
            precision=one.precision,
            measured=figure(measured),
            low=figure(one.images_per_s.low),
            evidence=(Evidence(label="expected", value=one.basis, source="calibration"),),
            fixes=(
                Fix(
                    summary="compare with another torch on this machine, such as that of PyPI",
                    commands=("envdoctor calibrate --python OTHER_PYTHON",),
                    safety=Safety.SAFE,
                ),
            ),
        )


@check(ONEDNN_OFF)
def onednn_off(calibration: Calibration, site: Site) -> Findings:
    """A torch that was built without oneDNN, or in which it is switched off, on an x86 CPU that was
    measured."""
    conditions = calibration.conditions
    on_cpu = any(run.device == "cpu" for run in calibration.runs)
    # Without a feature of x86 nothing is known of what other libraries a build has instead.
    if not on_cpu or conditions.onednn is not False or "fma" not in conditions.cpu_features:
        return
    yield ONEDNN_OFF.finding(
        subjects=("torch",),
        severity=_where_a_gpu_trains(calibration),
        version=conditions.torch_version or "",
        evidence=(Evidence(label="torch.backends.mkldnn", value="not available", source="torch"),),
        fixes=(
            interpreters.try_in_target(
                site.target,
                "import torch; print(torch.__config__.show())",
                summary="see how torch was built: `USE_MKLDNN=OFF` is a build without it, and that "
                "of PyPI has it; else look for torch.backends.mkldnn in sitecustomize",
            ),
        ),
    )


@check(THREADS_BEYOND_CPUS)
def threads_beyond_cpus(calibration: Calibration, limits: Limits) -> Findings:
    """A torch that takes twice as many threads as a quota, or all CPUs that it may use, hold."""
    conditions = calibration.conditions
    threads = conditions.default_threads
    on_cpu = any(run.device == "cpu" for run in calibration.runs)
    if threads is None or not on_cpu or threads < _TOO_MANY * math.ceil(limits.usable_cpus):
        return
    cpus = max(1, int(limits.usable_cpus))
    yield THREADS_BEYOND_CPUS.finding(
        severity=_where_a_gpu_trains(calibration),
        threads=threads,
        cpus=limits.usable_cpus,
        plural="" if limits.usable_cpus == 1 else "s",
        evidence=(
            Evidence(label="torch.get_num_threads()", value=str(threads), source="torch"),
            Evidence(
                label="usable CPUs",
                value=f"{limits.usable_cpus:g}",
                source="cgroup" if limits.cgroup_cpu_quota else "sched_getaffinity",
            ),
        ),
        fixes=(
            surroundings.set_variable(
                "OMP_NUM_THREADS", str(cpus), summary="start as many threads as there are CPUs"
            ),
        ),
        notes=(
            "threads wait for each other at every operation, so that one that is stopped stops all",
            "the calibration itself computes with no more threads than CPUs",
        ),
    )


@check(BF16_SLOWER)
def bf16_slower_on_cpu(calibration: Calibration) -> Findings:
    """bf16 whose whole interval lies below that of fp32, in runs of the same batch; or whose first
    steps alone took so long that no later one could make up for it."""
    runs = {one.precision: one for one in main_runs(calibration.runs) if one.device == "cpu"}
    fp32, bf16 = runs.get("fp32"), runs.get("bf16")
    if fp32 is None or bf16 is None or fp32.at_least or fp32.batch_size != bf16.batch_size:
        return
    if bf16.at_least and calibration.cpus_of_others:
        return
    at_most = _FIRST_STEPS * bf16.rate.median if bf16.at_least else bf16.rate.high
    if at_most >= fp32.rate.low:
        return
    features = calibration.conditions.cpu_features
    emulated = bool(features) and _FOR_BF16.isdisjoint(features)
    why = ", as it has no instructions for it and emulates it" if emulated else ""
    yield BF16_SLOWER.finding(
        subjects=("cpu",),
        severity=_where_a_gpu_trains(calibration),
        confidence=Confidence.LIKELY if bf16.at_least else Confidence.CERTAIN,
        bf16=figure(bf16.rate.median) + (" in its first steps" if bf16.at_least else ""),
        fp32=figure(fp32.rate.median),
        unit=fp32.unit,
        why=why,
        evidence=(_measured(fp32), _measured(bf16)),
        fixes=(Fix(summary="train in fp32 on this CPU: without torch.autocast and .bfloat16()"),),
    )


@check(SHARED_CORES)
def cpus_share_cores(calibration: Calibration, host: Host) -> Findings:
    """A virtual machine that shows a core for each CPU, and whose threads gain next to nothing."""
    conditions = calibration.conditions
    threads, gain = conditions.threads, conditions.thread_gain
    if threads is None or gain is None or not 2 <= threads <= _MOST_THREADS:
        return
    # With hardware threads that Linux knows of there is a thread for each core.
    shows_cores = host.physical_cpus is not None and host.physical_cpus == host.logical_cpus
    others = (conditions.others_cpus, *(run.others_cpus for run in calibration.runs))
    disturbed = any((cpus or 0.0) > _BUSY_CPUS for cpus in others)
    if not host.hypervisor or not shows_cores or disturbed or gain > _SHARED_GAIN * threads:
        return
    yield SHARED_CORES.finding(
        confidence=Confidence.LIKELY,
        threads=threads,
        gain=gain,
        evidence=(
            Evidence(
                label="matrix product",
                value=f"{gain:.2f} times as fast on {threads} threads as on one",
                source="calibration",
            ),
        ),
        fixes=(
            Fix(
                summary="count on half of the CPUs, or take a machine whose CPUs are whole cores "
                "(providers call it without SMT, or one thread a core)",
                where=Place.NONE,
            ),
        ),
    )


def _where_a_gpu_trains(calibration: Calibration) -> Severity | None:
    """Information where a GPU was measured as well: the CPU then feeds it, and trains nothing."""
    on_gpu = any(run.device != "cpu" for run in calibration.runs)
    return Severity.INFO if on_gpu else None


def _measured(run: CalibrationRun) -> Evidence:
    rate = run.rate
    value = f"{figure(rate.median)} {run.unit} ({figure(rate.low)} to {figure(rate.high)})"
    return Evidence(label=f"cpu {run.precision}", value=value, source="calibration")
