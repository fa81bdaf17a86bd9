"""Which GPUs CUDA may see, and in which order: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER."""

from envdoctor.api import (
    HIDES_EVERY_GPU,
    Code,
    Environment,
    Evidence,
    Findings,
    Fix,
    Gpus,
    GpuTrace,
    Layer,
    Safety,
    Severity,
    Wanted,
    check,
    command,
    entries_that_name,
    parse_number,
)

CUDA_VISIBLE_DEVICES = Code(
    id="ED210",
    name="cuda-visible-devices",
    family="cuda-visible-devices",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.CUDA_INIT,
    fault="environment",
    breaks="compute:gpu",
    message="CUDA_VISIBLE_DEVICES hides GPUs or names one that is not there",
    detailed="CUDA_VISIBLE_DEVICES is `{value}`, {effect}",
)
CUDA_DEVICE_ORDER = Code(
    id="ED219",
    name="cuda-device-order",
    family="cuda-visible-devices",
    severity=Severity.WARNING,
    topic="driver",
    layer=Layer.CUDA_INIT,
    fault="environment",
    message="CUDA and nvidia-smi count unlike GPUs in different orders",
    detailed="CUDA_VISIBLE_DEVICES={value} shows {shown} to torch, and nvidia-smi calls {other} so",
)


@check(CUDA_VISIBLE_DEVICES)
def cuda_visible_devices(environment: Environment, trace: GpuTrace, wanted: Wanted) -> Findings:
    """The variable hides every GPU, or names one that is not there."""
    value = environment.variables.get("CUDA_VISIBLE_DEVICES")
    if value is None or not trace.gpus:
        return
    on_purpose = value.strip() in HIDES_EVERY_GPU
    shown, wrong = entries_that_name(value, trace.gpus)
    if not on_purpose and wrong is None:
        return
    if not on_purpose and _counts_slices(trace):
        return
    none_left = on_purpose or not shown
    yield CUDA_VISIBLE_DEVICES.finding(
        severity=_severity(wanted, on_purpose=on_purpose, none_left=none_left),
        breaks=("compute:gpu",) if none_left else (),
        value=value,
        effect=_effect(
            len(shown),
            wrong,
            len(trace.gpus),
            on_purpose=on_purpose,
            repeated=not shown and [one.strip() for one in value.split(",")].count(wrong or "") > 1,
        ),
        evidence=(
            Evidence(label="CUDA_VISIBLE_DEVICES", value=value, source="environment"),
            Evidence(
                label="GPUs",
                value=", ".join(
                    f"{place}: {gpu.described}" for place, gpu in enumerate(trace.gpus)
                ),
                source="NVML",
            ),
        ),
        fixes=(
            Fix(
                summary="name GPUs that exist, each once; without the variable all are visible",
                commands=("unset CUDA_VISIBLE_DEVICES",),
                safety=Safety.SAFE,
            ),
        ),
        notes=("CUDA uses the entries before the first one that names no GPU, and none after it",),
    )


def _counts_slices(trace: GpuTrace) -> bool:
    """Whether numbers are those of MIG instances, which Slurm gives each one (slurm.conf, MIG
    Management), and CUDA computes on one of them: it never shows a process more."""
    computes = any(gpu.torch_index is not None for gpu in trace.gpus)
    return computes and all(gpu.mig_mode for gpu in trace.visible)


def _severity(wanted: Wanted, *, on_purpose: bool, none_left: bool) -> Severity:
    if on_purpose and wanted.gpu != "yes":
        return Severity.INFO
    return Severity.ERROR if none_left else Severity.WARNING


def _effect(
    shown: int, wrong: str | None, present: int, *, on_purpose: bool, repeated: bool
) -> str:
    every = "the only GPU" if present == 1 else f"all {present} GPUs"
    if on_purpose:
        return f"which hides {every} from CUDA"
    if repeated:
        return f"which repeats `{wrong}`: no GPU is visible"
    lost = f"whose entry `{wrong}` names none of the {present} GPU{'s' if present > 1 else ''}"
    return lost + (f": only {shown} remain visible" if shown else ": no GPU is visible")


@check(CUDA_DEVICE_ORDER)
def cuda_device_order(environment: Environment, gpus: Gpus, trace: GpuTrace) -> Findings:
    """CUDA numbers the fastest GPU first, NVML and nvidia-smi number by the PCI bus."""
    variables = environment.variables
    value = variables.get("CUDA_VISIBLE_DEVICES", "")
    number = parse_number(value.strip())
    if variables.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or number is None:
        return
    meant = trace.of_nvml(number)
    used = trace.of_torch(0)
    if meant is None or used is None or used.nvml_index is None or meant.name == used.name:
        return
    by_uuid = (command("export", f"CUDA_VISIBLE_DEVICES={meant.uuid}"),) if meant.uuid else ()
    yield CUDA_DEVICE_ORDER.finding(
        subjects=(used.subject,),
        value=value.strip(),
        shown=f"{used.described} (GPU {used.nvml_index} of nvidia-smi)",
        other=meant.described,
        evidence=(
            Evidence(label="CUDA_VISIBLE_DEVICES", value=value, source="environment"),
            Evidence(
                label=f"GPU {value.strip()} of nvidia-smi", value=meant.described, source="NVML"
            ),
            Evidence(label="cuda:0", value=used.described, source="torch"),
        ),
        fixes=(
            Fix(
                summary="let CUDA count as nvidia-smi does, or name GPUs by their UUID",
                commands=("export CUDA_DEVICE_ORDER=PCI_BUS_ID", *by_uuid),
                safety=Safety.SAFE,
            ),
        ),
        notes=("the default order is FASTEST_FIRST (CUDA C++ Programming Guide)",),
    )
