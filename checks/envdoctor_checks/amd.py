"""AMD's GPUs under a ROCm build: whether torch was let at one, and has code for it."""

import re
from collections.abc import Iterable, Iterator

from envdoctor.api import (
    Code,
    Confidence,
    Environment,
    Evidence,
    Findings,
    Fix,
    GpuTrace,
    Layer,
    PciDevice,
    PciGpus,
    Place,
    RenderNodes,
    Safety,
    Severity,
    Site,
    TorchBuild,
    TorchFirstUse,
    TorchRuntime,
    Wanted,
    check,
    packages,
    parse_number,
    pytorch_source,
    surroundings,
    system,
)
from envdoctor_checks.amd_variables import CHOOSING, hidden_by

AMD = "1002"
"""AMD's vendor id on the PCI bus."""

ROCM_BUILD = ("rocm6.4", "2.9.0")
"""A ROCm in PyTorch's index and a release built with it (pytorch.org, Previous Versions)."""

ROCM_FINDS_NO_GPU = Code(
    id="ED418",
    name="rocm-finds-no-gpu",
    family="rocm-arch-unsupported",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.DEVICE_NODES,
    breaks="compute:gpu",
    message="an AMD GPU is here, and the ROCm build of torch is not let at it",
    detailed="an AMD GPU is here (1002:{device}, kernel driver {driver}), and torch {version} is "
    "not let at it{why}",
)
ROCM_ARCH_UNSUPPORTED = Code(
    id="ED419",
    name="rocm-arch-unsupported",
    family="rocm-arch-unsupported",
    severity=Severity.ERROR,
    topic="torch",
    layer=Layer.BUILD,
    breaks="compute:gpu",
    message="this ROCm build of torch has no kernels for the AMD GPU",
    detailed="torch {version} has no kernels for {gpu} ({subjects})",
)

GFX_OVERRIDE_WRONG = Code(
    id="ED424",
    name="gfx-override-wrong",
    family="rocm-arch-unsupported",
    severity=Severity.ERROR,
    topic="driver",
    layer=Layer.CUDA_INIT,
    fault="environment",
    breaks="compute:gpu",
    message="HSA_OVERRIDE_GFX_VERSION has an AMD GPU run the code of another generation",
    detailed="HSA_OVERRIDE_GFX_VERSION={value} has {gpu} ({subjects}), which is of gfx{own}, run "
    "the code of gfx{asked}",
    explains=("ED410", "ED419"),
)

_OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"
_GENERATIONS = (
    (re.compile(r"Instinct|Radeon VII\b|\bVega\b"), 9),
    (re.compile(r"\b(RX |Pro W)[56]\d{3}\b", re.IGNORECASE), 10),
    (re.compile(r"\b(RX |Pro W)7\d{3}\b", re.IGNORECASE), 11),
    (re.compile(r"\bRX 90\d{2}\b|\bR9[67]00\b"), 12),
)
"""The major number of the target by the name of the product (LLVM, "User Guide for AMDGPU
Backend", Processors); names of GPUs inside of CPUs say less."""

_NO_CODE = re.compile(
    r"invalid device function|no kernel image|hipErrorNoBinaryForGpu|TensileLibrary", re.IGNORECASE
)
_GFX = re.compile(r"gfx(\d{1,2})(\d)([0-9a-f])(?::.*)?")
"""The target of a GPU: major, minor and, in hexadecimal, stepping (AMDGPU backend of LLVM)."""

_RDNA_OF_WHEELS = ("gfx1030", "gfx1100")
"""What PyTorch's ROCm wheels are built for of RDNA (PYTORCH_ROCM_ARCH in .ci/docker of
pytorch/pytorch); for where the build does not say its own."""

_FIRST_RDNA = 10
_OF_RDNA1 = ((10, 1), (10, 3, 0))
"""RDNA 1 has no code of its own kind in PyTorch's builds; that of RDNA 2 is what its users run
on it (webui.sh of AUTOMATIC1111/stable-diffusion-webui sets 10.3.0 for Navi 1)."""


@check(ROCM_FINDS_NO_GPU)
def rocm_finds_no_gpu(
    build: TorchBuild,
    runtime: TorchRuntime,
    wanted: Wanted,
    trace: GpuTrace,
    pci: PciGpus,
    site: Site,
    environment: Environment | None,
    nodes: RenderNodes | None,
) -> Findings:
    """A ROCm build that counts no GPU although the bus shows one of AMD."""
    amd = next((one for one in pci.devices if one.vendor_id == AMD), None)
    of_rocm = build.hip is not None or build.variant.startswith("rocm")
    if amd is None or not of_rocm or wanted.gpu != "yes" or trace.visible or runtime.device_count:
        return
    variables = environment.variables if environment is not None else {}
    hiding = hidden_by(variables, sum(one.vendor_id == AMD for one in pci.devices))
    in_slurm = "SLURM_JOB_ID" in variables
    closed = nodes.unusable if nodes is not None and (nodes.kfd_closed or nodes.all_closed) else ()
    yield ROCM_FINDS_NO_GPU.finding(
        confidence=Confidence.CERTAIN if closed else Confidence.LIKELY,
        device=amd.device_id,
        driver=amd.driver or "none",
        version=build.version,
        why=f": {hiding[0].words}" if hiding else "",
        evidence=(
            Evidence(
                label="PCI device",
                value=f"1002:{amd.device_id}, kernel driver {amd.driver or 'none'}",
                source=f"/sys/bus/pci/devices/{amd.address}",
            ),
            Evidence(
                label="torch", value=runtime.cuda_error or "0 GPUs", source="torch.cuda.init()"
            ),
            *(
                Evidence(label=name, value=value, source="environment")
                for name, value in variables.items()
                if hiding and name in CHOOSING
            ),
            *(
                Evidence(label="not readable and writable", value=node, source="access(2)")
                for node in closed
            ),
        ),
        fixes=(
            *(surroundings.unset(one.variable, summary="let ROCm see the GPU") for one in hiding),
            *((system.open_render_nodes(site),) if closed else ()),
            *(() if closed or hiding else _ways_in(site, amd, nodes, in_slurm)),
        ),
        notes=(
            "ROCm opens /dev/kfd and /dev/dri/renderD*, which belong to the group `render` (AMD "
            "ROCm documentation, installation prerequisites)",
        ),
    )


def _ways_in(
    site: Site, amd: PciDevice, nodes: RenderNodes | None, in_slurm: bool
) -> Iterator[Fix]:
    are_open = nodes is not None and nodes.open_to_rocm
    if site.contained and not are_open:
        yield system.give_amd_gpus(site)
        return
    if in_slurm:
        yield system.ask_slurm()
    if amd.driver != "amdgpu" and not site.contained:
        yield Fix(
            summary="load AMD's kernel driver: `amdgpu` does not hold the GPU",
            commands=("sudo modprobe amdgpu", "sudo dmesg | grep -i amdgpu | tail -n 20"),
            safety=Safety.NEEDS_ROOT,
        )
    if are_open:
        yield system.look_at_amds_kernel_log(site)
    else:
        yield system.open_render_nodes(site)
    yield Fix(
        summary=f"{'' if are_open else 'where the nodes are open: '}look whether ROCm lists the "
        "GPU; of an unlisted kind it may be made to run the code of a listed one by "
        "HSA_OVERRIDE_GFX_VERSION",
        commands=("rocminfo | grep -i gfx",),
        safety=Safety.SAFE,
    )


@check(GFX_OVERRIDE_WRONG)
def gfx_override_wrong(
    runtime: TorchRuntime, environment: Environment, trace: GpuTrace
) -> Findings:
    """An override that was set for another card: no generation runs the code of another one."""
    value = environment.variables.get(_OVERRIDE, "")
    asked = parse_number(value.partition(".")[0])
    if runtime.hip is None or asked is None:
        return
    for device in runtime.devices:
        own = next((number for name, number in _GENERATIONS if name.search(device.name)), asked)
        gpu = trace.of_torch(device.index)
        if own == asked or gpu is None:
            continue
        yield GFX_OVERRIDE_WRONG.finding(
            subjects=(gpu.subject,),
            value=value,
            gpu=device.name,
            own=own,
            asked=asked,
            evidence=(
                Evidence(label=_OVERRIDE, value=value, source="environment"),
                Evidence(label="GPU", value=device.name, source=f"cuda:{device.index} of torch"),
            ),
            fixes=(surroundings.unset(_OVERRIDE, summary="let ROCm see the GPU as what it is"),),
            notes=("the variable is that of all GPUs, and of every program (ROCm issue 5238)",),
        )


@check(ROCM_ARCH_UNSUPPORTED)
def rocm_arch_unsupported(
    runtime: TorchRuntime,
    used: TorchFirstUse,
    trace: GpuTrace,
    environment: Environment | None,
    site: Site,
) -> Findings:
    """A first operation under ROCm that finds no kernel for the GPU."""
    if runtime.hip is None:
        return
    for device in runtime.devices:
        uses = (one for one in used.operations if one.device == f"cuda:{device.index}")
        failed = next((one for one in uses if one.error and _NO_CODE.search(one.error)), None)
        gpu = trace.of_torch(device.index)
        if failed is None or gpu is None:
            continue
        beside = _that_compute(runtime, used)
        is_set = environment is not None and _OVERRIDE in environment.variables
        capability = device.compute_capability
        # Under an override the capability is that of the override.
        near = None if is_set else nearest_target(capability, runtime.arch_list or _RDNA_OF_WHEELS)
        yield ROCM_ARCH_UNSUPPORTED.finding(
            subjects=(gpu.subject,),
            severity=Severity.WARNING if beside else None,
            version=runtime.version,
            gpu=device.name,
            evidence=(
                Evidence(label=failed.operation, value=failed.error or "", source=failed.device),
            ),
            fixes=(
                *((_leave_others(beside),) if beside else (_as_if(near),) if near else ()),
                *((surroundings.unset(_OVERRIDE, summary=_AS_ITSELF),) if is_set else ()),
                _built_for_it(site, parse_number(capability.partition(".")[0]), first=not near)
                if not beside and not is_set
                else _BUILT_FOR_IT,
            ),
            notes=(
                "AMD ROCm documentation, system requirements (supported GPUs); the override is not "
                "supported by AMD",
            ),
        )


_WHICH = "AMD lists which ROCm serves which, and builds wheels of its own"
_BUILT_FOR_IT = Fix(summary=f"or take a torch that is built for this GPU: {_WHICH}")
_GCN_3_AND_4 = 8
_RDNA_4 = 12


def _built_for_it(site: Site, generation: int | None, *, first: bool) -> Fix:
    """A torch with code for a GPU of that generation, as far as one is published: PYTORCH_ROCM_ARCH
    in .ci/docker of pytorch/pytorch begins with gfx900, and has gfx1200 and gfx1201 since ROCm
    6.4."""
    if generation == _GCN_3_AND_4:
        return Fix(
            summary="no published torch has code for this generation, nor has another whose code "
            "it could run: build ROCm and torch from source for it, train on the CPU, or take "
            "another GPU",
            where=Place.NONE,
        )
    if generation == _RDNA_4:
        return packages.install(
            site,
            "torch",
            summary="install PyTorch's build for ROCm 6.4 or later, which has code for this GPU",
            source=pytorch_source(*ROCM_BUILD),
            again=True,
        )
    return Fix(
        summary=f"{'' if first else 'or '}take a torch that is built for this GPU: {_WHICH}",
        where=Place.HERE,
    )


_AS_ITSELF = "the override has not helped: see whether the build has code for the GPU as it is"


def _that_compute(runtime: TorchRuntime, used: TorchFirstUse) -> tuple[int, ...]:
    failed = {one.device for one in used.operations if one.error}
    tried = {one.device for one in used.operations}
    indices = (device.index for device in runtime.devices)
    return tuple(one for one in indices if f"cuda:{one}" in tried - failed)


def _leave_others(indices: tuple[int, ...]) -> Fix:
    """An override would be that of all GPUs, and stop those that compute."""
    return surroundings.set_variable(
        "HIP_VISIBLE_DEVICES",
        ",".join(map(str, indices)),
        summary="show torch the GPUs that it has kernels for, and leave this one out",
    )


def _as_if(target: str) -> Fix:
    return surroundings.set_variable(
        _OVERRIDE,
        target,
        summary="let it run the code of the nearest GPU that the build has",
    )


def nearest_target(capability: str, architectures: Iterable[str]) -> str | None:
    """The target of the build, as HSA_OVERRIDE_GFX_VERSION wants it, of the same RDNA generation
    and the nearest minor below (ollama, docs/gpu.md, "Overrides", names the same choice: gfx1034
    runs as 10.3.0); None where the build has none, and for data-centre GPUs (gfx9),
    whose kinds do not run each other's code."""
    major, minor = map(parse_number, f"{capability}.".split(".")[:2])
    targets = [
        (int(match[1]), int(match[2]), int(match[3], 16))
        for match in map(_GFX.fullmatch, architectures)
        if match
    ]
    if major is None or minor is None or major < _FIRST_RDNA:
        return None
    near = max((one for one in targets if one[0] == major and one[1] <= minor), default=None)
    if near is None and (major, minor) == _OF_RDNA1[0] and _OF_RDNA1[1] in targets:
        near = _OF_RDNA1[1]
    return None if near is None else ".".join(map(str, near))
