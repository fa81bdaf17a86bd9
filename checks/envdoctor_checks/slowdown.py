"""What slows a GPU down: heat, power, links, clocks, ECC."""

import re

from envdoctor.api import (
    Assessment,
    Calibration,
    Code,
    Confidence,
    Evidence,
    Findings,
    Fix,
    Gpus,
    GpuTrace,
    Knowledge,
    Layer,
    Place,
    Safety,
    Severity,
    Site,
    Telemetry,
    check,
    system,
)
from envdoctor_checks.telemetry import (
    first_of_each_device,
    nvml,
    observed,
    visible,
    worst_of_each_device,
)

THROTTLED = Code(
    id="ED601",
    name="slow-power-or-thermal",
    family="slow-power-or-thermal",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="a GPU was slowed down under load",
    detailed="{device} was slowed down by {reasons} in {percent:.0f} % of the samples under load",
    explains=("ED600",),
)
POWER_CAP = Code(
    id="ED602",
    name="power-cap-below-default",
    family="slow-power-or-thermal",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    message="the power limit of a GPU is below its default",
    detailed="{subjects} may draw {limit:.0f} W, the default is {default:.0f} W",
    explains=("ED600",),
)
SLOWED_NOW = Code(
    id="ED621",
    name="gpu-slowed-now",
    family="slow-power-or-thermal",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="a GPU is being slowed down",
    detailed="the clocks of {subjects} ({name}) are held down by {reasons}",
    explains=("ED600", "ED601", "ED614"),
)
SLOW_PCIE = Code(
    id="ED603",
    name="slow-pcie",
    family="slow-pcie",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="the PCIe link of a GPU is slower than GPU and slot can do",
    detailed="the PCIe link of {subjects} runs at {link}, GPU and slot can do {best}",
    explains=("ED600",),
)
ECC_IN_GDDR = Code(
    id="ED616",
    name="ecc-in-gddr",
    family="ecc-in-gddr",
    severity=Severity.INFO,
    topic="speed",
    layer=Layer.SPEED,
    message="ECC is on in GDDR memory, which takes bandwidth and memory",
    detailed="ECC is on in the {memory} memory of {device}, which takes bandwidth and memory",
    explains=("ED600",),
)
LOW_CLOCKS = Code(
    id="ED614",
    name="low-clocks",
    family="slow-power-or-thermal",
    severity=Severity.WARNING,
    topic="speed",
    layer=Layer.SPEED,
    message="the SM clock of a GPU was low under load",
    detailed="the SM clock of {device} was {clock:.0f} MHz under load, its maximum is {most} MHz",
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
_AT_ITS_LIMIT = 0.5


@check(THROTTLED)
def slow_power_or_thermal(calibration: Calibration) -> Findings:
    """A GPU that its driver or its hardware slowed down in many of the samples under load."""
    for run, telemetry in worst_of_each_device(calibration, _slowed_down):
        shares = {
            _HARMFUL_REASONS[name]: share
            for name, share in telemetry.throttle_shares.items()
            if name in _HARMFUL_REASONS and share >= _OFTEN
        }
        if not shares:
            continue
        yield THROTTLED.finding(
            subjects=(run.device,),
            device=f"{run.device} ({run.device_name})",
            reasons=" and ".join(shares),
            percent=100 * max(shares.values()),
            evidence=_load_evidence(telemetry),
            fixes=(
                Fix(
                    summary="look at temperatures and fans; clear the air path or cool the room, "
                    "and check the power cables",
                    commands=("nvidia-smi -q -d TEMPERATURE,POWER,PERFORMANCE",),
                    safety=Safety.SAFE,
                ),
            ),
        )


@check(SLOWED_NOW)
def gpu_slowed_now(
    gpus: Gpus, trace: GpuTrace, calibration: Calibration | None, site: Site
) -> Findings:
    """A GPU that its driver or its hardware holds back at this moment, where nothing was measured;
    of a laptop, which does so whenever it runs on its battery, it is information."""
    if calibration is not None and calibration.runs:
        return
    for gpu in visible(gpus, trace):
        reasons = [_HARMFUL_REASONS[one] for one in gpu.throttle_reasons if one in _HARMFUL_REASONS]
        # The first stands for any of the others.
        named = [one for one in reasons if one != _HARMFUL_REASONS["HwSlowdown"]] or reasons
        if not named:
            continue
        hot = any("heat" in one for one in named)
        yield SLOWED_NOW.finding(
            subjects=(f"gpu:{gpu.index}",),
            severity=Severity.INFO if "Laptop" in gpu.name else None,
            confidence=Confidence.LIKELY,
            name=gpu.name,
            reasons=" and ".join(named),
            evidence=(
                nvml("throttle reasons", " ".join(gpu.throttle_reasons)),
                *((nvml("temperature", f"{gpu.temperature_c} °C"),) if gpu.temperature_c else ()),
                *((nvml("SM clock", f"{gpu.sm_clock_mhz} MHz"),) if gpu.sm_clock_mhz else ()),
            ),
            fixes=(system.cool_gpu(site) if hot else system.power_gpu(site),),
            notes=("nvidia-smi(1), clocks event reasons",),
        )


@check(POWER_CAP)
def power_cap_below_default(
    gpus: Gpus, trace: GpuTrace, site: Site, calibration: Calibration | None
) -> Findings:
    """A power limit below the default; a warning once the GPU was seen to run into it."""
    capped = calibration is not None and any(
        telemetry.throttle_shares.get("SwPowerCap", 0.0) >= _OFTEN
        for _, telemetry in observed(calibration)
    )
    for gpu in visible(gpus, trace):
        limit, default = gpu.power_limit_w, gpu.power_default_limit_w
        if limit is None or default is None or limit >= _NEARLY_DEFAULT * default:
            continue
        yield POWER_CAP.finding(
            subjects=(f"gpu:{gpu.index}",),
            severity=Severity.WARNING if capped else None,
            limit=limit,
            default=default,
            evidence=(
                Evidence(label="enforced power limit", value=f"{limit:.0f} W", source="NVML"),
            ),
            fixes=(
                system.on_host(
                    site,
                    "restore the default limit, if nobody lowered it on purpose",
                    f"sudo nvidia-smi -i {gpu.index} -pl {default:.0f}",
                ),
            ),
        )


_OF_A_LAPTOP = re.compile(r"Laptop|Max-Q|Mobile")
"""In the names of GPUs that are soldered to a board."""


@check(SLOW_PCIE)
def slow_pcie_width(gpus: Gpus, trace: GpuTrace, site: Site) -> Findings:
    """A PCIe link with fewer lanes than GPU and slot have; in a virtual machine, where clouds give
    a T4 eight of its sixteen, and in a laptop, whose board has as many, it is information."""
    for gpu in visible(gpus, trace):
        # Only the generation drops to save power while a GPU idles; the width stays.
        if gpu.pcie_width and gpu.pcie_max_width and gpu.pcie_width < gpu.pcie_max_width:
            rented = gpu.virtualization in ("passthrough", "vgpu")
            soldered = _OF_A_LAPTOP.search(gpu.name) is not None
            yield SLOW_PCIE.finding(
                subjects=(f"gpu:{gpu.index}",),
                severity=Severity.INFO if rented or soldered else None,
                confidence=Confidence.LIKELY,
                link=f"{gpu.pcie_width} lanes",
                best=f"{gpu.pcie_max_width} lanes",
                evidence=(nvml("link width", f"x{gpu.pcie_width} of x{gpu.pcie_max_width}"),),
                fixes=(_OF_THE_HOST if rented else _reseat(site),),
            )


@check(SLOW_PCIE)
def slow_pcie_generation(calibration: Calibration, site: Site) -> Findings:
    """A PCIe link that stays below its generation even under load."""
    for run, telemetry in first_of_each_device(calibration):
        now, best = telemetry.pcie_generation, telemetry.pcie_max_generation
        if now and best and now < best:
            yield SLOW_PCIE.finding(
                subjects=(run.device,),
                link=f"generation {now} under load",
                best=f"generation {best}",
                evidence=(nvml("link generation under load", f"{now} of {best}"),),
                fixes=(_reseat(site),),
            )


@check(LOW_CLOCKS)
def low_clocks(calibration: Calibration) -> Findings:
    """An SM clock far below its maximum under load, where no power limit explains it."""
    for run, telemetry in worst_of_each_device(calibration, _clock_lost):
        clock, most = telemetry.sm_clock_mhz, telemetry.max_sm_clock_mhz
        # A card at its power limit lowers its clock as designed.
        limited = telemetry.throttle_shares.get("SwPowerCap", 0.0) >= _AT_ITS_LIMIT
        if clock is None or most is None or limited or clock.median >= _LOW_CLOCK * most:
            continue
        chosen = telemetry.throttle_shares.get("ApplicationsClocksSetting", 0.0) >= _OFTEN
        yield LOW_CLOCKS.finding(
            subjects=(run.device,),
            device=run.device,
            clock=clock.median,
            most=most,
            evidence=_load_evidence(telemetry),
            fixes=(_RESET_APPLICATION_CLOCKS if chosen else _RESET_LOCKED_CLOCKS,),
        )


@check(ECC_IN_GDDR)
def ecc_in_gddr(calibration: Calibration, assessment: Assessment, known: Knowledge) -> Findings:
    """A GPU that is slower than expected while ECC takes bandwidth of its GDDR memory."""
    slow = {one.device for one in assessment.expected if one.verdict == "slower"}
    for run, telemetry in first_of_each_device(calibration):
        model = known.gpu(run.device_name)
        memory = (model.memory_type if model else None) or ""
        if run.device not in slow or not telemetry.ecc_mode or not memory.startswith("GDDR"):
            continue
        yield ECC_IN_GDDR.finding(
            subjects=(run.device,),
            confidence=Confidence.POSSIBLE,
            memory=memory,
            device=run.device,
            evidence=(nvml("ECC mode", "on"),),
            fixes=(
                Fix(
                    summary="if you can do without it, switch it off and restart the machine",
                    commands=("sudo nvidia-smi -e 0",),
                    safety=Safety.NEEDS_ROOT,
                ),
            ),
            notes=("HBM memory has bits of its own for ECC, and loses nothing by it",),
        )


_RESET_APPLICATION_CLOCKS = Fix(
    summary="reset the clocks that were set for applications",
    commands=("sudo nvidia-smi -rac",),
    safety=Safety.NEEDS_ROOT,
)
_RESET_LOCKED_CLOCKS = Fix(
    summary="see what holds the clock down, and reset it if it was locked",
    commands=("nvidia-smi -q -d CLOCK,PERFORMANCE", "sudo nvidia-smi -rgc"),
    safety=Safety.NEEDS_ROOT,
)


def _reseat(site: Site) -> Fix:
    return system.on_host(
        site,
        "look at the slot's width in the board's manual, reseat the card or its riser, and set "
        "the slot's speed to automatic in the BIOS",
        "sudo lspci -vv | grep -E 'NVIDIA|LnkCap:|LnkSta:'",
    )


_OF_THE_HOST = Fix(
    summary="nothing from inside a virtual machine: slot and lanes are those of its host",
    where=Place.HOST,
)


def _slowed_down(telemetry: Telemetry) -> float:
    return max((telemetry.throttle_shares.get(name, 0.0) for name in _HARMFUL_REASONS), default=0.0)


def _clock_lost(telemetry: Telemetry) -> float:
    clock, most = telemetry.sm_clock_mhz, telemetry.max_sm_clock_mhz
    return 1 - clock.median / most if clock and most else 0.0


def _load_evidence(telemetry: Telemetry) -> tuple[Evidence, ...]:
    clock, power = telemetry.sm_clock_mhz, telemetry.power_w
    rows = (
        ("SM clock under load", clock and f"{clock.median:.0f} MHz"),
        ("maximum SM clock", telemetry.max_sm_clock_mhz and f"{telemetry.max_sm_clock_mhz} MHz"),
        ("power under load", power and f"{power.median:.0f} W"),
        ("power limit", telemetry.power_limit_w and f"{telemetry.power_limit_w:.0f} W"),
        ("temperature", telemetry.temperature_c and f"{telemetry.temperature_c} °C"),
    )
    return tuple(nvml(name, value) for name, value in rows if value)
