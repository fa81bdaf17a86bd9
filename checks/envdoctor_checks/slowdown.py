"""What slows a GPU down: heat, power, links, clocks, other programs, being but a slice."""

from collections.abc import Iterator

from envdoctor.api import (
    Code,
    Confidence,
    Evidence,
    Findings,
    Fix,
    Gpus,
    Safety,
    Severity,
    check,
)
from envdoctor.calibration.results import Calibration, CalibrationRun, Telemetry

THROTTLED = Code(
    id="ED601",
    name="slow-power-or-thermal",
    family="slow-power-or-thermal",
    severity=Severity.WARNING,
    message="{device} was slowed down by {reasons} in {percent:.0f} % of the samples under load",
    explains=("ED600",),
)
POWER_CAP = Code(
    id="ED602",
    name="power-cap-below-default",
    family="slow-power-or-thermal",
    severity=Severity.INFO,
    message="GPU {index} may draw {limit:.0f} W, its default is {default:.0f} W",
    explains=("ED600",),
)
SLOW_PCIE = Code(
    id="ED603",
    name="slow-pcie",
    family="slow-pcie",
    severity=Severity.WARNING,
    message="the PCIe link of {device} runs at {link}, the GPU can do {best}",
    explains=("ED600",),
)
OTHER_PROCESS = Code(
    id="ED606",
    name="oom-other-process",
    family="oom-other-process",
    severity=Severity.WARNING,
    message="{count} other process{plural} on GPU {index}, and {used:.1f} of its {total:.1f} GB "
    "are in use",
    explains=("ED600",),
)
MIG_SLICE = Code(
    id="ED613",
    name="mig-slice",
    family="mig-slice",
    severity=Severity.INFO,
    message="{device} is a MIG slice, a part of a GPU; rates of the whole GPU do not apply",
)
LOW_CLOCKS = Code(
    id="ED614",
    name="low-clocks",
    family="slow-power-or-thermal",
    severity=Severity.WARNING,
    message="the SM clock of {device} was {clock:.0f} MHz under load, its maximum is {most} MHz",
    explains=("ED600",),
)

_HARMFUL_REASONS = {
    "HwSlowdown": "a hardware slowdown",
    "HwThermalSlowdown": "heat (hardware)",
    "SwThermalSlowdown": "heat (driver)",
    "HwPowerBrakeSlowdown": "the power brake of the system",
}
"""SwPowerCap is not among them: at full load a GPU runs into its power limit as designed."""

_OFTEN = 0.1
"""Of the samples: what happens less often costs less than the noise."""

_NEARLY_DEFAULT = 0.98
_LOW_CLOCK = 0.7
_CROWDED = 0.5


@check(THROTTLED)
def slow_power_or_thermal(calibration: Calibration) -> Findings:
    for run, telemetry in _observed(calibration):
        shares = {
            _HARMFUL_REASONS[name]: share
            for name, share in telemetry.throttle_shares.items()
            if name in _HARMFUL_REASONS and share >= _OFTEN
        }
        if shares:
            yield THROTTLED.finding(
                subject=run.device,
                device=f"{run.device} ({run.device_name})",
                reasons=" and ".join(shares),
                percent=100 * max(shares.values()),
                evidence=_load_evidence(telemetry),
                fixes=(
                    Fix(
                        summary="look at temperatures and fans; clear the air path or cool the "
                        "room, and check the power cables",
                        commands=("nvidia-smi -q -d TEMPERATURE,POWER,PERFORMANCE",),
                        safety=Safety.SAFE,
                    ),
                ),
            )
            return


@check(POWER_CAP)
def power_cap_below_default(gpus: Gpus, calibration: Calibration | None) -> Findings:
    capped = calibration is not None and any(
        telemetry.throttle_shares.get("SwPowerCap", 0.0) >= _OFTEN
        for _, telemetry in _observed(calibration)
    )
    for gpu in gpus.devices:
        limit, default = gpu.power_limit_w, gpu.power_default_limit_w
        if limit is None or default is None or limit >= _NEARLY_DEFAULT * default:
            continue
        yield POWER_CAP.finding(
            subject=f"gpu:{gpu.index}",
            severity=Severity.WARNING if capped else None,
            index=gpu.index,
            limit=limit,
            default=default,
            evidence=(
                Evidence(label="enforced power limit", value=f"{limit:.0f} W", source="NVML"),
            ),
            fixes=(
                Fix(
                    summary="restore the default limit, if nobody lowered it on purpose",
                    commands=(f"sudo nvidia-smi -i {gpu.index} -pl {default:.0f}",),
                    safety=Safety.NEEDS_ROOT,
                ),
            ),
        )


@check(SLOW_PCIE)
def slow_pcie_width(gpus: Gpus) -> Findings:
    for gpu in gpus.devices:
        # Only the generation drops to save power while a GPU idles; the width stays.
        if gpu.pcie_width and gpu.pcie_max_width and gpu.pcie_width < gpu.pcie_max_width:
            yield SLOW_PCIE.finding(
                subject=f"gpu:{gpu.index}:width",
                confidence=Confidence.LIKELY,
                device=f"GPU {gpu.index}",
                link=f"{gpu.pcie_width} lanes",
                best=f"{gpu.pcie_max_width} lanes",
                evidence=(_nvml("link width", f"x{gpu.pcie_width} of x{gpu.pcie_max_width}"),),
                fixes=(_RESEAT,),
            )


@check(SLOW_PCIE)
def slow_pcie_generation(calibration: Calibration) -> Findings:
    for run, telemetry in _first_of_each_device(calibration):
        now, best = telemetry.pcie_generation, telemetry.pcie_max_generation
        if now and best and now < best:
            yield SLOW_PCIE.finding(
                subject=f"{run.device}:generation",
                device=run.device,
                link=f"generation {now} under load",
                best=f"generation {best}",
                evidence=(_nvml("link generation under load", f"{now} of {best}"),),
                fixes=(_RESEAT,),
            )


@check(LOW_CLOCKS)
def low_clocks(calibration: Calibration) -> Findings:
    for run, telemetry in _first_of_each_device(calibration):
        clock, most = telemetry.sm_clock_mhz, telemetry.max_sm_clock_mhz
        if clock is None or most is None or clock.median >= _LOW_CLOCK * most:
            continue
        yield LOW_CLOCKS.finding(
            subject=run.device,
            device=run.device,
            clock=clock.median,
            most=most,
            evidence=_load_evidence(telemetry),
            fixes=(
                Fix(
                    summary="reset clocks that were locked or set for applications",
                    commands=("sudo nvidia-smi -rgc", "sudo nvidia-smi -rac"),
                    safety=Safety.NEEDS_ROOT,
                ),
            ),
        )


@check(OTHER_PROCESS)
def oom_other_process(gpus: Gpus) -> Findings:
    for gpu in gpus.devices:
        used, total = gpu.memory_used_bytes, gpu.memory_bytes
        if not gpu.process_pids or not used or not total or used < _CROWDED * total:
            continue
        pids = ", ".join(map(str, gpu.process_pids))
        yield OTHER_PROCESS.finding(
            subject=f"gpu:{gpu.index}",
            count=len(gpu.process_pids),
            plural="es" if len(gpu.process_pids) != 1 else "",
            index=gpu.index,
            used=used / 1e9,
            total=total / 1e9,
            evidence=(_nvml("compute processes", f"pid {pids}"),),
            fixes=(
                Fix(
                    summary="see whose they are, and end them if they are left-overs",
                    commands=(f"ps -o pid,user,etime,cmd -p {pids.replace(' ', '')}",),
                    safety=Safety.SAFE,
                ),
                Fix(
                    summary="or use another GPU",
                    commands=("export CUDA_VISIBLE_DEVICES=1",),
                    safety=Safety.SAFE,
                ),
            )[: 2 if len(gpus.devices) > 1 else 1],
        )


@check(MIG_SLICE)
def mig_slice(calibration: Calibration) -> Findings:
    for run in {run.device: run for run in calibration.runs}.values():
        if " MIG " in f" {run.device_name} ":
            yield MIG_SLICE.finding(
                subject=run.device,
                device=run.device,
                evidence=(Evidence(label="device", value=run.device_name, source="torch"),),
                fixes=(
                    Fix(
                        summary="see how the GPU is partitioned; use a larger slice or all of it",
                        commands=("nvidia-smi mig -lgi",),
                        safety=Safety.SAFE,
                    ),
                ),
            )


_RESEAT = Fix(
    summary="look at the slot's width in the board's manual, reseat the card or its riser, and set "
    "the slot's speed to automatic in the BIOS",
    commands=("sudo lspci -vv | grep -E 'NVIDIA|LnkCap:|LnkSta:'",),
    safety=Safety.NEEDS_ROOT,
)


def _observed(calibration: Calibration) -> Iterator[tuple[CalibrationRun, Telemetry]]:
    for run in calibration.runs:
        if run.telemetry is not None:
            yield run, run.telemetry


def _first_of_each_device(calibration: Calibration) -> Iterator[tuple[CalibrationRun, Telemetry]]:
    seen: set[str] = set()
    for run, telemetry in _observed(calibration):
        if run.device not in seen:
            seen.add(run.device)
            yield run, telemetry


def _nvml(name: str, value: str) -> Evidence:
    return Evidence(label=name, value=value, source="NVML")


def _load_evidence(telemetry: Telemetry) -> tuple[Evidence, ...]:
    clock, power = telemetry.sm_clock_mhz, telemetry.power_w
    rows = (
        ("SM clock under load", clock and f"{clock.median:.0f} MHz"),
        ("maximum SM clock", telemetry.max_sm_clock_mhz and f"{telemetry.max_sm_clock_mhz} MHz"),
        ("power under load", power and f"{power.median:.0f} W"),
        ("power limit", telemetry.power_limit_w and f"{telemetry.power_limit_w:.0f} W"),
        ("temperature", telemetry.temperature_c and f"{telemetry.temperature_c} °C"),
    )
    return tuple(_nvml(name, value) for name, value in rows if value)
