"""GPUs that are there and not on the bus: switched off in a laptop, or behind a closed door."""

from envdoctor.api import (
    Code,
    Confidence,
    Evidence,
    Findings,
    GpuTrace,
    KernelModules,
    Layer,
    Severity,
    Site,
    Thunderbolt,
    Wanted,
    check,
    system,
)

GPU_SWITCHED_OFF = Code(
    id="ED254",
    name="gpu-switched-off",
    family="gpu-switched-off",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.BUS,
    breaks="compute:gpu",
    message="a rule of udev takes the NVIDIA GPU of this machine off the bus",
    detailed="`{file}` takes the NVIDIA GPU of this machine off the bus",
    explains=("ED412", "ED211", "ED302"),
)
THUNDERBOLT_NOT_AUTHORIZED = Code(
    id="ED255",
    name="thunderbolt-not-authorized",
    family="thunderbolt-not-authorized",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.BUS,
    breaks="compute:gpu",
    message="a GPU is wanted, and a Thunderbolt device is not authorized",
    detailed="a GPU is wanted, and the Thunderbolt device `{device}` is not authorized, so that "
    "what is behind it is not on the bus",
    explains=("ED412", "ED211", "ED302"),
)


@check(GPU_SWITCHED_OFF)
def gpu_switched_off(
    modules: KernelModules, trace: GpuTrace, wanted: Wanted, site: Site
) -> Findings:
    """A laptop that was set to run on its other GPU alone; information where none is asked for."""
    if modules.removed_by is None or trace.bus or site.contained or wanted.gpu == "no":
        return
    asked = wanted.gpu == "yes"
    yield GPU_SWITCHED_OFF.finding(
        severity=Severity.ERROR if asked else Severity.INFO,
        breaks=("compute:gpu",) if asked else (),
        file=modules.removed_by,
        evidence=(
            Evidence(label="udev", value='ATTR{remove}="1"', source=modules.removed_by),
            Evidence(label="NVIDIA devices", value="none", source="/sys/bus/pci/devices"),
        ),
        fixes=(system.switch_gpu_on(site, modules.removed_by),),
        notes=("envycontrol and tools like it write such a rule to save the battery",),
    )


@check(THUNDERBOLT_NOT_AUTHORIZED)
def thunderbolt_not_authorized(
    thunderbolt: Thunderbolt, trace: GpuTrace, wanted: Wanted, site: Site
) -> Findings:
    """A GPU that is asked for, none on the bus, and a box on Thunderbolt that waits at the door."""
    waiting = next((one for one in thunderbolt.devices if not one.authorized), None)
    if waiting is None or trace.gpus or wanted.gpu != "yes" or site.contained:
        return
    yield THUNDERBOLT_NOT_AUTHORIZED.finding(
        confidence=Confidence.LIKELY,
        device=waiting.name,
        evidence=(
            Evidence(label=waiting.name, value="authorized 0", source="/sys/bus/thunderbolt"),
            Evidence(label="NVIDIA devices", value="none", source="/sys/bus/pci/devices"),
        ),
        fixes=(system.authorize_thunderbolt(site, waiting.name),),
    )
